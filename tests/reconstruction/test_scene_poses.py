"""Poses: the object's cube and the camera are one another's inverse, and the scale changes no picture."""

import pytest
import torch
from torch import Tensor

from handloom.geometry.camera import project
from handloom.reconstruction.scene_poses import ScenePoses, frame_rows, object_cube

from .held_box import FRAMES, HALF_M, SCALE, arrays, held_box


def corners(poses: ScenePoses) -> Tensor:
    """The box's corners in its cube."""
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    return signs * torch.from_numpy(HALF_M).float() / (SCALE * poses.cube.radius)


def test_from_cam_inverts_to_cam() -> None:
    """Protects the two ways between field and camera, in every frame and with another scale than the first."""
    poses = held_box().scene_poses()
    with torch.no_grad():
        poses.log_object_growth.fill_(0.2)
        points = 2 * torch.rand(20, 3, generator=torch.Generator().manual_seed(0)) - 1
        cam = poses.object_to_cam(points)
        frame = torch.arange(FRAMES).repeat_interleave(20)
        back = poses.object_from_cam(cam.flatten(0, 1), frame)
    torch.testing.assert_close(back.view(FRAMES, 20, 3), points.expand(FRAMES, 20, 3), atol=2e-5, rtol=0)


def test_object_lies_where_the_picture_shows_it() -> None:
    """Protects the convention x_cam = R (scale x_sfm) + t against the rendered masks: the box fits its pixels."""
    held = held_box()
    poses = held.scene_poses()
    pixels = project(poses.object_to_cam(corners(poses)).detach(), held.intrinsics)
    rows, columns = (held.class_u8[2] == 1).nonzero().unbind(-1)
    low, high = pixels[2].amin(0), pixels[2].amax(0)
    assert (columns >= low[0] - 1).all()
    assert (columns <= high[0] + 1).all()
    assert (rows >= low[1] - 1).all()
    assert (rows <= high[1] + 1).all()
    assert columns.max() > high[0] - 3  # this side of the box is not hidden


def test_growing_leaves_projections_and_scales_lengths() -> None:
    """Protects phase 2's scale: the object moves along its viewing rays, so only contact decides on it."""
    held = held_box()
    poses = held.scene_poses()
    unit = corners(poses)
    before = poses.object_to_cam(unit).detach()
    with torch.no_grad():
        poses.log_object_growth.fill_(torch.tensor(1.3).log())
    after = poses.object_to_cam(unit).detach()
    torch.testing.assert_close(after, 1.3 * before, atol=1e-5, rtol=0)
    torch.testing.assert_close(project(after, held.intrinsics), project(before, held.intrinsics))
    torch.testing.assert_close(poses.snapshot().object_scale, torch.tensor(1.3 * SCALE))


def test_arrays_are_what_poses_started_from() -> None:
    """Protects the files of poses: reading and writing without a step changes nothing; copies, not views."""
    held = held_box()
    poses = held.scene_poses()
    found = poses.snapshot()
    torch.testing.assert_close(arrays(found), arrays(held.poses))
    with torch.no_grad():
        poses.hand_wrist += 1
    torch.testing.assert_close(found.hand_rotvec, held.poses.hand_rotvec)


def test_the_cube_holds_the_points_and_its_margin() -> None:
    """Protects the object from being cut off: norm_mat's sphere, `margin` times as large."""
    normalise = torch.diag(torch.tensor([0.5, 0.5, 0.5, 1.0]))
    normalise[:3, 3] = torch.tensor([1.0, 2.0, -3.0])
    cube = object_cube(normalise, 1.5)
    torch.testing.assert_close(cube.centre, torch.tensor([-2.0, -4.0, 6.0]))
    assert cube.radius == pytest.approx(3.0)


@pytest.mark.parametrize("shape", [(3,), (16, 3, 4), (0,)])
def test_rows_and_their_derivative_are_those_of_indexing(shape: tuple[int, ...]) -> None:
    """Protects poses and codes: values and slopes as `table[frame]` has them on one thread."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(5, *shape, generator=generator, requires_grad=True)
    frame = torch.randint(5, (400,), generator=generator)
    weight = torch.randn(400, *shape, generator=generator)
    slopes = [torch.autograd.grad((weight * rows).sum(), table)[0] for rows in (frame_rows(table, frame), table[frame])]
    assert torch.equal(frame_rows(table, frame), table[frame])
    assert torch.equal(*slopes)
