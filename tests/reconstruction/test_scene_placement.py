"""Every way into HOLD's scaled world leads back, for hands, objects, points and cameras."""

import pytest
import roma
import torch

from handloom.geometry.camera import project
from handloom.hand.models import open_hand
from handloom.reconstruction.holdnet.canonical_space import pose_hand
from handloom.reconstruction.scene_placement import (
    cameras_of_placement,
    decompose,
    placement_at,
    scale_matrix,
    world_matrices,
)
from handloom.reconstruction.tracks import HandTrack, ObjectTrack
from handloom.runtime.errors import InputError

MODEL = open_hand()
PLACEMENT = placement_at((0.1, -0.2, 0.7))
INTRINSICS = torch.tensor([[500.0, 0.3, 310.0], [0.0, 480.0, 250.0], [0.0, 0.0, 1.0]])


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def test_hand_posed_in_the_world_is_the_hand_of_the_camera() -> None:
    """The server's hand at converted parameters, and the moved camera hand, are one."""
    random = generator()
    in_cam = HandTrack(
        0.5 * torch.randn(4, 16, 3, generator=random),
        torch.randn(10, generator=random),
        torch.randn(4, 3, generator=random),
    )
    in_world = PLACEMENT.hand_to_world(in_cam, MODEL)
    found = pose_hand(
        MODEL,
        pose_rotvec=in_world.rotvec,
        shape=in_world.shape.expand(4, -1),
        translation_m=in_world.translation_m,
        scene_scale=PLACEMENT.scene_scale,
    )
    scaled = PLACEMENT.points_to_scaled(in_cam.skinned(MODEL).vertices_m)
    torch.testing.assert_close(found.vertices, scaled, atol=2e-5, rtol=0)
    back = PLACEMENT.hand_to_cam(in_world, MODEL)
    torch.testing.assert_close(back.translation_m, in_cam.translation_m, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        roma.rotvec_to_rotmat(back.rotvec), roma.rotvec_to_rotmat(in_cam.rotvec), atol=1e-5, rtol=0
    )


def test_object_there_and_back() -> None:
    random = generator()
    rotation = roma.rotvec_to_rotmat(torch.randn(4, 3, generator=random))
    in_cam = ObjectTrack(rotation, torch.randn(4, 3, generator=random), torch.tensor(0.3))
    in_world = PLACEMENT.object_to_world(in_cam)
    point = torch.randn(1, 3, generator=random)
    moved = PLACEMENT.scene_scale * in_world.placed(point)
    torch.testing.assert_close(moved, PLACEMENT.points_to_scaled(in_cam.placed(point)), atol=1e-5, rtol=0)
    assert bool((torch.linalg.det(in_world.rotation) > 0).all())
    back = PLACEMENT.object_to_cam(in_world)
    torch.testing.assert_close(back.rotation, in_cam.rotation, atol=1e-6, rtol=0)
    torch.testing.assert_close(back.translation_m, in_cam.translation_m, atol=1e-6, rtol=0)


def test_points_leave_the_scaled_world_as_they_came() -> None:
    """Through a camera of the scaled world points project as they do in the camera's own frame."""
    points = 0.05 * torch.randn(50, 3, generator=generator()) + torch.tensor([0.05, -0.03, 0.7])
    cameras = cameras_of_placement(INTRINSICS[None], PLACEMENT)
    world_m = PLACEMENT.points_to_scaled(points) / PLACEMENT.scene_scale
    image = (
        torch.cat([world_m, torch.ones(len(points), 1)], 1).double()
        @ world_matrices(cameras, PLACEMENT.scene_scale)[0, :3].T
    )
    torch.testing.assert_close((image[:, :2] / image[:, 2:]).float(), project(points, INTRINSICS), atol=1e-3, rtol=0)


def test_matrices_lead_back_to_the_cameras() -> None:
    cameras = cameras_of_placement(INTRINSICS.expand(2, 3, 3), PLACEMENT)
    scale = PLACEMENT.scene_scale
    projection = world_matrices(cameras, scale) @ scale_matrix(scale)
    for sign in (1.0, -3.0):  # a projection matrix has any scale and sign
        found = decompose(sign * projection[:, :3])
        torch.testing.assert_close(found.intrinsics.float(), cameras.intrinsics, atol=1e-3, rtol=1e-5)
        torch.testing.assert_close(found.world_from_cam.float(), cameras.world_from_cam, atol=1e-5, rtol=0)


def test_a_camera_at_infinity_is_refused() -> None:
    projection = torch.zeros(2, 3, 4, dtype=torch.float64)
    projection[0, :, :3] = torch.eye(3)
    with pytest.raises(InputError, match=r"cameras \[1\]"):
        decompose(projection)
