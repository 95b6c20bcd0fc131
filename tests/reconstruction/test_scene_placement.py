"""The scene lies in the sphere, the trap of the reference is caught, and every way there leads back."""

import math

import pytest
import roma
import torch
from torch import Tensor

from handloom.hand.mano import rest_joints_m, skin
from handloom.hand.open_hand import open_hand
from handloom.reconstruction.cameras import (
    cameras_of_placement,
    classes_of_labels,
    decompose,
    sample_bilinear,
    sample_classes,
    sample_classes_nearest,
    scale_matrix,
    world_matrices,
)
from handloom.reconstruction.hand_server import pose_hand
from handloom.reconstruction.holdnet.rays import rays_through_pixels
from handloom.reconstruction.scene_placement import (
    HandInFrame,
    ObjectInFrame,
    hand_to_cam,
    hand_to_world,
    object_to_cam,
    object_to_world,
    place_scene,
    placement_at,
    require_inside,
)
from handloom.runtime.errors import InputError

MODEL = open_hand()


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def cloud(depth_m: float, frames: int = 4) -> Tensor:
    """An object of 10 cm, moving a little, before the camera."""
    points = 0.05 * (2 * torch.rand(frames, 50, 3, generator=generator()) - 1)
    return points + torch.tensor([0.05, -0.03, depth_m])


class TestPlaceScene:
    @pytest.mark.parametrize("depth_m", [0.3, 0.6, 0.8, 1.0, 1.3, 2.0, 5.0])
    def test_safe_puts_the_median_at_the_origin_and_the_camera_at_two(self, depth_m: float) -> None:
        thing, hand = cloud(depth_m), cloud(depth_m) - 0.04
        placement = place_scene("safe", object_points_cam_m=thing, hand_points_cam_m=hand)
        camera = placement.points_to_scaled(torch.zeros(1, 3))
        assert float(camera.norm()) == pytest.approx(2, rel=1e-5)
        both = placement.points_to_scaled(torch.cat([thing, hand], dim=1))
        assert float(both.norm(dim=-1).max()) < 1.5
        assert float(both.flatten(0, 1).median(0).values.norm()) < 0.3

    @pytest.mark.parametrize("depth_m", [0.8, 1.0])
    def test_the_reference_s_automatic_shift_leaves_the_sphere_there(self, depth_m: float) -> None:
        """facts/hold.md 1.9, TRAP: this is what `safe` is for."""
        placement = place_scene("auto", object_points_cam_m=cloud(depth_m))
        with pytest.raises(InputError, match=r"object leaves the sphere of radius 6 in 4 of 4 frames: a \(at"):
            require_inside(placement, "object", cloud(depth_m), names=("a", "b", "c", "d"))

    def test_fixed_is_the_constant_and_fails_far_away(self) -> None:
        placement = place_scene("fixed", object_points_cam_m=cloud(1.0))
        assert placement.shift_m == (-0.0085238, -0.01372686, 0.42570806)
        assert placement.scene_scale == pytest.approx(4.694675, rel=1e-5)
        require_inside(placement, "object", cloud(0.6))
        with pytest.raises(InputError, match="leaves the sphere"):
            require_inside(placement, "object", cloud(1.8))

    def test_safe_names_the_frame_that_is_far_out(self) -> None:
        thing = cloud(0.5)
        thing[2] += 2.0
        with pytest.raises(InputError, match=r"object leaves .* 1 of 4 frames: 0002\.png"):
            place_scene("safe", object_points_cam_m=thing, names=[f"{frame:04d}.png" for frame in range(4)])

    def test_safe_refuses_nan_and_scenes_behind_the_camera(self) -> None:
        hand = cloud(0.5)
        hand[1, 3] = torch.nan
        with pytest.raises(InputError, match=r"median|leaves"):
            place_scene("safe", object_points_cam_m=cloud(0.5), hand_points_cam_m=hand)
        with pytest.raises(InputError, match="before the camera"):
            place_scene("safe", object_points_cam_m=cloud(-0.5))


