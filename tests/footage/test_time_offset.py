"""An offset between two views is found from their poses alone, and a hand that keeps still is called ambiguous."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handloom.demo.camera_pair import Filmed
from handloom.footage.time_offset import (
    OffsetEstimate,
    estimate_offset,
    nearest_frames,
    rotation_mismatch,
    unit_poses,
)
from handloom.runtime.errors import InputError


def estimate(filmed: Filmed, noise_m: float, **changes: float) -> OffsetEstimate:
    generator = np.random.default_rng(0)
    views = [
        joints + noise_m * generator.normal(size=joints.shape)
        for joints in (filmed.joints_left_m, filmed.joints_right_m)
    ]
    settings = {"search_s": 1.5, "distinct_s": 0.25} | changes
    return estimate_offset(filmed.times_left_s, filmed.times_right_s, *views, **settings)


@pytest.mark.parametrize("noise_m", [0.0, 0.01])
def test_the_offset_of_two_videos_of_different_rate_is_found(filmed: Filmed, noise_m: float) -> None:
    found = estimate(filmed, noise_m)
    assert found.offset_s == pytest.approx(0.4, abs=1 / 30)
    assert found.certainty > 0.3
    assert found.second_mismatch is not None
    assert found.mismatch == np.nanmin(found.mismatches) < found.second_mismatch


def test_views_the_other_way_round_have_the_opposite_offset(filmed: Filmed) -> None:
    views = (filmed.times_right_s, filmed.times_left_s, filmed.joints_right_m, filmed.joints_left_m)
    assert estimate_offset(*views, search_s=1.5, distinct_s=0.25).offset_s == pytest.approx(-0.4, abs=1 / 30)


def test_a_still_hand_is_ambiguous(still: Filmed) -> None:
    assert estimate(still, 0.005).certainty < 0.1


def test_an_offset_beyond_the_search_is_not_found(filmed: Filmed) -> None:
    assert abs(estimate(filmed, 0.0, search_s=0.2).offset_s) <= 0.2 + 1e-9


def test_without_another_offset_nothing_is_certain(filmed: Filmed) -> None:
    found = estimate(filmed, 0.0, search_s=0.1)
    assert (found.second_offset_s, found.certainty) == (None, 0.0)


def test_too_few_simultaneous_hands_are_refused(filmed: Filmed) -> None:
    with pytest.raises(InputError, match=r"at most \d+ frames show the hand in both views at once"):
        estimate_offset(
            filmed.times_left_s[:4],
            filmed.times_right_s[:4],
            filmed.joints_left_m[:4],
            filmed.joints_right_m[:4],
            search_s=1.0,
            distinct_s=0.25,
        )


def test_one_hand_in_a_view_is_refused(filmed: Filmed) -> None:
    with pytest.raises(InputError, match="have 1 and 75 frames with a hand"):
        estimate_offset(
            filmed.times_left_s[:1],
            filmed.times_right_s,
            filmed.joints_left_m[:1],
            filmed.joints_right_m,
            search_s=1.0,
            distinct_s=0.25,
        )


def test_the_mismatch_is_zero_for_turned_poses_and_one_for_unrelated_ones() -> None:
    generator = np.random.default_rng(4)
    poses = unit_poses(generator.normal(size=(400, 21, 3)))
    turn = Rotation.from_rotvec([0.4, -1.0, 2.0]).as_matrix()
    assert rotation_mismatch(poses, poses @ turn) == pytest.approx(0, abs=1e-12)
    assert rotation_mismatch(poses, unit_poses(generator.normal(size=(400, 21, 3)))) > 0.95
    # A reflection is no rotation.
    assert rotation_mismatch(poses, poses * [-1.0, 1.0, 1.0]) > 0.3


def test_the_nearest_frame_and_whether_it_is_near_enough() -> None:
    times = np.array([0.0, 0.1, 0.2])
    index, near = nearest_frames(times, np.array([-0.3, 0.04, 0.06, 0.21, 0.5]), 0.05)
    assert index.tolist() == [0, 0, 1, 2, 2]
    assert near.tolist() == [False, True, True, True, False]
