"""Networks that give MANO's mesh, behind the stage that finds hands: squares, left hands, the mesh, early refusal."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from handloom.estimators.handoccnet import HandOccNetSettings
from handloom.estimators.handoccnet import hands as handoccnet
from handloom.estimators.handoccnet.hands import HandOccNetHands
from handloom.estimators.hands import HandSearchSettings
from handloom.estimators.hands.found import FoundHands, camera_turns
from handloom.estimators.hands.meshes import MeshNetwork, mirrored
from handloom.estimators.hands.search import HandFrame, hand_search
from handloom.estimators.hands.squares import Squares
from handloom.estimators.metro import MetroSettings
from handloom.estimators.metro import hands as metro
from handloom.estimators.metro.hands import MetroHands
from handloom.hand.joints import MANO_FINGERTIPS_MANOPTH
from handloom.hand.models import open_hand
from handloom.runtime.errors import InputError

from ..handoccnet.small_handoccnet import (
    SMALL,
    KnowingHandOccNet,
    small_handoccnet,
)
from ..metro.small_metro import KnowingMetro, small_metro
from .hand_of_778 import hand_of_778
from .small_video import CORNERS, small_video

HAND = hand_of_778()
Network = Callable[[], MeshNetwork]
KNOWING: list[Network] = [
    lambda: MetroHands(KnowingMetro(HAND), HAND),
    lambda: HandOccNetHands(KnowingHandOccNet(), HAND),
]
RANDOM: list[Network] = [
    lambda: MetroHands(small_metro(), HAND),
    lambda: HandOccNetHands(small_handoccnet(architecture=replace(SMALL, cells=32, poolings=5)), HAND),
]
IDS = ["metro", "handoccnet"]
MODULES = [(metro, MetroSettings), (handoccnet, HandOccNetSettings)]


def found_by(network: MeshNetwork, folder: Path) -> FoundHands:
    find_hands = hand_search(lambda *_: network, MetroSettings)
    search = HandSearchSettings(least_hands=0.5, object_reach=None)
    files = {**small_video(folder)._asdict(), "weights": folder / "none", "hands": folder / "hands.npz"}
    find_hands(**files, network=MetroSettings(), search=search, side="right", where="video")
    return FoundHands.load(folder / "hands.npz")


@pytest.mark.parametrize("network", KNOWING, ids=IDS)
def test_the_stage_writes_key_points_joints_and_mesh(tmp_path: Path, network: Network) -> None:
    found = found_by(network(), tmp_path)
    assert found.found.tolist() == [True, False, True, True]
    for index, corner in enumerate(CORNERS):
        if corner is not None:
            np.testing.assert_allclose(found.keypoints_px[index, 0], [corner[0] + 12, corner[1] + 25], atol=0.3)
    np.testing.assert_allclose(found.side_px[found.found], 1.5 * 40)
    mesh = network().predict(torch.zeros(1, 32, 32, 3, dtype=torch.uint8))
    assert found.vertices_cam is not None
    np.testing.assert_allclose(found.vertices_cam[2], mesh.vertices_m[0], atol=1e-5)
    assert np.isnan(found.vertices_cam[1]).all()
    # The mesh keeps its size, joints have the nominal one: they are parallel.
    joints, own = found.joints_cam[2], mesh.joints_m[0].numpy()
    np.testing.assert_allclose(joints, np.linalg.norm(joints[12]) / np.linalg.norm(own[12]) * own, atol=1e-5)
    assert found.network == network().name


def test_mesh_and_joints_turn_with_the_viewing_ray(tmp_path: Path) -> None:
    intrinsics = np.array([[150.0, 0, 80], [0, 150, 60], [0, 0, 1]])
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((120, 160, 3), np.uint8))
    squares = Squares(np.array([[30.0, 90.0]]), np.array([60.0]), np.zeros(1))
    answer = KNOWING[0]().answer([HandFrame(tmp_path / "0.png")], squares, "right")
    how: dict[str, Any] = {"ray_share": 1.0, "bone_m": None, "side": "right", "network": "metro"}
    straight, turned = (FoundHands.of(answer, np.arange(1), 1, camera, **how) for camera in (None, intrinsics))
    rotation = camera_turns(squares.centre_px, intrinsics)[0]
    assert np.abs(rotation - np.eye(3)).max() > 0.1
    assert straight.vertices_cam is not None
    assert turned.vertices_cam is not None
    np.testing.assert_allclose(turned.joints_cam[0], straight.joints_cam[0] @ rotation.T, atol=1e-6)
    np.testing.assert_allclose(turned.vertices_cam[0], straight.vertices_cam[0] @ rotation.T, atol=1e-6)


@pytest.mark.parametrize("network", KNOWING, ids=IDS)
def test_a_left_hand_is_the_mirror_image_of_a_right_one(tmp_path: Path, network: Network) -> None:
    """The bright spot sees the mirroring of the picture and of the place, the mesh that of the hand."""
    image = np.zeros((120, 160, 3), np.uint8)
    image[40:43, 30:33] = 255
    right, left = _both_sides(tmp_path, network(), image, 73.5)
    flip = np.array([-1.0, 1.0, 1.0])
    np.testing.assert_allclose(left.vertices, right.vertices * flip)
    np.testing.assert_allclose(left.joints, right.joints * flip)
    np.testing.assert_allclose(right.keypoints_px[0, 0], [31, 41], atol=0.05)
    np.testing.assert_allclose(left.keypoints_px[0, 0], [159 - 31, 41], atol=0.05)


def test_the_mirror_image_of_any_picture_gives_the_other_hand(tmp_path: Path) -> None:
    """With random weights, so that nothing but the mirroring can make them agree."""
    image = np.random.default_rng(1).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    right, left = _both_sides(tmp_path, RANDOM[0](), image, 223.5)
    size, extent, flip = np.abs(right.vertices).max(), np.abs(right.keypoints_px).max(), np.array([-1.0, 1.0, 1.0])
    np.testing.assert_allclose(left.vertices / size, right.vertices * flip / size, atol=1e-3)
    np.testing.assert_allclose(left.joints / size, right.joints * flip / size, atol=1e-3)
    expected = np.stack([159 - right.keypoints_px[..., 0], right.keypoints_px[..., 1]], -1)
    np.testing.assert_allclose(left.keypoints_px / extent, expected / extent, atol=1e-3)


def _both_sides(folder: Path, network: MeshNetwork, image: np.ndarray, side_px: float) -> list[Any]:
    answers = []
    for side, shown, x in (("right", image, 40.5), ("left", image[:, ::-1], 159 - 40.5)):
        cv2.imwrite(str(folder / f"{side}.png"), shown)
        squares = Squares(np.array([[x, 49.5]]), np.array([side_px]), np.zeros(1))
        answers.append(network.answer([HandFrame(folder / f"{side}.png")], squares, side))  # type: ignore[arg-type]
    return answers


@pytest.mark.parametrize("network", RANDOM, ids=IDS)
def test_batches_do_not_change_the_prediction_and_mirroring_twice_neither(network: Network) -> None:
    size = 64 if network is RANDOM[0] else 256
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (3, size, size, 3), dtype=torch.uint8, generator=generator)
    together = network().predict(images)
    for one, all_ in zip(network().predict(images, batch_size=2), together, strict=True):
        assert bool(one.isfinite().all())
        torch.testing.assert_close(one, all_, atol=1e-3, rtol=1e-3)
    for found, wanted in zip(mirrored(mirrored(together)), together, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_faithful_takes_the_released_finger_tips() -> None:
    metros, manopths = MetroHands.released_tips, MANO_FINGERTIPS_MANOPTH
    assert [ours != theirs for ours, theirs in zip(metros, manopths, strict=True)] == [False, False, True, False, False]
    assert HandOccNetHands.released_tips == manopths
    for network in (MetroHands, HandOccNetHands):
        assert network.fitting_hand(HAND, "faithful").tip_vertices == network.released_tips
        assert network.fitting_hand(HAND, "fixed").tip_vertices == HAND.tip_vertices


@pytest.mark.parametrize(("module", "settings"), MODULES, ids=IDS)
def test_missing_weights_and_the_embedded_hand_end_the_stage(tmp_path: Path, module: Any, settings: Any) -> None:
    """The hand is refused first: whoever lacks MANO need not fetch weights."""
    weights = tmp_path / "weights"
    with pytest.raises(InputError, match=r"weights: no such file.*https://github\.com/"):
        module.load(weights, None, settings(), HAND, "cpu")
    search = HandSearchSettings(least_hands=0.5)
    files = {**small_video(tmp_path)._asdict(), "weights": weights, "hands": tmp_path / "hands.npz"}
    with pytest.raises(InputError, match=r"1609 vertices, but \w+ predicts.*set `mano`.*mano\.is\.tue\.mpg\.de"):
        module.find_hands(**files, network=settings(), search=search, side="right", where="video")


def test_another_hand_is_refused() -> None:
    for network in (MetroHands, HandOccNetHands):
        with pytest.raises(InputError, match=rf"{network.title}: the hand model is a right hand of 1609 vertices"):
            network.fitting_hand(open_hand(), "fixed")
        with pytest.raises(InputError, match="left hand of 778 vertices"):
            network.fitting_hand(replace(HAND, side="left"), "fixed")
    nine = replace(HAND, shapedirs=HAND.shapedirs[..., :9])
    with pytest.raises(InputError, match="HandOccNet: the hand model has 9 shape directions"):
        HandOccNetHands.fitting_hand(nine, "fixed")
    assert MetroHands.fitting_hand(nine, "fixed").shape_count == 9
