"""METRO's camera, joint order and finger tips in handloom's conventions."""

import torch

from handloom.estimators.mesh_hands import mirrored
from handloom.estimators.metro.mesh_joints import METRO_FINGERTIPS
from handloom.estimators.metro.prediction import MeshJoints, hands_of, predict
from handloom.hand.joints import MANO_FINGERTIPS_MANOPTH, SNAP_FINGERTIPS
from handloom.hand.mano import skin

from .small_metro import hand_of_778, small_metro

HAND = hand_of_778()
JOINTS = MeshJoints(HAND.J_regressor, HAND.tip_vertices)


def posed():
    pose = torch.zeros(2, 16, 3)
    pose[1, :, 2] = 0.2
    return skin(HAND, pose_rotvec=pose, shape=torch.zeros(2, HAND.shape_count), translation_m=torch.full((2, 3), 0.4))


def test_joints_of_a_mesh_are_snap_with_our_tips_about_the_wrist() -> None:
    hand = posed()
    hands = hands_of(hand.vertices_m, torch.tensor([[1.0, 0, 0], [2.0, 0, 0]]), JOINTS)
    # At rest MANO's regressor and skinning agree; bent, the tips still do.
    at_rest = hand.keypoints_m[0] - hand.keypoints_m[0, 0]
    torch.testing.assert_close(hands.joints_m[0], at_rest, atol=1e-5, rtol=0)
    wrist = HAND.J_regressor[0] @ hand.vertices_m[1]
    tips = hand.vertices_m[1, list(HAND.tip_vertices)] - wrist
    torch.testing.assert_close(hands.joints_m[1, list(SNAP_FINGERTIPS)], tips)
    torch.testing.assert_close(hands.vertices_m[1], hand.vertices_m[1] - wrist)


def test_the_camera_gives_shares_of_the_square() -> None:
    camera = torch.tensor([[5.0, 0.02, -0.01], [-3.0, 0.0, 0.0]])
    hands = hands_of(posed().vertices_m, camera, JOINTS)
    torch.testing.assert_close(hands.keypoints[0, 0], torch.tensor([(1 + 5 * 0.02) / 2, (1 - 5 * 0.01) / 2]))
    torch.testing.assert_close(
        hands.keypoints[0, 9] - hands.keypoints[0, 0], 5 / 2 * hands.joints_m[0, 9, :2], atol=1e-6, rtol=0
    )
    assert hands.seen.tolist() == [True, False]


def test_metros_tips_are_manopths_but_for_the_middle_finger() -> None:
    differing = [ours != theirs for ours, theirs in zip(METRO_FINGERTIPS, MANO_FINGERTIPS_MANOPTH, strict=True)]
    assert differing == [False, False, True, False, False]
    faithful = hands_of(posed().vertices_m, torch.ones(2, 3), MeshJoints(HAND.J_regressor, METRO_FINGERTIPS))
    wrist = HAND.J_regressor[0] @ posed().vertices_m[0]
    torch.testing.assert_close(faithful.joints_m[0, 12], posed().vertices_m[0, 445] - wrist)


def test_mirrored_twice_is_the_same_and_once_is_the_other_hand() -> None:
    hands = hands_of(posed().vertices_m, torch.tensor([[5.0, 0.1, 0.2]]).expand(2, -1), JOINTS)
    other = mirrored(hands)
    torch.testing.assert_close(other.joints_m[..., 0], -hands.joints_m[..., 0])
    torch.testing.assert_close(other.joints_m[..., 1:], hands.joints_m[..., 1:])
    torch.testing.assert_close(other.keypoints[..., 0], 1 - hands.keypoints[..., 0])
    for found, wanted in zip(mirrored(other), hands, strict=True):
        torch.testing.assert_close(found, wanted)


def test_batches_do_not_change_the_prediction() -> None:
    images = torch.randint(0, 256, (5, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    network = small_metro()
    for one, all_ in zip(
        predict(network, images, JOINTS, batch_size=2), predict(network, images, JOINTS, batch_size=5), strict=True
    ):
        torch.testing.assert_close(one, all_, atol=1e-3, rtol=1e-3)
