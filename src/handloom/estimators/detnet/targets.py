"""What DetNet's maps should show for given joints and key points (facts/s2dhand.md 1.3).

Location and delta targets are the same in every cell, so they are kept as one value per joint and broadcast.
"""

from typing import Literal

import torch
from jaxtyping import Float, Num
from torch import Tensor

PARENTS = (0, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19)
"""Parent of each of the 21 joints; the wrist is its own."""
BONE = (0, 9)
"""The bone, wrist to middle finger, whose length is the network's unit."""
CROP_PX = 256
"""Side of the crop in which key points are given."""
PATCH_RADIUS_CELLS = 3
"""Half-width of the Gaussian patch: three standard deviations of one cell."""


def location_target(joints: Float[Tensor, "*batch 21 3"], root_joint: int) -> Float[Tensor, "*batch 21 3"]:
    """Joints relative to the root joint in bone lengths: (J - J[root]) / |J[9] - J[0]|; any unit of length."""
    bone = joints[..., BONE[1], :] - joints[..., BONE[0], :]
    length = torch.linalg.vector_norm(bone, dim=-1)[..., None, None]
    return (joints - joints[..., root_joint, None, :]) / length


def delta_target(
    joints: Float[Tensor, "*batch 21 3"], fidelity: Literal["faithful", "fixed"] = "fixed"
) -> Float[Tensor, "*batch 21 3"]:
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


def heat_map_cells(keypoints_256px: Num[Tensor, "*batch 2"], input_px: int, map_cells: int) -> Num[Tensor, "*batch 2"]:
    """Key points (x, y) of the 256-pixel crop in whole cells of the map; truncated in input pixels, then again."""
    return torch.trunc(input_key_points(keypoints_256px, input_px) * map_cells / input_px)


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
    """Heat maps and veil of key points (x, y) given in the 256-pixel crop."""
    return heat_map_target(heat_map_cells(keypoints_256px, input_px, map_cells), map_cells)
