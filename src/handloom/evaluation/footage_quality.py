"""The quality table of a camera pair: whether to trust its poses, and what to film better."""

import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from handloom.adaptation.clocks import LARGEST_ERROR_PERCENT
from handloom.adaptation.fused_poses import FusedPoses
from handloom.estimators.hands.found import UNKNOWN_SIDE, FoundHands
from handloom.runtime.files import read_json, write_table

PairJoints = Float[np.ndarray, "pairs 21 3"]
FILM_AGAIN = "do not trust the poses"
LARGEST_DEVIATION_DEG = 10.0
"""A rotation less certain than this is not called good, and not trusted where nobody told the field of view."""
_SURE_CHANGES = 3.0
"""A clock that differs from what was told by more than so many standard deviations is said to."""
_LEAST_CHANGE_S, _LEAST_RATE_CHANGE = 0.005, 0.002
_TOLD = {
    "assumed": "assumed, as nobody told it: set field_of_view_deg, or left_camera and right_camera",
    "given": "as given; it may be off, see rotation_deviation_of_field_of_view",
    "calibrated": "from the calibration",
}
_KEPT = {
    "adapted": "less than before: adaptation helped; cannot see what key points of both views have wrong alike",
    "source": "no less than before: adaptation brought no gain, and the source network's poses are kept; film longer",
}
_STEADY_RATIO = 1.5
"""Consecutive pairs at most so many median steps apart count for the jitter."""


class _Row(NamedTuple):
    quantity: str
    value: float
    unit: str = ""
    note: str = ""


def write_footage_quality(hands: tuple[Path, Path], pairing: Path, rotation: Path, poses: Path, table: Path) -> None:
    """Stage: write quantity, value, unit and a note per row; what forbids trust is printed."""
    found = FoundHands.load(hands[0]), FoundHands.load(hands[1])
    rows = _hand_rows(found) + _pairing_rows(read_json(pairing))
    rows += _pose_rows(read_json(rotation), FusedPoses.load(poses), found)
    for row in rows:
        if row.note.startswith(FILM_AGAIN):
            print(f"{row.quantity} is {row.value:.1f} {row.unit}: {row.note}", file=sys.stderr)
    write_table(table, pd.DataFrame(rows).round(4))


def consistency_mm(left_m: PairJoints, right_m: PairJoints, right_from_left: Float[np.ndarray, "3 3"]) -> float:
    """Mean distance of the two views' joints along the left camera's axes, wrists together."""
    return float(1000 * np.linalg.norm(left_m - right_m @ right_from_left, axis=-1).mean())


def jitter_mm(joints_m: PairJoints, times_s: Float[np.ndarray, " pairs"]) -> float:
    """Mean |x(t-1) - 2 x(t) + x(t+1)| of all joints, over evenly spaced neighbours; NaN without any."""
    steps = np.diff(times_s)
    if len(steps) < 2:
        return math.nan
    even = steps <= _STEADY_RATIO * np.median(steps)
    chosen = even[:-1] & even[1:]
    bend = np.linalg.norm(joints_m[:-2] - 2 * joints_m[1:-1] + joints_m[2:], axis=-1)[chosen]
    return float(1000 * bend.mean()) if len(bend) else math.nan


def _hand_rows(hands: tuple[FoundHands, FoundHands]) -> list[_Row]:
    rows = []
    for view, hand in zip(("left", "right"), hands, strict=True):
        count = int(hand.found.sum())
        score = float(hand.presence[hand.found].mean()) if count else math.nan
        share = count / len(hand.found)
        rows += [
            _Row(f"{view}_frames", float(len(hand.found))),
            _Row(f"{view}_share_with_hand", share, note="film brighter, closer or slower where it is low"),
            _Row(f"{view}_mean_presence", score, note="the network's own score that there is some hand; not which"),
            _handedness(view, hand),
        ]
    return rows


def _handedness(view: str, hand: FoundHands) -> _Row:
    """Which hand a view shows, and whether that is the one it is taken for."""
    known = bool((hand.handedness[hand.found] != UNKNOWN_SIDE).any())
    shown, name = hand.side_shown, f"{view}_mean_handedness"
    if not known:
        note = f"this network cannot tell; taken for a {hand.side} hand as told"
    elif shown is None:
        note = f"1 is a right hand, 0 a left one: not sure; taken for a {hand.side} hand, see {view}/hands.jpg"
    elif shown == hand.side:
        note = f"1 is a right hand, 0 a left one: a {shown} hand"
    else:
        note = f"{FILM_AGAIN}: a {shown} hand, taken for a {hand.side} one; set side, or the view is mirrored"
    return _Row(name, hand.mean_handedness if known else math.nan, note=note)


def _pairing_rows(report: dict[str, Any]) -> list[_Row]:
    certainty = report["estimate"]["certainty"] if isinstance(report["estimate"], dict) else math.nan
    offset_s, rate = float(report["offset_s"]), float(report["clock_rate"])
    deviations = float(report["offset_deviation_s"]), float(report["clock_rate_deviation"])
    given_s, told = report["offset_given_s"], report["offset_is"]
    if given_s is not None and abs(offset_s - given_s) > max(_SURE_CHANGES * deviations[0], _LEAST_CHANGE_S):
        told = f"given as {given_s:g}, but the key points say this, which is used"
    rate_note = "right clock over left clock, from the key points"
    if abs(rate - 1) > max(_SURE_CHANGES * deviations[1], _LEAST_RATE_CHANGE):
        rate_note += (
            f": the right view's frames are stamped for {1 / rate:.4g} times their true rate, or the left's wrongly; "
            "this is used, but check both videos' frame rates"
        )
    return [
        _Row("pairs", float(report["pairs"])),
        _Row("pairs_with_common_hand", float(report["pairs_with_common_hand"])),
        _Row("offset", offset_s, "s", told),
        _Row(
            "offset_deviation", deviations[0], "s", "what the hand's motion leaves open, in the middle of the footage"
        ),
        _Row("offset_certainty", float(certainty), note="0 ambiguous, 1 certain; empty for a given offset"),
        _Row("clock_rate", rate, note=rate_note),
        _Row("clock_rate_deviation", deviations[1]),
        _Row("largest_gap", float(report["largest_gap_ms"]), "ms", "between the two frames of a pair"),
    ]


