"""DetNet's loss (facts/s2dhand.md 1.3): heat maps, and delta and location maps where the target heat is."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from handloom.estimators.detnet.network import DetNetMaps


class LossWeights(NamedTuple):
    """Weights of the three terms; the defaults are the published ones."""

    heat: float = 100.0
    delta: float = 1.0
    location: float = 10.0


PUBLISHED_WEIGHTS = LossWeights()


class DetNetLoss(NamedTuple):
    """The weighted total and its three terms, not weighted."""

    total: Float[Tensor, ""]
    heat: Float[Tensor, ""]
    delta: Float[Tensor, ""]
    location: Float[Tensor, ""]


def detnet_loss(
    maps: DetNetMaps,
    heat_target: Float[Tensor, "batch 21 rows cols"],
    delta_target: Float[Tensor, "batch 21 3"],
    location_target: Float[Tensor, "batch 21 3"],
    *,
    flag_3d: Float[Tensor, " batch"],
    veil: Float[Tensor, "batch 21"],
    weights: LossWeights = PUBLISHED_WEIGHTS,
    fidelity: Literal["faithful", "fixed"] = "fixed",
) -> DetNetLoss:
    """Loss of a batch: total = w_heat hm + w_delta dm + w_location lm.

    hm = sum over joints of 0.5 mean over samples and cells of (veil (H - Ht))^2;
    dm = |(D - Dt) Ht| / b3, one Frobenius norm over the b3 samples with `flag_3d` = 1, all joints and cells; lm alike.
    The targets of D and L hold for every cell. Without any 3D sample dm = lm = 0, or NaN if `faithful`.
    """
    heat_error = (maps.heat - heat_target) * veil[:, :, None, None]
    heat = 0.5 * heat_error.square().mean(dim=(0, 2, 3)).sum()
    delta = _map_loss(maps.delta, delta_target, heat_target, flag_3d, fidelity)
    location = _map_loss(maps.location, location_target, heat_target, flag_3d, fidelity)
    total = weights.heat * heat + (weights.delta * delta + weights.location * location).to(heat.dtype)
    return DetNetLoss(total, heat, delta, location)


def _map_loss(
    predicted: Float[Tensor, "batch 21 3 rows cols"],
    target: Float[Tensor, "batch 21 3"],
    heat_target: Float[Tensor, "batch 21 rows cols"],
    flag_3d: Float[Tensor, " batch"],
    fidelity: Literal["faithful", "fixed"],
) -> Float[Tensor, ""]:
    has_3d = flag_3d > 0
    if not has_3d.all():  # boolean indexing copies, and the usual batch is complete
        predicted, target, heat_target = predicted[has_3d], target[has_3d], heat_target[has_3d]
    if len(predicted) == 0 and fidelity == "fixed":
        return predicted.sum()
    error = (predicted - target[..., None, None]) * heat_target[:, :, None]
    return torch.linalg.vector_norm(error) / len(predicted)
