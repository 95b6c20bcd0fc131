"""METRO behind the stage of hand estimates: crops, key points in the image, left hands, the mesh, and early refusal."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from handloom.estimators.metro.mesh_joints import METRO_FINGERTIPS
from handloom.estimators.metro.network import Metro, MetroOutput
from handloom.estimators.metro.template import template_tokens_m
from handloom.hand.mano import HandModel, skin
from handloom.hand.open_hand import open_hand
from handloom.reconstruction.hand_estimates import configured_estimator, estimate_hands
from handloom.reconstruction.hand_registration import read_estimates
from handloom.reconstruction.hand_squares import HandFrame, HandSquares, ray_rotations
from handloom.reconstruction.metro_hands import MetroEstimator
from handloom.runtime.artifacts import Header, read_arrays, write_arrays
from handloom.runtime.config.hand_tracking import HandEstimationSettings
from handloom.runtime.config.metro import MetroSettings
from handloom.runtime.errors import InputError

from ..estimators.metro.small_metro import SMALL, hand_of_778, small_metro  # noqa: TID252 (the tests are no package)
from .hand_video import CORNERS, video

HAND = hand_of_778()
SETTINGS = HandEstimationSettings(backend="metro")


class Knowing(Metro):
    """Answers with one hand, and a camera that puts its wrist on the brightest place of each image."""

    def __init__(self, hand: HandModel, scale: float = 4.0) -> None:
        super().__init__(SMALL, template_tokens_m(hand))
        pose = torch.zeros(16, 3)
        pose[0] = torch.tensor([0.3, -1.2, 0.4])
        posed = skin(hand, pose_rotvec=pose, shape=torch.zeros(hand.shape_count), translation_m=torch.ones(3))
        self.vertices_m, self.scale = posed.vertices_m, scale

    def forward(self, image: Tensor) -> MetroOutput:
        light = (image.sum(1) > image.sum(1).amax((-1, -2), keepdim=True) - 0.2).float()
        size = image.shape[-1]
        cells = 2 * (torch.arange(size) + 0.5) / size - 1
        total = light.sum((-1, -2))
        x, y = (light.sum(-2) * cells).sum(-1) / total, (light.sum(-1) * cells).sum(-1) / total
        camera = torch.stack([torch.full_like(x, self.scale), x / self.scale, y / self.scale], -1)
        vertices = self.vertices_m.expand(len(image), -1, -1)
        return MetroOutput(camera, vertices[:, :21], vertices[:, :195], vertices)


def estimator(network: Metro | None = None, **settings: object) -> MetroEstimator:
    return MetroEstimator.around(network or small_metro(), MetroSettings.model_validate(settings), HAND)


def camera_file(folder: Path) -> Path:
    intrinsics = np.array([[150.0, 0, 80], [0, 150, 60], [0, 0, 1]])
    write_arrays(folder / "camera.npz", {"intrinsics": intrinsics}, Header("object_poses", "", ""))
    return folder / "camera.npz"


def test_the_stage_writes_key_points_joints_and_mesh(tmp_path: Path) -> None:
    frames, masks = video(tmp_path)
    network = estimator(Knowing(HAND))
    estimate_hands(SETTINGS, HAND, frames, masks, None, None, tmp_path / "hands.npz", estimator=network)
    found = read_estimates(tmp_path / "hands.npz")
    assert found.found.tolist() == [True, False, True, True]
    for index, corner in enumerate(CORNERS):
        if corner is not None:
            wrist = torch.tensor([corner[0] + 12.0, corner[1] + 25.0], dtype=torch.float64)
            torch.testing.assert_close(found.keypoints_px[index, 0], wrist, atol=0.3, rtol=0)
    assert found.vertices_cam_m is not None
    expected = network.network.vertices_m
    expected = expected - HAND.J_regressor[0] @ expected
    torch.testing.assert_close(found.vertices_cam_m[2], expected, atol=1e-5, rtol=0)
    assert bool(found.vertices_cam_m[1].isnan().all())
    # The mesh keeps its size, joints have the nominal one: they are parallel.
    joints = found.joints_cam_m[2].float()
    tip = HAND.tip_vertices[2]
    ratio = joints[12].norm() / expected[tip].norm()
    torch.testing.assert_close(joints[12], ratio * expected[tip], atol=1e-5, rtol=0)
    assert read_arrays(tmp_path / "hands.npz", "hand_estimates")[1].extra["backend"] == "metro"


def test_mesh_and_joints_turn_with_the_viewing_ray(tmp_path: Path) -> None:
    frames, masks = video(tmp_path)
    network, camera = estimator(Knowing(HAND)), camera_file(tmp_path)
    for name, poses in (("straight", None), ("turned", camera)):
        estimate_hands(SETTINGS, HAND, frames, masks, None, poses, tmp_path / f"{name}.npz", estimator=network)
    straight, turned = (read_estimates(tmp_path / f"{name}.npz") for name in ("straight", "turned"))
    intrinsics = read_arrays(camera, "object_poses")[0]["intrinsics"]
    centre = np.array([[corner[0] + 14.5, corner[1] + 19.5] for corner in CORNERS if corner is not None])
    rotations = ray_rotations(centre, intrinsics)
    for index, rotation in zip((0, 2, 3), rotations, strict=True):
        expected = straight.joints_cam_m[index] @ rotation.mT
        torch.testing.assert_close(turned.joints_cam_m[index], expected, atol=1e-6, rtol=0)
        assert straight.vertices_cam_m is not None
        assert turned.vertices_cam_m is not None
        mesh = straight.vertices_cam_m[index] @ rotation.mT.float()
        torch.testing.assert_close(turned.vertices_cam_m[index], mesh, atol=1e-6, rtol=0)


def test_a_left_hand_is_the_mirror_image_of_a_right_one(tmp_path: Path) -> None:
    """With random weights, so that nothing but the mirroring can make them agree."""
    image = np.random.default_rng(1).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "right.png"), image)
    cv2.imwrite(str(tmp_path / "left.png"), image[:, ::-1])
    squares = HandSquares(np.array([[64.5, 49.5]]), np.array([298.0]))
    other = squares._replace(centre_px=np.array([[159.0 - 64.5, 49.5]]))
    right = estimator()([HandFrame(tmp_path / "right.png", None)], squares, "right")
    left = estimator()([HandFrame(tmp_path / "left.png", None)], other, "left")
    size = right.vertices_m.abs().max()
    flip = torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(left.vertices_m / size, right.vertices_m * flip / size, atol=1e-3, rtol=0)
    torch.testing.assert_close(left.joints / size, right.joints * flip / size, atol=1e-3, rtol=0)
    extent = right.keypoints_px.abs().max()
    mirrored = torch.stack([159.0 - right.keypoints_px[..., 0], right.keypoints_px[..., 1]], -1)
    torch.testing.assert_close(left.keypoints_px / extent, mirrored / extent, atol=1e-3, rtol=0)


def test_the_crop_is_as_wide_as_configured(tmp_path: Path) -> None:
    """A hand 100 pixels wide in a square of 200: METRO's crop is 150 pixels, and its side a key point's unit."""
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((300, 300, 3), np.uint8))
    squares = HandSquares(np.array([[149.5, 149.5]]), np.array([200.0]))
    spread = {}
    for field in (1.5, 3.0):
        found = estimator(Knowing(HAND), field_of_box=field)([HandFrame(tmp_path / "0.png", None)], squares, "right")
        spread[field] = (found.keypoints_px[0, 12] - found.keypoints_px[0, 0]).norm()
        joints = found.joints[0, 12, :2].norm()
        torch.testing.assert_close(spread[field], 4.0 / 2 * joints * 100 * field)
    torch.testing.assert_close(spread[3.0], 2 * spread[1.5])


def test_a_hand_turned_inside_out_is_none(tmp_path: Path) -> None:
    frames, masks = video(tmp_path)
    with pytest.raises(InputError, match="no right hand in 4 of 4 frames"):
        estimate_hands(
            *(SETTINGS, HAND, frames, masks, None, None, tmp_path / "hands.npz"),
            estimator=estimator(Knowing(HAND, scale=-4.0)),
        )


def test_faithful_takes_metros_finger_tips() -> None:
    assert estimator(fidelity="faithful").mesh_joints.tips == METRO_FINGERTIPS
    assert estimator().mesh_joints.tips == HAND.tip_vertices


def test_missing_weights_end_the_stage_before_it_reads_a_frame(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"metro": MetroSettings(checkpoint=str(tmp_path / "metro.bin"))})
    with pytest.raises(InputError, match=r"metro\.bin: no such file.*MeshTransformer"):
        estimate_hands(settings, HAND, tmp_path / "nothing", tmp_path / "no masks", None, None, tmp_path / "hands.npz")


def test_the_embedded_hand_is_refused() -> None:
    with pytest.raises(InputError, match=r"1609 vertices, but METRO predicts.*set `mano`"):
        configured_estimator(SETTINGS, open_hand())
