"""Which frames of two views show the same moment: by their clocks, and by how much these are shifted.

Cameras that keep still against each other see poses that differ by one rotation, whatever the hand does. At the right
offset one rotation R explains all simultaneous poses p and q (centred, of unit size); at a wrong one it does not. The
mismatch of an offset is what the best rotation leaves of the poses' sum of squares,

    1 - tr(S) / n,  n = number of poses, S the singular values of sum p^T q (the least with the sign of det),

and needs no calibration: 0 for equal motion, about 1 for poses that have nothing to do with each other. Rates of the
clocks are tried as offsets are; key points then tell both below a frame (`clocks`).
"""

import math
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from handloom.adaptation.clocks import (
    LARGEST_ERROR_PERCENT,
    OFFSET_DEVIATION_S,
    RATE_DEVIATION,
    Clock,
    ClockFit,
    Clocks,
    Hands,
    Rows,
    fit_clock,
)
from handloom.datasets.frames import Frames, read_frames
from handloom.datasets.views import FramePairs
from handloom.estimators.hands.found import FoundHands
from handloom.geometry.rotations import rotation_between
from handloom.runtime.config.adaptation import FootagePairingSettings
from handloom.runtime.errors import InputError
from handloom.runtime.files import write_json
from handloom.runtime.images import evenly_spread

OffsetSource = Literal["given", "estimated", "zero, as the estimate is ambiguous"]
LEAST_POSES = 8
LEAST_DOUBTING = 30
"""A given offset is doubted only where so many moments speak."""
DISTINCT_S = 0.25
"""Offsets nearer than this to the best one are taken for the same."""
LEAST_CERTAINTY = 0.1
"""An offset of less certainty counts as ambiguous."""
_GIVEN_WITHIN_S = 0.3
"""How far a given offset may be from the right one: some frames."""
_DRIFT_S, _OTHER_RATE = 0.3, 0.04
"""Rates are tried in steps that shift the ends of the footage by so much, up to such a difference from 1."""
_STAMPED_WRONGLY = (24 / 30, 25 / 30, 24 / 25, 25 / 24, 30 / 25, 30 / 24)
"""Rates of a clock whose frames are stamped as if they were taken at another usual rate."""
_BETTER, _MUCH_BETTER = 0.95, 0.75
"""Another rate than 1, or than one near it, is believed where it leaves less than this of their mismatch."""
_MOST_POSES = 256
"""So many moments tell the clock as well as all."""
_ROUNDS = 2
"""How often the frames are paired anew by the clock that key points told."""
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
    """The clock that was believed, where it comes from, and the estimate if there is one; and what key points say."""

    believed: Clock
    source: OffsetSource
    estimate: OffsetEstimate | None
    fitted: ClockFit | None = None

    @property
    def clock(self) -> Clock:
        """That of the key points, if they were asked."""
        return self.believed if self.fitted is None else self.fitted.clock


