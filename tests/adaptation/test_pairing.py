"""Frames of two views: the offset of their clocks from poses alone, pairs by time or number, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handloom.adaptation.clocks import Clock
from handloom.adaptation.pairing import (
    OffsetEstimate,
    estimate_offset,
    nearest_frames,
    pair_times,
    rotation_mismatch,
    unit_poses,
)
from handloom.datasets.views import FramePairs
from handloom.estimators.hands.found import FoundHands
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json
from rendered_pair import Filmed

from ..own_pair import OFFSET_S, OwnPair, filmed_pair, seen_hands, written_pair


def paired(pair: OwnPair, offset_s: float | None = None, **settings: Any) -> tuple[FramePairs, dict[str, Any]]:
    """The pairs and their report."""
    pair.pair(offset_s, **settings)
    return FramePairs.load(pair.folder / "pairs.npz"), read_json(pair.folder / "pairing.json")


def hide(path: Path, frames: slice) -> None:
    """Take the hand out of some frames."""
    hands = FoundHands.load(path)
    hands.found[frames] = False
    hands.save(path)


@pytest.fixture(scope="module")
def still() -> Filmed:
    """A hand that keeps still."""
    return filmed_pair(still=True)


def test_videos_of_different_rate_and_offset_are_paired(own_pair: OwnPair, filmed: Filmed) -> None:
    pairs, report = paired(own_pair)
    assert report["offset_is"] == "estimated"
    assert report["offset_s"] == pytest.approx(OFFSET_S, abs=1 / 30)
    gaps = filmed.times_right_s[pairs.index_right] - filmed.times_left_s[pairs.index_left] - report["offset_s"]
    assert np.abs(gaps).max() <= 0.02 + 1e-6  # half of the longer interval, 1 / 25 s
    for index in (pairs.index_left, pairs.index_right):
        assert (np.diff(index) > 0).all()
    # The right view sees 2.6 of its 3 s together with the left, at 25 frames a second.
    assert 55 <= report["pairs"] == report["pairs_with_common_hand"] <= 66
    assert report["frames"] == [90, 75]
    assert len(report["unpaired_frames"][0]) == 90 - report["pairs"]
    assert pairs.offsets_s[np.nanargmin(pairs.mismatches)] == pytest.approx(report["offset_s"], abs=1 / 30)


def test_a_given_offset_is_believed_but_for_some_frames(own_pair: OwnPair) -> None:
    """1.4 s off: nothing near it fits, and it is not searched any farther."""
    pairs, report = paired(own_pair, -1.0)
    assert (report["offset_given_s"], report["offset_is"], report["estimate"]) == (-1.0, "given", None)
    assert abs(report["offset_s"] + 1.0) < 0.6
    assert len(pairs.offsets_s) == 0


@pytest.mark.parametrize("frames_off", [-2, 0, 1, 3])
def test_a_given_offset_is_mended_below_a_frame(own_pair: OwnPair, frames_off: int) -> None:
    _, report = paired(own_pair, OFFSET_S + frames_off / 30)
    assert report["offset_s"] == pytest.approx(OFFSET_S, abs=0.01)
    assert report["clock_rate"] == pytest.approx(1, abs=0.01)
    assert 0 < report["offset_deviation_s"] < 0.03


@pytest.mark.parametrize("rate", [29 / 30, 24 / 30])
def test_a_clock_that_runs_at_another_rate_is_found(tmp_path: Path, filmed: Filmed, rate: float) -> None:
    """The right video was taken at 25 frames a second and says another rate."""
    pair = written_pair(tmp_path, replace(filmed, times_right_s=filmed.times_right_s * rate))
    _, report = paired(pair, 0.4 * rate)
    assert report["clock_rate"] == pytest.approx(rate, abs=0.01)
    assert report["offset_s"] == pytest.approx(0.4 * rate, abs=0.03)


def test_views_of_different_hands_and_of_another_hand_than_told_are_refused(own_pair: OwnPair) -> None:
    """Else the cameras' rotation is that between two hands, or a left hand's poses are called a right one's."""
    for path, handedness in zip(own_pair.hands, (0.96, 0.05), strict=True):
        hands = FoundHands.load(path)
        replace(hands, handedness=np.full(len(hands.found), handedness)).save(path)
    with pytest.raises(
        InputError, match=r"footage\.pairs\.rig: the left view shows a right hand, the right view a left"
    ):
        paired(own_pair)
    hands = FoundHands.load(own_pair.hands[0])
    replace(hands, handedness=np.full(len(hands.found), 0.06)).save(own_pair.hands[0])
    with pytest.raises(InputError, match=r"footage\.pairs\.rig\.side: is right, but both views show a left hand"):
        paired(own_pair)
    for path in own_pair.hands:
        hands = FoundHands.load(path)
        replace(hands, handedness=np.full(len(hands.found), 0.5)).save(path)
    assert paired(own_pair)[1]["offset_is"] == "estimated"  # nobody is sure, and nothing is refused


def test_frame_numbers_pair_whatever_the_time_stamps_say(own_pair: OwnPair) -> None:
    pairs, _ = paired(own_pair, 0.0, clock="index")
    assert pairs.index_left.tolist() == pairs.index_right.tolist() == list(range(75))