class TestFrames:
    PLACEMENT = placement_at((0.1, -0.2, 0.7))

    def test_points_there_and_back(self) -> None:
        points = cloud(0.7)
        scaled = self.PLACEMENT.points_to_scaled(points)
        torch.testing.assert_close(self.PLACEMENT.points_to_cam_m(scaled), points, atol=1e-6, rtol=0)

    def test_hand_posed_in_the_world_is_the_hand_of_the_camera(self) -> None:
        """The server's hand at converted parameters, and the moved camera hand, are one."""
        random = generator()
        in_cam = HandInFrame(0.5 * torch.randn(4, 16, 3, generator=random), torch.randn(4, 3, generator=random))
        shape = torch.randn(4, 10, generator=random)[:1].expand(4, -1)
        root = rest_joints_m(MODEL, shape[0])[0]
        in_world = hand_to_world(in_cam, root, self.PLACEMENT)
        expected = skin(MODEL, pose_rotvec=in_cam.rotvec, shape=shape, translation_m=in_cam.translation_m)
        found = pose_hand(
            MODEL,
            pose_rotvec=in_world.rotvec,
            shape=shape,
            translation_m=in_world.translation_m,
            scene_scale=self.PLACEMENT.scene_scale,
        )
        scaled = self.PLACEMENT.points_to_scaled(expected.vertices_m)
        torch.testing.assert_close(found.vertices, scaled, atol=2e-5, rtol=0)
        back = hand_to_cam(in_world, root, self.PLACEMENT)
        torch.testing.assert_close(back.translation_m, in_cam.translation_m, atol=1e-5, rtol=0)
        torch.testing.assert_close(
            roma.rotvec_to_rotmat(back.rotvec), roma.rotvec_to_rotmat(in_cam.rotvec), atol=1e-5, rtol=0
        )

    def test_object_there_and_back(self) -> None:
        random = generator()
        in_cam = ObjectInFrame(
            roma.rotvec_to_rotmat(torch.randn(4, 3, generator=random)), torch.randn(4, 3, generator=random)
        )
        in_world = object_to_world(in_cam, self.PLACEMENT)
        point = torch.randn(3, generator=random)
        moved = self.PLACEMENT.scene_scale * (in_world.rotation @ point + in_world.translation_m)
        expected = self.PLACEMENT.points_to_scaled(in_cam.rotation @ point + in_cam.translation_m)
        torch.testing.assert_close(moved, expected, atol=1e-5, rtol=0)
        assert bool((torch.linalg.det(in_world.rotation) > 0).all())
        for found, given in zip(object_to_cam(in_world, self.PLACEMENT), in_cam, strict=True):
            torch.testing.assert_close(found, given, atol=1e-6, rtol=0)


class TestCameras:
    PLACEMENT = placement_at((0.1, -0.2, 0.7))
    INTRINSICS = torch.tensor([[500.0, 0.3, 310.0], [0.0, 480.0, 250.0], [0.0, 0.0, 1.0]])

    def test_matrices_lead_back_to_the_cameras(self) -> None:
        cameras = cameras_of_placement(self.INTRINSICS.expand(2, 3, 3), self.PLACEMENT)
        projection = world_matrices(cameras, self.PLACEMENT.scene_scale) @ scale_matrix(self.PLACEMENT.scene_scale)
        for sign in (1.0, -3.0):  # a projection matrix has any scale and sign
            found = decompose(sign * projection[:, :3])
            torch.testing.assert_close(found.intrinsics.float(), cameras.intrinsics, atol=1e-3, rtol=1e-5)
            torch.testing.assert_close(found.world_from_cam.float(), cameras.world_from_cam, atol=1e-5, rtol=0)

    def test_a_point_is_on_the_ray_of_its_pixel(self) -> None:
        point_cam = torch.tensor([0.1, 0.05, 0.8])
        pixel = self.INTRINSICS @ point_cam / point_cam[2]
        cameras = cameras_of_placement(self.INTRINSICS[None], self.PLACEMENT)
        centre, direction = rays_through_pixels(pixel[None, None, :2], *cameras)
        offset = self.PLACEMENT.points_to_scaled(point_cam) - centre[0]
        torch.testing.assert_close(offset / offset.norm(), direction[0, 0], atol=1e-6, rtol=0)

    def test_a_camera_at_infinity_is_refused(self) -> None:
        projection = torch.zeros(2, 3, 4, dtype=torch.float64)
        projection[0, :, :3] = torch.eye(3)
        with pytest.raises(InputError, match=r"cameras \[1\]"):
            decompose(projection)


class TestLookUps:
    def test_labels_at_thresholds(self) -> None:
        labels = torch.tensor([0, 24.9, 25, 99.9, 100, 199.9, 200, 250])
        assert classes_of_labels(labels).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]

    def test_edge_of_a_hand_is_object_only_to_interpolation(self) -> None:
        mask = torch.zeros(1, 2, 4)
        mask[..., 2:] = 150
        uv = torch.tensor([[[1.4, 0.5], [0.2, 0.1], [3.0, 1.0]]])
        assert sample_classes(mask, uv).tolist() == [[1, 0, 2]]
        assert sample_classes_nearest(mask, uv).tolist() == [[0, 0, 2]]

    def test_bilinear_values_hit_pixels_and_stay_within_the_border(self) -> None:
        image = torch.arange(12.0).reshape(1, 3, 4, 1)
        uv = torch.tensor([[[0.0, 0.0], [3.0, 2.0], [1.5, 0.5], [-2.0, 1.0], [9.0, 9.0]]])
        assert sample_bilinear(image, uv)[0, :, 0].tolist() == pytest.approx([0, 11, 3.5, 4, 11], abs=1e-5)

    def test_an_image_of_one_row_has_values(self) -> None:
        found = sample_bilinear(torch.ones(1, 1, 1, 3), torch.zeros(1, 1, 2))
        assert math.isclose(float(found.sum()), 3.0)