def pair_times(
    times_left_s: Float[np.ndarray, " left"], times_right_s: Float[np.ndarray, " right"], clock: Clock
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Frames that are each other's nearest by the clock, at most half of the longer frame interval apart.

    No frame is in two pairs, whatever the rates.
    """
    intervals = [float(np.median(np.diff(times))) for times in (times_left_s, times_right_s) if len(times) > 1]
    reach = (max(intervals) / 2 if intervals else 0.0) * (1 + 1e-6) + 1e-9
    to_right, near = nearest_frames(times_right_s, clock.right(times_left_s), reach)
    to_left, _ = nearest_frames(times_left_s, clock.left(times_right_s), reach)
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


def estimate_clock(
    times: Clocks, hands: Hands, *, search_s: float, about_s: float = 0.0, rates: bool = True
) -> tuple[Clock, OffsetEstimate]:
    """The offset of least mismatch within `search_s` of `about_s`, and the rate at which it is least, 1 if told so.

    Raises InputError as `estimate_offset` does.
    """
    (left_s, right_s), joints = (
        [time[hand.found] for time, hand in zip(times, hands, strict=True)],
        [hand.joints_cam[hand.found] for hand in hands],
    )

    def at(rate: float) -> OffsetEstimate:
        return estimate_offset(rate * left_s, right_s - about_s, *joints, search_s=search_s)

    usual = at(1.0)
    if not rates:
        return Clock(usual.offset_s + about_s), usual
    seconds = max(float(np.ptp(left_s)), 1e-6)
    steps = np.arange(1, int(_OTHER_RATE * seconds / _DRIFT_S) + 1) * (_DRIFT_S / seconds)
    near = {float(rate): at(float(rate)) for rate in (*(1 - steps), *(1 + steps))}
    other = {rate: at(rate) for rate in _STAMPED_WRONGLY}
    rate, best = 1.0, usual
    for tried, enough in ((near, _BETTER), (other, _MUCH_BETTER)):
        least = min(tried, key=lambda each: tried[each].mismatch, default=rate)
        if tried and tried[least].mismatch < enough * best.mismatch:
            rate, best = least, tried[least]
    return Clock(best.offset_s + about_s, rate), best


def given_clock(times: Clocks, hands: Hands, given_s: float) -> Clock:
    """The given offset, or what fits clearly better within some frames of it, where there are hands enough to tell."""
    (left_s, right_s), joints = (
        [time[hand.found] for time, hand in zip(times, hands, strict=True)],
        [hand.joints_cam[hand.found] for hand in hands],
    )
    try:
        told = estimate_offset(left_s, right_s - given_s, *joints, search_s=0.0)
        clock, estimate = estimate_clock(times, hands, search_s=_GIVEN_WITHIN_S, about_s=given_s)
    except InputError:
        return Clock(given_s)
    return clock if estimate.mismatch < _BETTER * told.mismatch else Clock(given_s)


def choose_offset(
    settings: FootagePairingSettings, times: Clocks, hands: Hands, given_s: float | None, name: str
) -> Offset:
    """The given offset, or the estimated one; frame numbers are believed to run alike.

    Raises InputError for an ambiguous one, if so configured.
    """
    numbered = settings.clock == "index"
    if given_s is not None:
        return Offset(Clock(given_s) if numbered else given_clock(times, hands, given_s), "given", None)
    clock, estimate = estimate_clock(times, hands, search_s=settings.search_s, rates=not numbered)
    if estimate.certainty >= LEAST_CERTAINTY:
        return Offset(clock, "estimated", estimate)
    if settings.ambiguous == "zero":
        return Offset(Clock(0.0), "zero, as the estimate is ambiguous", estimate)
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

    Raises InputError for an ambiguous offset (`choose_offset`), for views without a common hand, or with fewer than
    `least_common` of their pairs, and for views that show different hands, or another one than is told.
    """
    listed = read_frames(frames[0], frames_json[0]), read_frames(frames[1], frames_json[1])
    found = FoundHands.load(hands[0]), FoundHands.load(hands[1])
    require_one_hand(found, rig)
    times = clocks(settings, *listed)
    offset = choose_offset(settings, times, found, offset_s, rig)
    for _ in range(_ROUNDS):
        left, right = pair_times(*times, offset.clock)
        common = found[0].found[left] & found[1].found[right]
        if settings.clock == "time" and common.sum() >= (LEAST_POSES if offset_s is None else LEAST_DOUBTING):
            offset = refined(offset, found, times, (left[common], right[common]))
    if offset_s is not None and offset.fitted is None:
        offset = replace(offset, believed=Clock(offset_s))  # what poses alone say against it is too little
    left, right = pair_times(*times, offset.clock)
    none, estimate = np.zeros(0), offset.estimate
    common = found[0].found[left] & found[1].found[right]
    moments = FramePairs(
        index_left=left,
        index_right=right,
        common=common,
        offsets_s=none if estimate is None else estimate.offsets_s,
        mismatches=none if estimate is None else estimate.mismatches,
        left_s=times[0],
        right_s=times[1],
        clock=np.array(offset.clock),
    )
    shared, count = int(common.sum()), len(common)
    if shared < 2 or shared < settings.least_common * count:
        seen = " and ".join(f"{int(hand.found.sum())} of {len(hand.found)}" for hand in found)
        raise InputError(
            f"footage.pairs.{rig}: {shared} of {count} pairs of frames show the hand in both views (offset "
            f"{offset.clock.offset_s:+.3f} s, {offset.source}); expected at least 2 and a share of "
            f"{settings.least_common} (footage.pairing.least_common). The views have a hand in {seen} frames; check "
            "the pictures hands.jpg of both views, offset_s, and that both cameras film the same hand"
        )
    moments.save(pairs, code=code)
    report = pairing_report(moments, found, offset, offset_s)
    told = f"{report['offset_s']:+.4f} s ({report['offset_is']}), rate {report['clock_rate']:.4f}"
    print(f"the right view's clock: {told}", file=sys.stderr)
    write_json(pairing, report)


def refined(offset: Offset, hands: Hands, times: Clocks, rows: Rows) -> Offset:
    """The offset with the clock that the key points of simultaneous hands tell, if they tell it."""
    if offset.fitted is None:
        poses_1, poses_2 = (
            torch.from_numpy(unit_poses(view.joints_cam[index])).double().reshape(-1, 3)
            for view, index in zip(hands, rows, strict=True)
        )
        start = rotation_between(poses_1, poses_2).numpy().T
    else:
        start = offset.fitted.rotation.second_from_first
    spread = evenly_spread(len(rows[0]), _MOST_POSES)
    some = rows[0][spread], rows[1][spread]
    fitted = fit_clock(hands, times, some, offset.believed, start, around=offset.fitted is None)
    told = math.isfinite(fitted.rotation.deviation_deg) and fitted.error_percent <= LARGEST_ERROR_PERCENT
    return replace(offset, fitted=fitted if told else None)


def require_one_hand(hands: Hands, rig: str) -> None:
    """Raise InputError where the views surely show different hands, or both another one than they are taken for."""
    shown = [hand.side_shown for hand in hands]
    if None in shown:
        return
    of_right = " and ".join(f"{hand.mean_handedness:.2f}" for hand in hands)
    if shown[0] != shown[1]:
        raise InputError(
            f"footage.pairs.{rig}: the left view shows a {shown[0]} hand, the right view a {shown[1]} one (handedness "
            f"{of_right}, 1 is a right hand); expected one hand in both. One view is mirrored, as front cameras store "
            "it: mirror it back; or the views follow different hands: see hands.jpg of both, set side, or give boxes"
        )
    if shown[0] != hands[0].side:
        raise InputError(
            f"footage.pairs.{rig}.side: is {hands[0].side}, but both views show a {shown[0]} hand (handedness "
            f"{of_right}, 1 is a right hand); set side: {shown[0]} (or auto), or mirror both videos back if both are "
            "mirrored"
        )


def pairing_report(pairs: FramePairs, hands: Hands, offset: Offset, given_s: float | None) -> dict[str, Any]:
    """Counts, the clock with its certainty, as JSON values."""
    times, clock, fitted = (pairs.left_s, pairs.right_s), offset.clock, offset.fitted
    gaps = times[1][pairs.index_right] - clock.right(times[0][pairs.index_left])
    estimate = None
    if offset.estimate is not None:
        single = {name: value for name, value in asdict(offset.estimate).items() if not isinstance(value, np.ndarray)}
        estimate = {**single, "ambiguous": offset.source.startswith("zero")}
    return {
        "offset_s": clock.offset_s,
        "offset_is": offset.source,
        "offset_given_s": given_s,
        "offset_deviation_s": OFFSET_DEVIATION_S if fitted is None else fitted.offset_deviation_s,
        "clock_rate": clock.rate,
        "clock_rate_deviation": RATE_DEVIATION if fitted is None else fitted.rate_deviation,
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
