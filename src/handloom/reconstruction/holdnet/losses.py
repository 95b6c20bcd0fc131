"""The losses of HOLD's phases 1 and 3 (HOLD's code/src/hold/{loss,loss_terms}.py, whose weights they have).

`faithful` gives the released numbers: the mean over no ray is NaN, only the colour term drops rays that are NaN, and
the eikonal term is too small ever to act. `fixed` drops such rays from all terms, one by one, an empty set costs 0, and
the eikonal term acts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from handloom.reconstruction.holdnet.rendering import CLASSES
from handloom.runtime.config.base import Fidelity

HandShape = tuple[Float[Tensor, "image point"], Float[Tensor, "image point"]]
"""Signed distances at canonical points of the hand, metres: predicted ones and their targets."""

SCHEDULE_STEPS = 30_000
"""Steps over which the semantic weight falls and the opacity's rises, linearly."""
HAND_SHAPE_REACH_M = 0.01
"""The hand's distances are clamped to this much on both sides."""
_FIRST_SEMANTIC, _LAST_SEMANTIC, _LAST_OPACITY, _HAND_SHAPE = 1.1, 0.1, 1.0, 5.0
_EIKONAL = {"fixed": 0.1, "faithful": 1e-5}  # 0.1 is VolSDF's
_EIKONAL_THRESHOLD = {"fixed": 0.0, "faithful": 8e-4}
"""The weighted term counts only above this: a raw value above 80 in the released code."""


class NodeRays(NamedTuple):
    """What the loss takes of one node (hand or object)."""

    mask_prob: Float[Tensor, " ray"]
    """Opacity of the node rendered alone."""
    off_surface: Bool[Tensor, " ray"] | None
    """Rays that stay off the node's canonical mesh; None until there is one."""
    gradient: Float[Tensor, "image point 3"]
    """d SDF / d x at points of the canonical space."""


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
    hand_shape: HandShape | None,
    fidelity: Fidelity = "fixed",
) -> HoldLoss:
    """All terms, weighted, at one training step.

    total = L_rgb + w_sem(t) L_sem + w_o(t) sum_nodes L_opacity + 5 L_hand_shape + w_e L_eikonal

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
    sem_rays = seen if fidelity == "fixed" else torch.ones_like(seen)
    share = min(step / SCHEDULE_STEPS, 1.0)

    opacity = rgb.new_zeros(())
    for node in nodes.values():
        if node.off_surface is not None:
            off = node.off_surface & seen if fidelity == "fixed" else node.off_surface
            opacity = opacity + opacity_loss(node.mask_prob[off], fidelity)
    shape = rgb.new_zeros(()) if hand_shape is None else hand_shape_loss(*hand_shape)
    eikonal = _EIKONAL[fidelity] * torch.stack([eikonal_loss(node.gradient) for node in nodes.values()]).sum()
    semantic_weight = _FIRST_SEMANTIC + share * (_LAST_SEMANTIC - _FIRST_SEMANTIC)
    return HoldLoss(
        rgb=rgb_loss(rgb[colour_seen], rgb_true[colour_seen]),
        sem=semantic_weight * semantic_loss(semantics[sem_rays], classes[sem_rays]),
        opacity_sparse=share * _LAST_OPACITY * opacity,
        mano_cano=_HAND_SHAPE * shape,
        eikonal=eikonal if bool(eikonal > _EIKONAL_THRESHOLD[fidelity]) else None,
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


def hand_shape_loss(
    predicted_m: Float[Tensor, "image point"], target_m: Float[Tensor, "image point"]
) -> Float[Tensor, ""]:
    """mean |clamp(predicted, +-1 cm) - clamp(target, +-1 cm)|, metres."""
    predicted, target = (values.clamp(-HAND_SHAPE_REACH_M, HAND_SHAPE_REACH_M) for values in (predicted_m, target_m))
    return (predicted - target).abs().mean()


def eikonal_loss(gradient: Float[Tensor, "*point 3"]) -> Float[Tensor, ""]:
    """mean (|gradient| - 1)^2."""
    return (gradient.norm(dim=-1) - 1).square().mean()
