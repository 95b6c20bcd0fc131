"""HandOccNet's pose, shape and key points in handloom's conventions."""

from dataclasses import replace

import roma
import torch

from handloom.estimators.handoccnet.network import HandOccNet, HandOccNetOutput
from handloom.estimators.handoccnet.prediction import hands_of, predict
from handloom.estimators.handoccnet.preprocessing import network_input
from handloom.hand.mano import skin
from handloom.hand.open_hand import open_hand

from .small_handoccnet import IMAGE_PX, small_handoccnet

HAND = replace(open_hand(), hands_mean=torch.linspace(-0.3, 0.4, 45))


def coefficients() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    pose = 0.4 * torch.randn(3, 16, 3, generator=generator)
    return pose, torch.randn(3, HAND.shape_count, generator=generator)


def test_the_pose_comes_on_top_of_the_mean_pose_but_for_the_wrist() -> None:
    pose, shape = coefficients()
    hands = hands_of(HandOccNetOutput(torch.rand(3, 21, 2), roma.rotvec_to_rotmat(pose), shape), HAND)
    absolute = pose + torch.cat([torch.zeros(3), HAND.hands_mean]).unflatten(0, (16, 3))
    hand = skin(HAND, pose_rotvec=absolute, shape=shape, translation_m=torch.full((3, 3), 0.7))
    wrist = hand.keypoints_m[:, :1]
    torch.testing.assert_close(hands.vertices_m, hand.vertices_m - wrist, atol=1e-5, rtol=0)
    torch.testing.assert_close(hands.joints_m, hand.keypoints_m - wrist, atol=1e-5, rtol=0)
    assert bool((hands.joints_m[:, 0] == 0).all())
    assert bool(hands.seen.all())


def test_key_points_are_counted_from_the_edge() -> None:
    """Trained with places of pixels whose centres are whole numbers, over 256: pixel 0's centre is at share 1/512."""
    pose, shape = coefficients()
    rotations = roma.rotvec_to_rotmat(pose)
    keypoints = torch.tensor([[0.0, 100 / 256]]).expand(3, 21, 2)
    hands = hands_of(HandOccNetOutput(keypoints, rotations, shape), HAND)
    torch.testing.assert_close(256 * hands.keypoints[0, 5] - 0.5, torch.tensor([0.0, 100.0]))


def test_bytes_become_values_from_0_to_1() -> None:
    image = torch.zeros(1, 3, 3, 3, dtype=torch.uint8)
    image[0, 1, 2] = torch.tensor([255, 51, 0])
    torch.testing.assert_close(network_input(image)[0, :, 1, 2], torch.tensor([1.0, 0.2, 0.0]))


def test_batches_do_not_change_the_prediction() -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (5, IMAGE_PX, IMAGE_PX, 3), dtype=torch.uint8, generator=generator)
    network: HandOccNet = small_handoccnet()
    parts = predict(network, images, HAND, batch_size=2)
    for one, all_ in zip(parts, predict(network, images, HAND, batch_size=5), strict=True):
        torch.testing.assert_close(one, all_, atol=1e-3, rtol=1e-3)
