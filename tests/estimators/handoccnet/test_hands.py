"""HandOccNet's weights, pose and key points in handloom's conventions, and its joints in S2DHand's crops."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from handloom.datasets.box_crops import BOX_MARGIN
from handloom.estimators.handoccnet.hands import HandOccNetHands, enlarged, load_network
from handloom.estimators.handoccnet.network import HandOccNetOutput
from handloom.hand.mano import skin
from handloom.runtime.errors import InputError

from ..hands.hand_of_778 import hand_of_778
from .small_handoccnet import IMAGE_PX, SMALL, small_handoccnet

HAND = hand_of_778()
HANDS = HandOccNetHands(small_handoccnet(architecture=replace(SMALL, cells=32, poolings=5)), HAND)


def test_the_pose_comes_on_top_of_the_mean_pose_but_for_the_wrist() -> None:
    generator = torch.Generator().manual_seed(2)
    pose, shape = 0.4 * torch.randn(3, 16, 3, generator=generator), torch.randn(3, SMALL.shape, generator=generator)
    hands = HANDS.hands_of(HandOccNetOutput(torch.rand(3, 21, 2), roma.rotvec_to_rotmat(pose), shape))
    absolute = pose + torch.cat([torch.zeros(3), HAND.hands_mean]).unflatten(0, (16, 3))
    hand = skin(HAND, pose_rotvec=absolute, shape=shape, translation_m=torch.full((3, 3), 0.7))
    wrist = hand.keypoints_m[:, :1]
    torch.testing.assert_close(hands.vertices_m, hand.vertices_m - wrist, atol=1e-5, rtol=0)
    torch.testing.assert_close(hands.joints_m, hand.keypoints_m - wrist, atol=1e-5, rtol=0)
    assert bool((hands.joints_m[:, 0] == 0).all())
    assert bool(hands.seen.all())


def test_key_points_are_counted_from_the_edge() -> None:
    """Trained with places of pixels whose centres are whole numbers, over 256: pixel 0's centre is at share 1/512."""
    keypoints = torch.tensor([[0.0, 100 / 256]]).expand(1, 21, 2)
    hands = HANDS.hands_of(HandOccNetOutput(keypoints, torch.eye(3).expand(1, 16, -1, -1), torch.zeros(1, SMALL.shape)))
    torch.testing.assert_close(256 * hands.keypoints[0, 5] - 0.5, torch.tensor([0.0, 100.0]))


def test_the_middle_fills_the_network_input() -> None:
    image = torch.zeros(1, 64, 64, dtype=torch.uint8)
    image[:, 16:48, 16:48] = 200
    half = enlarged(image, 0.5, 256)
    assert half.shape == (1, 256, 256, 3)
    assert bool((half[:, 4:-4, 4:-4] == 200).all())
    whole = enlarged(image, 1.0, 256)
    assert bool((whole[:, 70:186, 70:186] == 200).all())
    assert bool((whole[:, :60] == 0).all())
    beyond = enlarged(torch.full_like(image, 200), 2.0, 256)
    assert bool((beyond[:, :60] == 0).all())
    assert bool((beyond[:, 68:188, 68:188] == 200).all())


def test_a_crop_that_is_shifted_by_a_pixel_is_seen_so() -> None:
    """Left is left and up is up."""
    image = torch.zeros(1, 256, 256, dtype=torch.uint8)
    image[0, 100, 30] = 255
    assert torch.nonzero(enlarged(image, 1.0, 256)[0, :, :, 1]).tolist() == [[100, 30]]


def test_left_hands_in_crops_come_back_mirrored() -> None:
    """The crop of a left hand is mirrored already: the same picture gives joints of the other sign in x."""
    images = np.repeat(np.random.default_rng(1).integers(0, 256, (1, 40, 40), dtype=np.uint8), 2, axis=0)
    joints = HANDS.joints_in_views(images, np.array([False, True]))
    np.testing.assert_allclose(joints[1], joints[0] * [-1, 1, 1], atol=1e-6)
    assert float(np.abs(joints[0, :, 0]).max()) > 0.01
    assert HandOccNetHands.field_of_box < BOX_MARGIN  # so that no border is invented


def test_its_checkpoint_is_a_snapshot_of_which_mano_is_not_taken(tmp_path: Path) -> None:
    expected = small_handoccnet()
    unused = {
        "regressor.mano_regHead.mano_layer.th_v_template": torch.full((1, 778, 3), torch.nan),
        "regressor.mano_regHead.mano_layer.th_faces": torch.zeros(1538, 3).long(),
        "regressor.hand_regHead.uu": torch.zeros(3, 3),
        "regressor.hand_regHead.vv": torch.zeros(3, 3),
        "backbone.smooth2.bias": torch.zeros(8),
    }
    weights = {f"module.{name}": value for name, value in {**expected.state_dict(), **unused}.items()}
    torch.save({"epoch": 24, "network": weights, "optimizer": {"state": {}}}, tmp_path / "demo.pth.tar")
    network = load_network(tmp_path / "demo.pth.tar", SMALL)
    image = torch.rand(1, 3, IMAGE_PX, IMAGE_PX)
    for found, wanted in zip(network(image), expected(image), strict=True):
        torch.testing.assert_close(found, wanted)
    with pytest.raises(InputError, match=r"is \(8, .*\), expected \(16, "):
        load_network(tmp_path / "demo.pth.tar", replace(SMALL, width=16))
    torch.save({**expected.state_dict(), "regressor.hand_regHead.ww": torch.zeros(2)}, tmp_path / "more.pth")
    words = r"is no checkpoint of HandOccNet: .*hand_regHead\.ww is not expected.*Expected snapshot_demo\.pth\.tar"
    with pytest.raises(InputError, match=words):
        load_network(tmp_path / "more.pth", SMALL)
