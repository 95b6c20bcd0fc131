"""What DetNet is taught: what its maps should show for given joints and key points, and its loss (Zhou et al., Sec. 3).

Location and delta targets are the same in every cell, so they are kept as one value per joint and broadcast.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Num
from torch import Tensor

from handloom.datasets.box_crops import CROP_PX
from handloom.estimators.detnet.network import DetNetMaps
from handloom.hand.joints import BONE, SNAP_PARENTS, WRIST
from handloom.runtime.config.base import Fidelity

PARENTS = (WRIST, *SNAP_PARENTS[1:])
"""Parent of each of the 21 joints; the wrist is its own."""
PATCH_RADIUS_CELLS = 3
"""Half-width of the Gaussian patch: three standard deviations of one cell."""


def location_target(joints: Float[Tensor, "*batch 21 3"], root_joint: int) -> Float[Tensor, "*batch 21 3"]:
    """Joints relative to the root joint in bone lengths: (J - J[root]) / |J[9] - J[0]|; any unit of length."""
    bone = joints[..., BONE[1], :] - joints[..., BONE[0], :]
    length = torch.linalg.vector_norm(bone, dim=-1)[..., None, None]
    return (joints - joints[..., root_joint, None, :]) / length


def delta_target(joints: Float[Tensor, "*batch 21 3"], fidelity: Fidelity = "fixed") -> Float[Tensor, "*batch 21 3"]:
    """Unit vectors from each joint's parent to the joint; zero for the wrist.

    A joint that lies on its parent has no direction: `fixed` gives zero, `faithful` NaN like the released code.
    """
    bones = joints - joints[..., list(PARENTS), :]
    lengths = torch.linalg.vector_norm(bones, dim=-1, keepdim=True)
    directions = bones / lengths
    if fidelity == "fixed":
        directions = torch.where(lengths > 0, directions, 0.0)
    wrist = torch.zeros_like(directions[..., :1, :])
    return torch.cat([wrist, directions[..., 1:, :]], dim=-2)


def input_key_points(keypoints_256px: Num[Tensor, "*batch 2"], input_px: int) -> Num[Tensor, "*batch 2"]:
    """Key points (x, y) of the 256-pixel crop in whole pixels of the network's input, truncated toward zero."""
    return torch.trunc(keypoints_256px * (input_px / CROP_PX))


def heat_map_target(
    cells_xy: Num[Tensor, "*batch 2"], map_cells: int
) -> tuple[Float[Tensor, "*batch {map_cells} {map_cells}"], Float[Tensor, "*batch"]]:
    """Heat maps with a Gaussian of one cell's deviation around each centre (x, y), and the veil.

    The patch is 7x7 cells, 1 at its centre and clipped at the border. The veil is 0 where the patch's box misses the
    map; as in the released code a centre at -4 counts as a hit, with an empty map.
    """
    centre = torch.trunc(cells_xy.to(torch.float32))
    first, end = centre - PATCH_RADIUS_CELLS, centre + PATCH_RADIUS_CELLS + 1
    veil = ((first < map_cells) & (end >= 0)).all(dim=-1).to(torch.float32)
    offset = torch.arange(map_cells, dtype=torch.float32, device=cells_xy.device) - centre[..., None]
    profile = torch.exp(-(offset**2) / 2) * (offset.abs() <= PATCH_RADIUS_CELLS)
    along_x, along_y = profile.unbind(-2)
    return along_y[..., :, None] * along_x[..., None, :], veil


def key_point_heat_maps(
    keypoints_256px: Num[Tensor, "*batch 2"], input_px: int, map_cells: int
) -> tuple[Float[Tensor, "*batch {map_cells} {map_cells}"], Float[Tensor, "*batch"]]:
    """Heat maps and veil of key points (x, y) given in the 256-pixel crop, truncated in input pixels, then in cells."""
    cells_xy = torch.trunc(input_key_points(keypoints_256px, input_px) * map_cells / input_px)
    return heat_map_target(cells_xy, map_cells)


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
    fidelity: Fidelity = "fixed",
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
    fidelity: Fidelity,
) -> Float[Tensor, ""]:
    has_3d = flag_3d > 0
    if not has_3d.all():  # boolean indexing copies, and the usual batch is complete
        predicted, target, heat_target = predicted[has_3d], target[has_3d], heat_target[has_3d]
    if len(predicted) == 0 and fidelity == "fixed":
        return predicted.sum()
    error = (predicted - target[..., None, None]) * heat_target[:, :, None]
    return torch.linalg.vector_norm(error) / len(predicted)
