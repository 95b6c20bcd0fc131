"""The quality table of a camera pair: whether to trust its poses, and what to film better."""

import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from handloom.adaptation.fused_poses import FusedPoses
from handloom.estimators.hands.found import FoundHands
from handloom.runtime.files import read_json, write_table

PairJoints = Float[np.ndarray, "pairs 21 3"]
FILM_AGAIN = "do not trust the poses"
LARGEST_DEVIATION_DEG = 10.0
"""A rotation that its key points leave less certain than this is not to be trusted."""
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
    rows += _pose_rows(read_json(rotation), FusedPoses.load(poses))
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
            _Row(f"{view}_mean_presence", score, note="the network's own score of frames with a hand"),
        ]
    return rows


def _pairing_rows(report: dict[str, Any]) -> list[_Row]:
    certainty = report["estimate"]["certainty"] if isinstance(report["estimate"], dict) else math.nan
    return [
        _Row("pairs", float(report["pairs"])),
        _Row("pairs_with_common_hand", float(report["pairs_with_common_hand"])),
        _Row("offset", float(report["offset_s"]), "s", report["offset_is"]),
        _Row("offset_certainty", float(certainty), note="0 ambiguous, 1 certain; empty for a given offset"),
        _Row("largest_gap", float(report["largest_gap_ms"]), "ms", "between the two frames of a pair"),
    ]


def _pose_rows(rotation: dict[str, Any], poses: FusedPoses) -> list[_Row]:
    apart = (
        consistency_mm(poses.joints_left_before_m, poses.joints_right_before_m, poses.right_from_left_before),
        consistency_mm(poses.joints_left_m, poses.joints_right_m, poses.right_from_left),
    )
    shaking = [jitter_mm(joints, poses.times_left_s) for joints in (poses.joints_before_m, poses.joints_m)]
    start, end = (rotation[name]["angle_deg"] for name in ("start", "end"))
    spread = rotation["of_poses"]["median_angle_of_single_pairs_deg"]
    return [
        _Row("camera_angle_start", start, "deg", "of the estimated rotation between the cameras"),
        _Row("camera_angle_end", end, "deg"),
        _deviation(rotation["start_deviation_deg"]),
        _Row("pose_rotation_spread", spread, "deg", "median angle of single pairs' rotations to that of all poses"),
        _Row("consistency_before", apart[0], "mm", "mean distance of the two views' joints"),
        _Row("consistency_after", apart[1], "mm", "small also where both views err alike"),
        _Row("jitter_before", shaking[0], "mm", "mean second difference of the fused joints"),
        _Row("jitter_after", shaking[1], "mm"),
    ]


def _deviation(deviation_deg: float | None) -> _Row:
    """The rotation's standard deviation, and whether to trust it."""
    good = f"good up to {LARGEST_DEVIATION_DEG:g}"
    if deviation_deg is None:
        note = "not known: the rotation is that of the poses, or nothing held it"
    elif deviation_deg <= LARGEST_DEVIATION_DEG:
        note = f"standard deviation of the cameras' rotation; {good}"
    else:
        note = (
            f"{FILM_AGAIN}: the cameras' rotation is uncertain, {good} degrees; film longer, a hand that travels "
            "through the picture, and check field_of_view_deg"
        )
    return _Row("camera_rotation_deviation", math.nan if deviation_deg is None else deviation_deg, "deg", note)