def test_an_ambiguous_offset_stops_or_becomes_zero_as_configured(own_pair: OwnPair, still: Filmed) -> None:
    views = (still.joints_left_m, still.keypoints_left_px), (still.joints_right_m, still.keypoints_right_px)
    # Noise in one view: were it the same in both, it would tell the time.
    for path, count, noise_m, (joints, keypoints) in zip(own_pair.hands, (90, 75), (0.004, 0.0), views, strict=True):
        rows = np.arange(count) % len(joints)
        seen_hands(joints[rows], keypoints[rows], noise_m).save(path)
    with pytest.raises(InputError, match=r"time offset of its views is ambiguous.*Set offset_s"):
        paired(own_pair)
    _, report = paired(own_pair, ambiguous="zero")
    assert (report["offset_s"], report["offset_is"]) == (0.0, "zero, as the estimate is ambiguous")
    assert report["estimate"]["ambiguous"] is True


def test_common_hands_are_marked_and_too_few_of_them_refused(own_pair: OwnPair) -> None:
    hide(own_pair.hands[0], slice(10, 90))
    pairs, report = paired(own_pair, 0.0, clock="index", least_common=0.1)
    assert report["pairs_with_common_hand"] == 10
    assert pairs.rows("left").tolist() == pairs.rows("right").tolist() == list(range(10))
    with pytest.raises(InputError, match=r"footage\.pairs\.rig: 10 of 75 pairs .* share of 0\.2"):
        paired(own_pair, 0.0, clock="index")
    hide(own_pair.hands[1], slice(0, 45))
    with pytest.raises(InputError, match=r"footage\.pairs\.rig: 0 of 75 pairs of frames show the hand in both views"):
        paired(own_pair, 0.0, clock="index", least_common=0.0)


def test_each_frame_of_the_slower_view_gets_its_nearest_and_others_stay_alone() -> None:
    fast, slow = np.arange(12) / 60, np.arange(4) / 20
    left, right = pair_times(fast, slow, Clock(0.0))
    assert (left.tolist(), right.tolist()) == ([0, 3, 6, 9], [0, 1, 2, 3])
    right, left = pair_times(slow, fast, Clock(0.0))
    assert (left.tolist(), right.tolist()) == ([0, 3, 6, 9], [0, 1, 2, 3])
    left, right = pair_times(np.array([0.0, 0.1, 0.2, 5.0]), np.array([0.1, 0.2, 0.3]), Clock(0.0))
    assert (left.tolist(), right.tolist()) == ([1, 2], [0, 1])


def estimate(filmed: Filmed, noise_m: float, search_s: float = 1.5) -> OffsetEstimate:
    generator = np.random.default_rng(0)
    views = [
        joints + noise_m * generator.normal(size=joints.shape)
        for joints in (filmed.joints_left_m, filmed.joints_right_m)
    ]
    return estimate_offset(filmed.times_left_s, filmed.times_right_s, *views, search_s=search_s)


@pytest.mark.parametrize("noise_m", [0.0, 0.01])
def test_the_offset_of_two_videos_of_different_rate_is_found(filmed: Filmed, noise_m: float) -> None:
    found = estimate(filmed, noise_m)
    assert found.offset_s == pytest.approx(OFFSET_S, abs=1 / 30)
    assert found.certainty > 0.3
    assert found.second_mismatch is not None
    assert found.mismatch == np.nanmin(found.mismatches) < found.second_mismatch


def test_views_the_other_way_round_have_the_opposite_offset(filmed: Filmed) -> None:
    views = (filmed.times_right_s, filmed.times_left_s, filmed.joints_right_m, filmed.joints_left_m)
    assert estimate_offset(*views, search_s=1.5).offset_s == pytest.approx(-OFFSET_S, abs=1 / 30)


def test_a_still_hand_is_ambiguous_and_nothing_is_certain_without_another_offset(filmed: Filmed, still: Filmed) -> None:
    assert estimate(still, 0.005).certainty < 0.1
    alone = estimate(filmed, 0.0, search_s=0.1)
    assert (alone.second_offset_s, alone.certainty) == (None, 0.0)
    assert abs(estimate(filmed, 0.0, search_s=0.2).offset_s) <= 0.2 + 1e-9  # the right one is beyond the search


@pytest.mark.parametrize(
    ("left", "right", "told"),
    [(4, 4, r"at most \d+ frames show the hand in both views at once"), (1, 75, "have 1 and 75 frames with a hand")],
)
def test_too_few_hands_for_an_offset_are_refused(filmed: Filmed, left: int, right: int, told: str) -> None:
    times = filmed.times_left_s[:left], filmed.times_right_s[:right]
    with pytest.raises(InputError, match=told):
        estimate_offset(*times, filmed.joints_left_m[:left], filmed.joints_right_m[:right], search_s=1.0)


def test_the_mismatch_is_zero_for_turned_poses_and_one_for_unrelated_ones() -> None:
    generator = np.random.default_rng(4)
    poses = unit_poses(generator.normal(size=(400, 21, 3)))
    turn = Rotation.from_rotvec([0.4, -1.0, 2.0]).as_matrix()
    assert rotation_mismatch(poses, poses @ turn) == pytest.approx(0, abs=1e-12)
    assert rotation_mismatch(poses, unit_poses(generator.normal(size=(400, 21, 3)))) > 0.95
    # A reflection is no rotation.
    assert rotation_mismatch(poses, poses * [-1.0, 1.0, 1.0]) > 0.3


def test_the_nearest_frame_and_whether_it_is_near_enough() -> None:
    index, near = nearest_frames(np.array([0.0, 0.1, 0.2]), np.array([-0.3, 0.04, 0.06, 0.21, 0.5]), 0.05)
    assert index.tolist() == [0, 0, 1, 2, 2]
    assert near.tolist() == [False, True, True, True, False]
