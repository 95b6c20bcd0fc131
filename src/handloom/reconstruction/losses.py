"""The losses of HOLD's phases 1 and 3 (facts/hold.md 2.5).

`faithful` gives the released numbers: the mean over no ray is NaN, and only the colour term drops rays that are NaN.
`fixed` drops such rays from all terms, one by one, and an empty set costs 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from handloom.runtime.config.hold_losses import HoldLossSettings

Fidelity = Literal["fixed", "faithful"]
CLASSES = 4


class NodeRays(NamedTuple):
    """What the loss takes of one node (hand or object)."""

    mask_prob: Float[Tensor, " ray"]
    """Opacity of the node rendered alone."""
    off_surface: Bool[Tensor, " ray"] | None
    """Rays that stay off the node's canonical mesh; None until there is one."""
    gradient: Float[Tensor, "image point 3"]
    """d SDF / d x at points of the canonical space."""


class HandShapeTarget(NamedTuple):
    """Signed distances at canonical points of the hand, metres."""

    predicted_m: Float[Tensor, "image point"]
    target_m: Float[Tensor, "image point"]


@dataclass(frozen=True)
class HoldLoss:
    """The weighted terms and their sum."""

    rgb: Float[Tensor, ""]
    sem: Float[Tensor, ""]
    opacity_sparse: Float[Tensor, ""]
    mano_cano: Float[Tensor, ""]
    eikonal: Float[Tensor, ""] | None
    """None when it is below its threshold."""
    dropped_rays: int
    """Rays left out because a rendered or photographed number was not finite."""

    @property
    def total(self) -> Float[Tensor, ""]:
        """The sum of all terms."""
        return torch.stack(list(self.terms().values())).sum()

    def terms(self) -> dict[str, Float[Tensor, ""]]:
        """The terms by HOLD's names; a term that is off is absent."""
        names = ("rgb", "sem", "eikonal", "mano_cano", "opacity_sparse")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def hold_loss(
    *,
    step: int,
    rgb: Float[Tensor, "ray 3"],
    rgb_true: Float[Tensor, "ray 3"],
    semantics: Float[Tensor, "ray 4"],
    classes: Int[Tensor, " ray"],
    nodes: Mapping[str, NodeRays],
    hand_shape: HandShapeTarget | None,
    settings: HoldLossSettings,
    fidelity: Fidelity = "fixed",
) -> HoldLoss:
    """All terms, weighted, at one training step.

    total = w_rgb L_rgb + w_sem(t) L_sem + w_o(t) sum_nodes L_opacity + 5 L_hand_shape + L_eikonal

    Classes are background 0, object 1, right hand 2, left hand 3. A ray that is not finite counts in `dropped_rays`;
    its loss has no gradient, but what made it NaN in the network may still poison the backward pass: callers check.
    """
    colour_seen = torch.isfinite(rgb).all(-1) & torch.isfinite(rgb_true).all(-1)
    seen = colour_seen
    if fidelity == "fixed":
        seen = seen & torch.isfinite(semantics).all(-1)
        for node in nodes.values():
            seen = seen & torch.isfinite(node.mask_prob)
        colour_seen = seen
    share = min(step / settings.schedule_steps, 1.0)
    first, last = settings.first_semantic_weight, settings.last_semantic_weight
    sem_rays = seen if fidelity == "fixed" else torch.ones_like(seen)

    opacity = rgb.new_zeros(())
    for node in nodes.values():
        if node.off_surface is not None:
            off = node.off_surface & seen if fidelity == "fixed" else node.off_surface
            opacity = opacity + opacity_loss(node.mask_prob[off], fidelity)
    shape = rgb.new_zeros(())
    if hand_shape is not None:
        shape = hand_shape_loss(hand_shape, settings.hand_shape_reach_m)
    eikonal = settings.eikonal_weight * torch.stack([eikonal_loss(node.gradient) for node in nodes.values()]).sum()
    counts = settings.eikonal_weight > 0 and bool(eikonal > settings.eikonal_threshold)
    return HoldLoss(
        rgb=settings.rgb_weight * rgb_loss(rgb[colour_seen], rgb_true[colour_seen]),
        sem=(first + share * (last - first)) * semantic_loss(semantics[sem_rays], classes[sem_rays]),
        opacity_sparse=share * settings.last_opacity_weight * opacity,
        mano_cano=settings.hand_shape_weight * shape,
        eikonal=eikonal if counts else None,
        dropped_rays=int((~seen).sum()),
    )


def rgb_loss(rgb: Float[Tensor, "ray 3"], rgb_true: Float[Tensor, "ray 3"]) -> Float[Tensor, ""]:
    """Sum of absolute errors over rays and channels / number of rays; 0 for no ray."""
    return (rgb - rgb_true).abs().sum() / max(len(rgb), 1)


def semantic_loss(semantics: Float[Tensor, "ray 4"], classes: Int[Tensor, " ray"]) -> Float[Tensor, ""]:
    """Sum over rays and classes of squared errors to the one-hot class / number of rays; 0 for no ray."""
    return (semantics - one_hot(classes, CLASSES)).square().sum() / max(len(semantics), 1)


def opacity_loss(mask_prob: Float[Tensor, " ray"], fidelity: Fidelity = "fixed") -> Float[Tensor, ""]:
    """Mean opacity of rays off the surface; of no ray 0, or NaN when `faithful`."""
    return mask_prob.abs().sum() / (len(mask_prob) if fidelity == "faithful" else max(len(mask_prob), 1))


def hand_shape_loss(distances: HandShapeTarget, reach_m: float) -> Float[Tensor, ""]:
    """mean |clamp(predicted, +-reach) - clamp(target, +-reach)|, metres."""
    clamped = [values.clamp(-reach_m, reach_m) for values in distances]
    return (clamped[0] - clamped[1]).abs().mean()


def eikonal_loss(gradient: Float[Tensor, "*point 3"]) -> Float[Tensor, ""]:
    """mean (|gradient| - 1)^2."""
    return (gradient.norm(dim=-1) - 1).square().mean()
