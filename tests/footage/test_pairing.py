"""Frames of two views are paired by time or by number, each at most once; views that share no hand are refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handloom.demo.camera_pair import Filmed
from handloom.figures.footage_pairing import draw_pairing
from handloom.footage.hands_file import read_hands, write_hands
from handloom.footage.pairing import pair_times, pair_views, read_pairs, read_search
from handloom.runtime.config.footage import FootagePairingSettings
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json

from .conftest import Rig, seen_hands


def pair(rig: Rig, offset_s: float | None = None, **changes: Any) -> dict[str, Any]:
    out = rig.folder / "pairs.npz", rig.folder / "pairing.json"
    pair_views(FootagePairingSettings(**changes), "rig", offset_s, *rig.hands, *rig.lists, *out)
    report: dict[str, Any] = read_json(out[1])
    return report


def hide(path: Path, frames: np.ndarray | slice) -> None:
    """Take the hand out of some frames."""
    hands, _ = read_hands(path)
    found = hands.found.copy()
    found[frames] = False
    write_hands(path, replace(hands, found=found), side="right", backend="mediapipe")


def test_videos_of_different_rate_and_offset_are_paired(rig: Rig, filmed: Filmed) -> None:
    report = pair(rig)
    pairs = read_pairs(rig.folder / "pairs.npz")
    assert report["offset_is"] == "estimated"
    assert report["offset_s"] == pytest.approx(0.4, abs=1 / 30)
    gaps = filmed.times_right_s[pairs.index_right] - filmed.times_left_s[pairs.index_left] - report["offset_s"]
    assert np.abs(gaps).max() <= 0.02 + 1e-6  # half of the longer interval, 1 / 25 s
    for index in (pairs.index_left, pairs.index_right):
        assert (np.diff(index) > 0).all()
    # The right view sees 2.6 of its 3 s together with the left, at 25 frames a second.
    assert 55 <= report["pairs"] == report["pairs_with_common_hand"] <= 66
    assert report["frames"] == [90, 75]
    assert len(report["unpaired_frames"][0]) == 90 - report["pairs"]
    offsets, mismatches = read_search(rig.folder / "pairs.npz")
    assert offsets[np.nanargmin(mismatches)] == pytest.approx(report["offset_s"])


def test_the_pairing_can_be_looked_at(rig: Rig) -> None:
    for offset_s in (None, 0.4):
        pair(rig, offset_s)
        draw_pairing(
            rig.folder / "pairs.npz", rig.folder / "pairing.json", rig.hands, rig.folder / "pairing.png", name="rig"
        )
        assert (rig.folder / "pairing.png").stat().st_size > 5000


def test_a_given_offset_is_taken_as_it_is(rig: Rig) -> None:
    report = pair(rig, -0.2)
    assert (report["offset_s"], report["offset_is"], report["estimate"]) == (-0.2, "given", None)


def test_frame_numbers_pair_whatever_the_time_stamps_say(rig: Rig) -> None:
    pair(rig, 0.0, clock="index")
    pairs = read_pairs(rig.folder / "pairs.npz")
    assert pairs.index_left.tolist() == pairs.index_right.tolist() == list(range(75))


def test_an_ambiguous_offset_stops_or_becomes_zero_as_configured(rig: Rig, still: Filmed) -> None:
    for path, joints, keypoints in (
        (rig.hands[0], still.joints_left_m, still.keypoints_left_px),
        (rig.hands[1], still.joints_right_m, still.keypoints_right_px),
    ):
        count = 90 if path.parent.name == "left" else 75
        rows = np.arange(count) % len(joints)
        write_hands(path, seen_hands(joints[rows], keypoints[rows], 0.004), side="right", backend="mediapipe")
    with pytest.raises(InputError, match=r"time offset of its views is ambiguous.*Set offset_s"):
        pair(rig)
    report = pair(rig, ambiguous="zero")
    assert (report["offset_s"], report["offset_is"]) == (0.0, "zero, as the estimate is ambiguous")
    assert report["estimate"]["ambiguous"] is True


def test_a_pair_without_a_single_common_detection_is_refused(rig: Rig) -> None:
    hide(rig.hands[0], slice(0, 45))
    hide(rig.hands[1], slice(40, 75))
    with pytest.raises(InputError, match=r"footage\.pairs\.rig: 0 of 75 pairs of frames show the hand in both views"):
        pair(rig, 0.0, clock="index")


def test_too_few_common_hands_are_refused_by_share(rig: Rig) -> None:
    hide(rig.hands[0], slice(10, 90))
    with pytest.raises(InputError, match=r"10 of 75 pairs .* share of 0\.2"):
        pair(rig, 0.0, clock="index")
    assert pair(rig, 0.0, clock="index", least_common=0.1)["pairs_with_common_hand"] == 10


def test_each_frame_of_the_slower_view_gets_its_nearest() -> None:
    fast, slow = np.arange(12) / 60, np.arange(4) / 20
    left, right = pair_times(fast, slow, 0.0)
    assert (left.tolist(), right.tolist()) == ([0, 3, 6, 9], [0, 1, 2, 3])
    right, left = pair_times(slow, fast, 0.0)
    assert (left.tolist(), right.tolist()) == ([0, 3, 6, 9], [0, 1, 2, 3])


def test_frames_that_nothing_is_near_stay_alone() -> None:
    left, right = pair_times(np.array([0.0, 0.1, 0.2, 5.0]), np.array([0.1, 0.2, 0.3]), 0.0)
    assert (left.tolist(), right.tolist()) == ([1, 2], [0, 1])
