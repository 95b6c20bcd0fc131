"""Which frames of two views show the same moment: by their clocks, and by how much these are shifted.

Cameras that keep still against each other see poses that differ by one rotation, whatever the hand does. At the right
offset one rotation R explains all simultaneous poses p and q (centred, of unit size); at a wrong one it does not. The
mismatch of an offset is what the best rotation leaves of the poses' sum of squares,

    1 - tr(S) / n,  n = number of poses, S the singular values of sum p^T q (the least with the sign of det),

and needs no calibration: 0 for equal motion, about 1 for poses that have nothing to do with each other.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from handloom.datasets.frames import Frames, read_frames
from handloom.datasets.views import FramePairs
from handloom.estimators.hands.found import FoundHands
from handloom.runtime.config.adaptation import FootagePairingSettings
from handloom.runtime.errors import InputError
from handloom.runtime.files import write_json

OffsetSource = Literal["given", "estimated", "zero, as the estimate is ambiguous"]
Clocks = tuple[Float[np.ndarray, " left"], Float[np.ndarray, " right"]]
"""Times of both views' frames, each from its first one."""
Hands = tuple[FoundHands, FoundHands]
LEAST_POSES = 8
DISTINCT_S = 0.25
"""Offsets nearer than this to the best one are taken for the same."""
LEAST_CERTAINTY = 0.1
"""An offset of less certainty counts as ambiguous."""
_LEAST_OVERLAP = 0.6
"""Share of the most simultaneous hands of any offset that an offset needs to be considered."""


@dataclass(frozen=True)
class OffsetEstimate:
    """The offset of least mismatch, and how far it stands out.

    `certainty` = 1 - best / second: 0 when another offset, `DISTINCT_S` or more away, explains the poses as well.
    """

    offset_s: float
    mismatch: float
    second_offset_s: float | None
    second_mismatch: float | None
    certainty: float
    offsets_s: Float[np.ndarray, " offsets"]
    mismatches: Float[np.ndarray, " offsets"]
    """Of every offset that was tried; NaN where too few hands were simultaneous."""


def unit_poses(joints: Float[np.ndarray, "frames 21 3"]) -> Float[np.ndarray, "frames 21 3"]:
    """Poses about their mean joint, of unit Frobenius norm."""
    centred = joints - joints.mean(1, keepdims=True)
    poses: Float[np.ndarray, "frames 21 3"] = centred / np.maximum(
        np.linalg.norm(centred, axis=(1, 2), keepdims=True), 1e-12
    )
    return poses


def rotation_mismatch(poses_1: Float[np.ndarray, "poses 21 3"], poses_2: Float[np.ndarray, "poses 21 3"]) -> float:
    """The mismatch of simultaneous unit poses, by the module's formula."""
    product = np.einsum("pji,pjk->ik", poses_1, poses_2)
    values = np.linalg.svd(product, compute_uv=False)
    values[-1] *= np.sign(np.linalg.det(product))
    return float(1 - values.sum() / len(poses_1))


def nearest_frames(
    times_s: Float[np.ndarray, " frames"], wanted_s: Float[np.ndarray, "*wanted"], reach_s: float
) -> tuple[Int[np.ndarray, "*wanted"], Bool[np.ndarray, "*wanted"]]:
    """The frame nearest to each wanted time, and whether it is within `reach_s`; times increase."""
    if len(times_s) == 1:
        return np.zeros(wanted_s.shape, int), np.abs(times_s[0] - wanted_s) <= reach_s
    after = np.searchsorted(times_s, wanted_s).clip(1, len(times_s) - 1)
    before_is_nearer = wanted_s - times_s[after - 1] <= times_s[after] - wanted_s
    index = np.where(before_is_nearer, after - 1, after)
    return index, np.abs(times_s[index] - wanted_s) <= reach_s