def _pose_rows(rotation: dict[str, Any], poses: FusedPoses, hands: tuple[FoundHands, FoundHands]) -> list[_Row]:
    apart = (
        consistency_mm(poses.joints_left_before_m, poses.joints_right_before_m, poses.right_from_left_before),
        consistency_mm(poses.joints_left_m, poses.joints_right_m, poses.right_from_left),
    )
    shaking = [jitter_mm(joints, poses.times_left_s) for joints in (poses.joints_before_m, poses.joints_m)]
    start, end = (rotation[name]["angle_deg"] for name in ("start", "end"))
    spread = rotation["of_poses"]["median_angle_of_single_pairs_deg"]
    return [
        *_camera_rows(rotation["cameras"], hands),
        _Row("camera_angle_start", start, "deg", "of the estimated rotation between the cameras"),
        _Row("camera_angle_end", end, "deg"),
        *_deviation_rows(rotation),
        _Row("pose_rotation_spread", spread, "deg", "median angle of single pairs' rotations to that of all poses"),
        _Row("consistency_before", apart[0], "mm", "mean distance of the two views' joints"),
        _Row("consistency_after", apart[1], "mm", "small also where both views err alike, or the rotation is wrong"),
        _Row("crossed_before", poses.crossed_before_mm, "mm", "a view's poses beside the other view's key points"),
        _Row("crossed_after", poses.crossed_mm, "mm", _KEPT[poses.kept]),
        _Row("jitter_before", shaking[0], "mm", "mean second difference of the fused joints"),
        _Row("jitter_after", shaking[1], "mm", "small also for poses that are wrong all the time"),
    ]


def _camera_rows(cameras: list[dict[str, Any]], hands: tuple[FoundHands, FoundHands]) -> list[_Row]:
    rows = []
    for view, camera, hand in zip(("left", "right"), cameras, hands, strict=True):
        angle = camera["field_of_view_deg"]
        if angle is None and hand.intrinsics is not None:
            angle = math.degrees(2 * math.atan((hand.intrinsics[0, 2] + 0.5) / hand.intrinsics[0, 0]))
        rows.append(
            _Row(f"{view}_field_of_view", math.nan if angle is None else float(angle), "deg", _TOLD[camera["told"]])
        )
    return rows


def _deviation_rows(rotation: dict[str, Any]) -> list[_Row]:
    """The rotation's standard deviation, what it is made of, and whether to trust it."""
    total, of_view = rotation["start_deviation_deg"], rotation["field_of_view_deviation_deg"]
    good = f"good up to {LARGEST_DEVIATION_DEG:g}"
    assumed = any(camera["told"] == "assumed" for camera in rotation["cameras"])
    error = _Row(
        "epipolar_error",
        rotation["epipolar_error_percent"],
        "%",
        "of the hand's own angle, between its key points and their epipolar planes; sees wrong clocks and hands, "
        "hardly a wrong field of view",
    )
    if error.value > LARGEST_ERROR_PERCENT:
        error = error._replace(
            note=f"{FILM_AGAIN}: above {LARGEST_ERROR_PERCENT:g} %, the views do not show the same hand at the same "
            "moments, or a camera moved"
        )
    if rotation["start_is_of"] == "poses":
        note = "not known: the rotation is that of the poses, which nothing checks"
        return [_Row("camera_rotation_deviation", math.nan, "deg", note), error]
    if total is None:
        note = f"{FILM_AGAIN}: nothing holds the cameras' rotation; check offset, frame rates and that both views show "
        return [_Row("camera_rotation_deviation", math.nan, "deg", f"{note}one moving hand"), error]
    of_fit = math.sqrt(max(total**2 - of_view**2, 0.0))
    what = f"standard deviation of the cameras' rotation, {of_view:.1f} by field of view, {of_fit:.1f} by the rest"
    if assumed and total > LARGEST_DEVIATION_DEG:
        note = (
            f"{FILM_AGAIN}: nobody told a field of view, 65 degrees were assumed; {what}; {good}; set "
            "field_of_view_deg, better left_camera and right_camera"
        )
    elif of_fit > LARGEST_DEVIATION_DEG:
        note = f"{FILM_AGAIN}: {what}; {good}; film longer, a hand that travels through the picture"
    elif total > LARGEST_DEVIATION_DEG:
        note = (
            f"not sure: {what}; {good}; give the cameras' calibration (left_camera, right_camera), or "
            "field_of_view_tolerance_deg if field_of_view_deg is known better"
        )
    else:
        note = f"{what}; {good}; sees no lens distortion, and no camera that moved"
    return [
        _Row(
            "rotation_deviation_of_field_of_view", of_view, "deg", "its turn if the field of view is off as it may be"
        ),
        _Row("camera_rotation_deviation", total, "deg", note),
        error,
    ]
