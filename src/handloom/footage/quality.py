"""Stage: quality.csv, what a user looks at to know whether to trust the poses, and what to film better."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from handloom.footage.hands_file import FootageHands, read_hands
from handloom.footage.poses_file import FootagePoses, read_poses
from handloom.runtime.files import read_json, write_table

FILM_AGAIN = "do not trust the poses"
LARGEST_DEVIATION_DEG = 10.0
"""A rotation that its key points leave less certain than this is not to be trusted."""
_STEADY_RATIO = 1.5
"""Consecutive pairs at most so many median steps apart count for the jitter."""


def write_quality(hands: tuple[Path, Path], pairing_json: Path, rotation_json: Path, poses: Path, output: Path) -> None:
    """Write quantity, value, unit and a note per row."""
    seen = read_hands(hands[0])[0], read_hands(hands[1])[0]
    rows = (
        _hand_rows(seen)
        + _pairing_rows(read_json(pairing_json))
        + _pose_rows(read_json(rotation_json), read_poses(poses))
    )
    for quantity, value, unit, note in rows:
        if note.startswith(FILM_AGAIN):
            print(f"{quantity} is {value:.1f} {unit}: {note}", file=sys.stderr)
    write_table(output, pd.DataFrame(rows, columns=["quantity", "value", "unit", "note"]).round(4))


def consistency_mm(
    joints_left_m: Float[np.ndarray, "pairs 21 3"],
    joints_right_m: Float[np.ndarray, "pairs 21 3"],
    right_from_left: Float[np.ndarray, "3 3"],
) -> float:
    """Mean distance of the two views' joints along the left camera's axes, wrists together."""
    in_left = joints_right_m @ right_from_left
    return float(1000 * np.linalg.norm(joints_left_m - in_left, axis=-1).mean())


def jitter_mm(joints_m: Float[np.ndarray, "pairs 21 3"], times_s: Float[np.ndarray, " pairs"]) -> float:
    """Mean |x(t-1) - 2 x(t) + x(t+1)| of all joints, over evenly spaced neighbours; NaN without any."""
    steps = np.diff(times_s)
    if len(steps) < 2:
        return float("nan")
    even = steps <= _STEADY_RATIO * np.median(steps)
    chosen = even[:-1] & even[1:]
    bend = np.linalg.norm(joints_m[:-2] - 2 * joints_m[1:-1] + joints_m[2:], axis=-1)[chosen]
    return float(1000 * bend.mean()) if len(bend) else float("nan")


def _hand_rows(hands: tuple[FootageHands, FootageHands]) -> list[tuple[str, float, str, str]]:
    rows = []
    for view, hand in zip(("left", "right"), hands, strict=True):
        count = int(hand.found.sum())
        score = float(hand.presence[hand.found].mean()) if count else float("nan")
        rows += [
            (f"{view}_frames", float(len(hand.found)), "", ""),
            (f"{view}_share_with_hand", count / len(hand.found), "", "film brighter, closer or slower where it is low"),
            (f"{view}_mean_presence", score, "", "the network's own score of frames with a hand"),
        ]
    return rows


def _pairing_rows(report: dict[str, object]) -> list[tuple[str, float, str, str]]:
    estimate = report["estimate"]
    certainty = estimate["certainty"] if isinstance(estimate, dict) else float("nan")
    return [
        ("pairs", float(str(report["pairs"])), "", ""),
        ("pairs_with_common_hand", float(str(report["pairs_with_common_hand"])), "", ""),
        ("offset", float(str(report["offset_s"])), "s", str(report["offset_is"])),
        ("offset_certainty", float(certainty), "", "0 ambiguous, 1 certain; empty for a given offset"),
        ("largest_gap", float(str(report["largest_gap_ms"])), "ms", "between the two frames of a pair"),
    ]


def _pose_rows(rotation: dict[str, Any], poses: FootagePoses) -> list[tuple[str, float, str, str]]:
    apart = (
        consistency_mm(poses.joints_left_before_m, poses.joints_right_before_m, poses.right_from_left_before),
        consistency_mm(poses.joints_left_m, poses.joints_right_m, poses.right_from_left),
    )
    shaking = [jitter_mm(joints, poses.times_left_s) for joints in (poses.joints_before_m, poses.joints_m)]
    spread = rotation["of_poses"]["median_angle_of_single_pairs_deg"]
    return [
        ("camera_angle_start", rotation["start"]["angle_deg"], "deg", "of the estimated rotation between the cameras"),
        ("camera_angle_end", rotation["end"]["angle_deg"], "deg", ""),
        ("camera_rotation_deviation", *_deviation(rotation["start_deviation_deg"])),
        ("pose_rotation_spread", spread, "deg", "median angle of single pairs' rotations to that of all poses"),
        ("consistency_before", apart[0], "mm", "mean distance of the two views' joints"),
        ("consistency_after", apart[1], "mm", "small also where both views err alike"),
        ("jitter_before", shaking[0], "mm", "mean second difference of the fused joints"),
        ("jitter_after", shaking[1], "mm", ""),
    ]


def _deviation(deviation_deg: float | None) -> tuple[float, str, str]:
    """Value, unit and note of the rotation's standard deviation."""
    if deviation_deg is None:
        return float("nan"), "deg", "not known: the rotation is that of the poses, or nothing held it"
    if deviation_deg <= LARGEST_DEVIATION_DEG:
        return (
            deviation_deg,
            "deg",
            f"standard deviation of the cameras' rotation; good up to {LARGEST_DEVIATION_DEG:g}",
        )
    return (
        deviation_deg,
        "deg",
        f"{FILM_AGAIN}: the cameras' rotation is uncertain, good up to {LARGEST_DEVIATION_DEG:g} degrees; film longer, "
        "a hand that travels through the picture, and check field_of_view_deg",
    )
