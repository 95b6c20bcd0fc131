"""What phases 1 and 3 minimise: HOLD's terms (facts/hold.md 2.5), the eikonal and the grids' smoothness switched on."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from handloom.reconstruction.compact.classes import CLASS_COUNT, HAND
from handloom.reconstruction.compact.observations import RayBatch
from handloom.reconstruction.compact.renderer import Rendered
from handloom.reconstruction.compact.voxels import roughness
from handloom.runtime.config.compact import CompactSettings


@dataclass(frozen=True)
class Losses:
    """The weighted terms of one step."""

    colour: Float[Tensor, ""]
    semantic: Float[Tensor, ""]
    eikonal: Float[Tensor, ""]
    roughness: Float[Tensor, ""]
    hand_prior: Float[Tensor, ""]

    @property
    def total(self) -> Float[Tensor, ""]:
        """Their sum."""
        return self.colour + self.semantic + self.eikonal + self.roughness + self.hand_prior


def counted_rays(batch: RayBatch, rendered: Rendered) -> Bool[Tensor, " rays"]:
    """Rays that the losses count: not those of a hand label far from the hand, which show the forearm."""
    near_hand = torch.zeros(len(batch.kind), dtype=torch.bool)
    near_hand[rendered.hand.ray] = True
    return (batch.kind != HAND) | near_hand


def losses(
    batch: RayBatch,
    rendered: Rendered,
    object_distance: Float[Tensor, "1 cells cells cells"],
    object_radius_m: Float[Tensor, ""],
    hand_distance: Float[Tensor, "1 hand hand hand"],
    hand_template: Float[Tensor, "1 hand hand hand"],
    settings: CompactSettings,
    done: float,
) -> Losses:
    """All terms at the share `done` (0 to 1) of the training; means over the counted rays.

    colour: sum over channels of |C - C*|; semantic: squared error of the classes' shares; eikonal: (|grad d| - 1)^2 at
    the object's samples; roughness: second differences of the object's grid in cells; hand prior: |d - d_template|,
    cut at 1 cm as the reference cuts it.
    """
    counted = counted_rays(batch, rendered).float()
    rays = counted.sum().clamp_min(1.0)
    colour = ((rendered.colour - batch.colour).abs().sum(-1) * counted).sum() / rays
    wanted = functional.one_hot(batch.kind, CLASS_COUNT).float()
    semantic = ((rendered.semantics - wanted).square().sum(-1) * counted).sum() / rays
    weight = settings.first_semantic_weight + done * (settings.last_semantic_weight - settings.first_semantic_weight)
    slope = torch.linalg.vector_norm(rendered.object.gradient, dim=-1)
    eikonal = (slope - 1).square().mean() if slope.numel() else colour.new_zeros(())
    cell_m = 2 * object_radius_m / (object_distance.shape[-1] - 1)
    rough = roughness(object_distance / cell_m)
    cut = 0.01
    prior = (hand_distance.clamp(-cut, cut) - hand_template.clamp(-cut, cut)).abs().mean() / cut
    return Losses(
        settings.colour_weight * colour,
        weight * semantic,
        settings.eikonal_weight * eikonal,
        settings.roughness_weight * rough,
        settings.hand_prior_weight * prior,
    )
