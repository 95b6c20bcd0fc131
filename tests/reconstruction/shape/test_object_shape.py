"""Stereo and fusion on a block with a hollow, whose poses and pictures are exact."""

from functools import cache

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from handloom.geometry.voxels import look_up, node_points
from handloom.reconstruction.observations import BACKGROUND, OBJECT
from handloom.reconstruction.shape.cube_views import CubeViews
from handloom.reconstruction.shape.depth_fusion import evidence_of, fused, laplacian, solved
from handloom.reconstruction.shape.object_shape import seen_points
from handloom.reconstruction.shape.stereo import FINE, Sweep, sources_of, swept
from handloom.reconstruction.shape.visual_hull import hull_distance

CELLS, FRAMES, SIDE_PX, DISTANCE = 32, 30, 128, 90.0
HALF, HOLLOW = 9.0, 5.0
"""Cells: half the side of a cube, and of the square shaft that goes into its top to the middle."""
SWEEP = Sweep(8, SIDE_PX, 0.4, 2.0, None, 0.6, 0.02)


def block_distance(points: Tensor) -> Tensor:
    """About the signed distance to the block, negative inside; the shaft opens towards -z."""
    cube = points.abs().amax(-1) - HALF
    shaft = torch.maximum(points[..., :2].abs().amax(-1) - HOLLOW, points[..., 2])
    return torch.maximum(cube, -shaft)


@cache
def block_views(texture: float = 1.0) -> CubeViews:
    """Frames that look into the shaft from up to 40 degrees aside, 5 degrees apart, shaded by a pattern in space."""
    angle = torch.linspace(0, 4 * np.pi, FRAMES)
    tilts = torch.stack([0.55 * torch.sin(angle), 0.5 * torch.cos(angle), torch.zeros(FRAMES)], 1)
    rotation = torch.from_numpy(Rotation.from_euler("yxz", tilts.numpy()).as_matrix()).float()
    place = torch.tensor([0.0, 0.0, DISTANCE]).repeat(FRAMES, 1)
    intrinsics = torch.tensor([[320.0, 0, 63.5], [0, 320.0, 63.5], [0, 0, 1]])
    blank = torch.zeros(FRAMES, SIDE_PX, SIDE_PX)
    views = CubeViews(blank, blank.byte(), intrinsics, rotation, place, CELLS)
    column, row = torch.meshgrid(torch.arange(SIDE_PX), torch.arange(SIDE_PX), indexing="xy")
    rays = torch.stack([column, row, torch.ones_like(row)], -1).float().view(-1, 3) @ torch.linalg.inv(intrinsics).T
    waves = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)) * 1.2
    for frame in range(FRAMES):
        depth = torch.full((len(rays),), DISTANCE - 2.5 * HALF)
        for _ in range(45):
            points = (rays * depth[:, None] - place[frame]) @ rotation[frame]
            depth += 0.9 * block_distance(points).clamp_max(6.0)
        points = (rays * depth[:, None] - place[frame]) @ rotation[frame]
        hit = block_distance(points).abs() < 0.05
        shade = 128 + texture * 20 * torch.sin(points @ waves.T).sum(-1) / 2
        views.grey[frame] = torch.where(hit, shade, 0.0).view(SIDE_PX, SIDE_PX)
        views.kind[frame] = torch.where(hit, OBJECT, BACKGROUND).view(SIDE_PX, SIDE_PX).byte()
    return views


@cache
def start() -> Tensor:
    """A hull that is two cells too large and does not know the shaft."""
    nodes = node_points(CELLS) * (CELLS - 1) / 2
    return hull_distance((nodes.abs().amax(-1) < HALF + 2).view(CELLS, CELLS, CELLS))


@cache
def measured() -> tuple[Tensor, float]:
    views, found = block_views(), start()
    maps, share = swept(views, found[None], SWEEP)
    return fused(found, evidence_of(views, maps)), share


