"""Sampled poses and motions are possible for a human hand, smooth, and do not pass through themselves."""

import pytest
import torch

from handloom.hand.anatomy import LOWER_RAD, UPPER_RAD, within_limits
from handloom.hand.mano import skin
from handloom.hand.models import open_hand, open_hand_anatomy
from handloom.hand.pose_prior import key_pose_angles, motion_angles, sample_angles, smooth_motion
from handloom.hand.self_contact import parted, penetration_m

_DEGREES = 180.0 / torch.pi


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _assert_possible(angles: torch.Tensor) -> None:
    assert (angles >= LOWER_RAD - 1e-6).all()
    assert (angles <= UPPER_RAD + 1e-6).all()
    middle, distal = angles[:, [1, 4, 7, 10], 0], angles[:, [2, 5, 8, 11], 0]
    assert (distal - 2.0 / 3.0 * middle).abs().max() * _DEGREES < 15.01
    bent, spread = angles[:, [0, 3, 6, 9], 0], angles[:, [0, 3, 6, 9], 1]
    assert spread[bent * _DEGREES > 70.0].abs().max() * _DEGREES < 13.0, "a bent finger cannot be spread"


def test_sampled_poses_are_possible():
    _assert_possible(sample_angles(_generator(), 500))


@pytest.mark.parametrize("seed", range(3))
def test_motions_are_possible_and_smooth(seed):
    """No joint jumps: speeds of a hand (under 15 degrees a frame) and small changes of speed."""
    angles = motion_angles(_generator(seed), 200, 24.0)
    _assert_possible(angles)
    speed = angles.diff(dim=0) * _DEGREES
    assert speed.abs().max() < 15.0
    assert speed.diff(dim=0).abs().max() < 5.0
    assert angles.std(0)[:, 0].min() * _DEGREES > 3.0, "every joint takes part"


def test_sampled_poses_do_not_pass_through_themselves():
    deepest = _deepest_mm(sample_angles(_generator(1), 400))
    assert torch.quantile(deepest, 0.95) < 1.5
    assert deepest.max() < 2.5


def test_motions_do_not_pass_through_themselves():
    motions = [motion_angles(_generator(seed), 150, 24.0) for seed in range(4)]
    deepest = _deepest_mm(torch.cat(motions))
    assert torch.quantile(deepest, 0.95) < 2.0
    assert deepest.max() < 9.0


def test_parting_needs_no_change_where_nothing_touches_and_helps_where_it_does():
    flat = key_pose_angles("flat")
    crossed = flat.clone()
    crossed[:, 0, 1], crossed[:, 3, 1] = -0.4, 0.3  # index through middle finger
    torch.testing.assert_close(parted(flat), flat)
    assert penetration_m(crossed).max() > 0.005
    assert penetration_m(parted(crossed)).max() < 0.001


def test_key_poses_are_possible():
    angles = key_pose_angles()
    torch.testing.assert_close(within_limits(angles), angles, atol=0.01, rtol=0)


@pytest.mark.parametrize("name", ["index pinch", "open pinch"])
def test_pinches_bring_thumb_and_index_together(name):
    tips = _keypoints(name)[[4, 8]]
    assert torch.linalg.vector_norm(tips[0] - tips[1]) < 0.02


def test_in_a_fist_the_thumb_lies_over_the_fingers():
    """The thumb's tip is in front of the middle bones of index and middle finger, on the palm's side (-y)."""
    points = _keypoints("fist")
    thumb, fingers = points[4], points[[6, 7, 10, 11]].mean(0)
    assert thumb[1] < fingers[1]
    assert torch.linalg.vector_norm(thumb - fingers) < 0.03


def test_opposition_turns_the_thumb_towards_the_fingers():
    """From the flat hand to the pinch, the thumb's tip moves to the palm's side and across it."""
    flat, pinch = _keypoints("flat")[4], _keypoints("middle pinch")[4]
    assert pinch[1] < flat[1] - 0.02
    assert pinch[2] < flat[2] - 0.02


def test_rest_angles_give_the_rest_pose():
    anatomy = open_hand_anatomy()
    assert anatomy.pose_from_angles(anatomy.rest_angles_rad).abs().max() < 1e-5


def test_flexion_adds_up_about_one_axis():
    """From rest, ten more degrees of flexion are a turn of ten degrees about the joint's axis."""
    anatomy = open_hand_anatomy()
    more = anatomy.rest_angles_rad.clone()
    more[:, 0] += 10.0 / _DEGREES
    pose = anatomy.pose_from_angles(more)
    torch.testing.assert_close(pose.norm(dim=1) * _DEGREES, torch.full((15,), 10.0), rtol=1e-3, atol=0)
    assert (pose[:12, 2] > 0).all(), "about the thumb's side, so that the fingers close"


def test_equal_seeds_give_equal_motions():
    motion = smooth_motion(_generator(5), 20, 24.0)
    assert torch.equal(motion, smooth_motion(_generator(5), 20, 24.0))
    assert not torch.equal(motion, smooth_motion(_generator(7), 20, 24.0))


def _deepest_mm(angles: torch.Tensor) -> torch.Tensor:
    return penetration_m(angles).amax(1) * 1000.0


def _keypoints(name: str) -> torch.Tensor:
    pose = torch.cat([torch.zeros(1, 3), open_hand_anatomy().pose_from_angles(key_pose_angles(name)[0])])
    return skin(open_hand(), pose_rotvec=pose, shape=torch.zeros(10), translation_m=torch.zeros(3)).keypoints_m