def estimate_offset(
    times_1_s: Float[np.ndarray, " frames_1"],
    times_2_s: Float[np.ndarray, " frames_2"],
    joints_1: Float[np.ndarray, "frames_1 21 3"],
    joints_2: Float[np.ndarray, "frames_2 21 3"],
    *,
    search_s: float,
) -> OffsetEstimate:
    """The offset d, within `search_s`, at which frames t of view 1 and t + d of view 2 fit best.

    Takes the frames with a hand only. Offsets are multiples of the shorter frame interval. Raises InputError when no
    offset has as many as `LEAST_POSES` simultaneous hands.
    """
    intervals = [np.median(np.diff(times)) for times in (times_1_s, times_2_s) if len(times) > 1]
    if len(intervals) < 2:
        raise InputError(
            f"time offset: the views have {len(times_1_s)} and {len(times_2_s)} frames with a hand; expected at least "
            f"{LEAST_POSES} in both; film longer, or set offset_s"
        )
    step, reach = float(min(intervals)), float(max(intervals)) / 2
    count = int(np.floor(search_s / step + 1e-9))
    offsets = step * np.arange(-count, count + 1)
    # Simple rounding differences between the clocks must not decide whether two frames are simultaneous.
    index, simultaneous = nearest_frames(times_2_s, times_1_s + offsets[:, None], reach * (1 + 1e-6))
    counts = simultaneous.sum(1)
    usable = (counts >= LEAST_POSES) & (counts >= _LEAST_OVERLAP * counts.max())
    if not usable.any():
        raise InputError(
            f"time offset: within {search_s:g} s at most {counts.max()} frames show the hand in both views at once; "
            f"expected at least {LEAST_POSES}; raise search_s, film longer, or set offset_s"
        )
    poses_1, poses_2 = unit_poses(joints_1), unit_poses(joints_2)
    mismatches = np.array(
        [
            rotation_mismatch(poses_1[row], poses_2[found[row]]) if use else np.nan
            for found, row, use in zip(index, simultaneous, usable, strict=True)
        ]
    )
    best = int(np.nanargmin(mismatches))
    others = np.where(np.abs(offsets - offsets[best]) >= DISTINCT_S, mismatches, np.nan)
    second: tuple[float | None, float | None, float] = (None, None, 0.0)
    if not np.isnan(others).all():
        row = int(np.nanargmin(others))
        certainty = 1 - mismatches[best] / max(float(mismatches[row]), 1e-12)
        second = float(offsets[row]), float(mismatches[row]), float(certainty)
    return OffsetEstimate(float(offsets[best]), float(mismatches[best]), *second, offsets, mismatches)


@dataclass(frozen=True)
class Offset:
    """The second view's time minus the first's, where it comes from, and the estimate if there is one."""

    offset_s: float
    source: OffsetSource
    estimate: OffsetEstimate | None