def test_stereo_finds_walls_and_floor_of_a_hollow_that_no_mask_shows() -> None:
    """Protects the whole point of stereo: the block's shaft is empty to its floor, and its outer faces are right."""
    found, share = measured()
    assert share > 0.5
    half = (CELLS - 1) / 2
    shaft = torch.tensor([[x, y, z] for x in (-2.0, 2.0) for y in (-2.0, 2.0) for z in (-6.0, -3.0)])
    below = torch.tensor([[0.0, 0.0, 3.0], [7.0, 0.0, -4.0], [-7.0, 0.0, -4.0]])
    assert (look_up(start()[None], shaft / half) < 0).all()
    assert (look_up(found[None], shaft / half) > 0).all()
    assert (look_up(found[None], below / half) < 0).all()
    top = torch.tensor([[7.0, 7.0, -HALF], [-7.0, 7.0, -HALF], [7.0, -7.0, -HALF]])
    assert look_up(found[None], top / half).abs().amax() < 0.7


def test_an_object_without_texture_keeps_its_hull() -> None:
    """Protects plain objects: no depth is invented, and what is fused is the hull."""
    plain = block_views(0.0)
    maps, share = swept(plain, start()[None], SWEEP)
    assert share < 0.06
    nodes = start().abs() > 1.0
    assert ((fused(start(), evidence_of(plain, maps)) < 0) == (start() < 0))[nodes].float().mean() > 0.98


def test_sources_look_from_both_sides() -> None:
    """Protects the choice of partners: about 6 and 14 degrees aside; a video that stands still has none."""
    views = block_views()
    found = sources_of(views, 4)
    angles = torch.rad2deg(torch.acos((views.directions[found] @ views.directions[4]).clamp(-1, 1)))
    assert len(found) >= 2
    assert ((angles > 2) & (angles < 18)).all()
    still = CubeViews(
        views.grey, views.kind, views.intrinsics, views.rotation[:1].expand(FRAMES, 3, 3), views.translation, CELLS
    )
    assert sources_of(still, 4) == []
    assert swept(still, start()[None], FINE) == ([], 0.0)


def test_the_back_of_what_is_seen_from_one_side_is_unseen() -> None:
    """Protects the share that quality.csv tells: faces to the cameras are seen, the one behind is not."""
    face = torch.tensor([[x, y, 1.0] for x in (-7.0, 0.0, 7.0) for y in (-7.0, 7.0)])
    front, back = face * torch.tensor([1.0, 1.0, -HALF]), face * torch.tensor([1.0, 1.0, HALF])
    seen = seen_points(
        block_views(),
        block_distance(node_points(CELLS) * (CELLS - 1) / 2).view(1, CELLS, CELLS, CELLS),
        torch.cat([front, back]),
    )
    assert seen.tolist() == [True] * len(front) + [False] * len(back)


def test_the_thin_plate_is_straight_between_what_is_known() -> None:
    """Protects the completion of what is hidden: between two known planes a linear distance, without steps or lumps."""
    known = torch.zeros(8, 8, 8)
    known[:, :, :2] = known[:, :, 6:] = 1.0
    wanted = torch.arange(8.0).expand(8, 8, 8)
    found = solved(
        lambda x: known * x + 0.1 * laplacian(laplacian(x)), known * wanted, known + 4.2, torch.zeros(8, 8, 8)
    )
    torch.testing.assert_close(found[2:6, 2:6, 2:6], wanted[2:6, 2:6, 2:6], atol=0.25, rtol=0)


@pytest.mark.parametrize("length", [4, 9])
def test_the_laplacian_is_symmetric(length: int) -> None:
    """Protects conjugate gradients, which converge for symmetric systems only: <a, L b> = <L a, b>."""
    one, other = torch.randn(2, length, length, length, generator=torch.Generator().manual_seed(0)).double()
    assert float((one * laplacian(other)).sum()) == pytest.approx(float((laplacian(one) * other).sum()))