def pair_times(
    times_left_s: Float[np.ndarray, " left"], times_right_s: Float[np.ndarray, " right"], offset_s: float
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Frames that are each other's nearest, at most half of the longer frame interval apart.

    t_right = t_left + `offset_s`. No frame is in two pairs, whatever the rates.
    """
    intervals = [float(np.median(np.diff(times))) for times in (times_left_s, times_right_s) if len(times) > 1]
    reach = (max(intervals) / 2 if intervals else 0.0) * (1 + 1e-6) + 1e-9
    to_right, near = nearest_frames(times_right_s, times_left_s + offset_s, reach)
    to_left, _ = nearest_frames(times_left_s, times_right_s - offset_s, reach)
    left = np.arange(len(times_left_s))
    chosen = near & (to_left[to_right] == left)
    return left[chosen], to_right[chosen]


def clocks(settings: FootagePairingSettings, left: Frames, right: Frames) -> Clocks:
    """Times of the frames from each view's first one; frame numbers at the first view's rate if `clock` is index."""
    times = [np.array(frames.times_s) - frames.times_s[0] for frames in (left, right)]
    if settings.clock == "time":
        return times[0], times[1]
    step = float(np.median(np.diff(times[0])))
    return step * np.arange(len(times[0])), step * np.arange(len(times[1]))


def choose_offset(
    settings: FootagePairingSettings, times: Clocks, hands: Hands, given_s: float | None, name: str
) -> Offset:
    """The given offset, or the estimated one; raises InputError for an ambiguous one, if so configured."""
    if given_s is not None:
        return Offset(given_s, "given", None)
    estimate = estimate_offset(
        *(time[hand.found] for time, hand in zip(times, hands, strict=True)),
        *(hand.joints_cam[hand.found] for hand in hands),
        search_s=settings.search_s,
    )
    if estimate.certainty >= LEAST_CERTAINTY:
        return Offset(estimate.offset_s, "estimated", estimate)
    if settings.ambiguous == "zero":
        return Offset(0.0, "zero, as the estimate is ambiguous", estimate)
    raise InputError(
        f"footage.pairs.{name}: the time offset of its views is ambiguous: {estimate.offset_s:+.3f} s fits best, but "
        f"{'no other was tried' if estimate.second_offset_s is None else f'{estimate.second_offset_s:+.3f} s as well'} "
        f"(certainty {estimate.certainty:.2f}, expected {LEAST_CERTAINTY}). The hand may hardly move, "
        f"the footage be short for a search of {settings.search_s:g} s either way, or the views show different hands. "
        "Set offset_s (0 for synchronised cameras), lower footage.pairing.search_s, set footage.pairing.ambiguous: "
        "zero, or film longer, and a hand that moves"
    )


def pair_views(
    hands: tuple[Path, Path],
    frames: tuple[Path, Path],
    frames_json: tuple[Path, Path],
    pairs: Path,
    pairing: Path,
    *,
    rig: str,
    settings: FootagePairingSettings,
    offset_s: float | None = None,
    code: str = "",
) -> None:
    """Stage: pair the frames of two views; write the pairs, with the search for the offset, and a report.

    Raises InputError for an ambiguous offset (`choose_offset`) and for views without a common hand, or with fewer than
    `least_common` of their pairs.
    """
    listed = read_frames(frames[0], frames_json[0]), read_frames(frames[1], frames_json[1])
    found = FoundHands.load(hands[0]), FoundHands.load(hands[1])
    times = clocks(settings, *listed)
    offset = choose_offset(settings, times, found, offset_s, rig)
    left, right = pair_times(*times, offset.offset_s)
    none = np.zeros(0)
    tried = (none, none) if offset.estimate is None else (offset.estimate.offsets_s, offset.estimate.mismatches)
    moments = FramePairs(left, right, found[0].found[left] & found[1].found[right], *tried)
    common, count = int(moments.common.sum()), len(moments.common)
    if common < 2 or common < settings.least_common * count:
        seen = " and ".join(f"{int(hand.found.sum())} of {len(hand.found)}" for hand in found)
        raise InputError(
            f"footage.pairs.{rig}: {common} of {count} pairs of frames show the hand in both views (offset "
            f"{offset.offset_s:+.3f} s, {offset.source}); expected at least 2 and a share of {settings.least_common} "
            f"(footage.pairing.least_common). The views have a hand in {seen} frames; check the pictures hands.jpg of "
            "both views, offset_s, and that both cameras film the same hand"
        )
    moments.save(pairs, code=code)
    write_json(pairing, pairing_report(moments, found, times, offset))


def pairing_report(pairs: FramePairs, hands: Hands, times: Clocks, offset: Offset) -> dict[str, Any]:
    """Counts, the offset and its certainty, as JSON values."""
    gaps = times[1][pairs.index_right] - times[0][pairs.index_left] - offset.offset_s
    estimate = None
    if offset.estimate is not None:
        single = {name: value for name, value in asdict(offset.estimate).items() if not isinstance(value, np.ndarray)}
        estimate = {**single, "ambiguous": offset.source.startswith("zero")}
    return {
        "offset_s": offset.offset_s,
        "offset_is": offset.source,
        "estimate": estimate,
        "clock_left_s": times[0].round(6).tolist(),
        "clock_right_s": times[1].round(6).tolist(),
        "frames": [len(hand.found) for hand in hands],
        "frames_with_hand": [int(hand.found.sum()) for hand in hands],
        "unpaired_frames": [
            sorted(set(range(len(hand.found))) - set(index.tolist()))
            for hand, index in zip(hands, (pairs.index_left, pairs.index_right), strict=True)
        ],
        "pairs": len(pairs.common),
        "pairs_with_common_hand": int(pairs.common.sum()),
        "largest_gap_ms": float(1000 * np.abs(gaps).max()) if len(gaps) else 0.0,
    }
