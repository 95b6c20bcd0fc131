"""Which frames of two views show the same moment."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from handloom.datasets.frames_file import FramesFile, read_frames_file
from handloom.footage.hands_file import FootageHands, read_hands
from handloom.footage.time_offset import OffsetEstimate, estimate_offset, nearest_frames
from handloom.runtime.artifacts import Header, read_arrays, write_arrays
from handloom.runtime.config.footage import FootagePairingSettings
from handloom.runtime.errors import InputError
from handloom.runtime.files import write_json

KIND = "footage_pairs"
OffsetSource = Literal["given", "estimated", "zero, as the estimate is ambiguous"]


@dataclass(frozen=True)
class FramePairs:
    """Frames of both views that belong together, in order of time."""

    index_left: Int[np.ndarray, " pairs"]
    index_right: Int[np.ndarray, " pairs"]
    common: Bool[np.ndarray, " pairs"]
    """Whether both frames show the hand."""

    @property
    def rows(self) -> tuple[Int[np.ndarray, " common"], Int[np.ndarray, " common"]]:
        """The frames of both views of the pairs with the hand in both."""
        return self.index_left[self.common], self.index_right[self.common]


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


def clocks(
    settings: FootagePairingSettings, left: FramesFile, right: FramesFile
) -> tuple[Float[np.ndarray, " left"], Float[np.ndarray, " right"]]:
    """Times of the frames from each view's first one; frame numbers at the first view's rate if `clock` is index."""
    times = [np.array(frames.times_s) - frames.times_s[0] for frames in (left, right)]
    if settings.clock == "time":
        return times[0], times[1]
    step = float(np.median(np.diff(times[0])))
    return step * np.arange(len(times[0])), step * np.arange(len(times[1]))


def choose_offset(
    settings: FootagePairingSettings,
    times: tuple[Float[np.ndarray, " left"], Float[np.ndarray, " right"]],
    hands: tuple[FootageHands, FootageHands],
    given_s: float | None,
    name: str,
) -> Offset:
    """The given offset, or the estimated one; raises InputError for an ambiguous one, if so configured."""
    if given_s is not None:
        return Offset(given_s, "given", None)
    estimate = estimate_offset(
        *(time[hand.found] for time, hand in zip(times, hands, strict=True)),
        *(hand.joints_cam[hand.found] for hand in hands),
        search_s=settings.search_s,
        distinct_s=settings.distinct_s,
    )
    if estimate.certainty >= settings.least_certainty:
        return Offset(estimate.offset_s, "estimated", estimate)
    if settings.ambiguous == "zero":
        return Offset(0.0, "zero, as the estimate is ambiguous", estimate)
    raise InputError(
        f"footage.pairs.{name}: the time offset of its views is ambiguous: {estimate.offset_s:+.3f} s fits best, but "
        f"{'no other was tried' if estimate.second_offset_s is None else f'{estimate.second_offset_s:+.3f} s as well'} "
        f"(certainty {estimate.certainty:.2f}, expected {settings.least_certainty}). The hand may hardly move, "
        f"the footage be short for a search of {settings.search_s:g} s either way, or the views show different hands. "
        "Set offset_s (0 for synchronised cameras), lower footage.pairing.search_s, set footage.pairing.ambiguous: "
        "zero, or film longer, and a hand that moves"
    )


def pair_views(
    settings: FootagePairingSettings,
    name: str,
    offset_s: float | None,
    left_hands: Path,
    right_hands: Path,
    left_frames: Path,
    right_frames: Path,
    pairs_npz: Path,
    pairing_json: Path,
    *,
    code: str = "",
) -> None:
    """Stage: pair the frames of two views; write the pairs, with the search for the offset, and a report.

    Raises InputError for an ambiguous offset (`choose_offset`) and for views without a common hand, or with fewer than
    `least_common` of their pairs.
    """
    frames = read_frames_file(left_frames), read_frames_file(right_frames)
    hands = read_hands(left_hands)[0], read_hands(right_hands)[0]
    times = clocks(settings, *frames)
    offset = choose_offset(settings, times, hands, offset_s, name)
    left, right = pair_times(*times, offset.offset_s)
    pairs = FramePairs(left, right, hands[0].found[left] & hands[1].found[right])
    _require_common(settings, name, pairs, hands, offset)
    tried = (np.zeros(0), np.zeros(0)) if offset.estimate is None else offset.estimate.search
    arrays = {"index_left": left, "index_right": right, "common": pairs.common}
    arrays |= {"offsets_s": tried[0], "mismatches": tried[1]}
    write_arrays(pairs_npz, arrays, Header(KIND, code=code, extra={"pair": name}))
    write_json(pairing_json, pairing_report(pairs, hands, times, offset))


def read_pairs(path: Path) -> FramePairs:
    """Read what `pair_views` wrote; raises InputError as `read_arrays` does."""
    arrays, _ = read_arrays(path, KIND)
    return FramePairs(arrays["index_left"], arrays["index_right"], arrays["common"])


def read_search(path: Path) -> tuple[Float[np.ndarray, " offsets"], Float[np.ndarray, " offsets"]]:
    """The offsets that `pair_views` tried and their mismatches; none where the offset was given."""
    arrays, _ = read_arrays(path, KIND)
    return arrays["offsets_s"], arrays["mismatches"]


def pairing_report(
    pairs: FramePairs,
    hands: tuple[FootageHands, FootageHands],
    times: tuple[Float[np.ndarray, " left"], Float[np.ndarray, " right"]],
    offset: Offset,
) -> dict[str, Any]:
    """Counts, the offset and its certainty, as JSON values."""
    gaps = times[1][pairs.index_right] - times[0][pairs.index_left] - offset.offset_s
    estimate = offset.estimate
    return {
        "offset_s": offset.offset_s,
        "offset_is": offset.source,
        "estimate": None
        if estimate is None
        else {
            "offset_s": estimate.offset_s,
            "mismatch": estimate.mismatch,
            "second_offset_s": estimate.second_offset_s,
            "second_mismatch": estimate.second_mismatch,
            "certainty": estimate.certainty,
            "ambiguous": offset.source.startswith("zero"),
        },
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


def _require_common(
    settings: FootagePairingSettings,
    name: str,
    pairs: FramePairs,
    hands: tuple[FootageHands, FootageHands],
    offset: Offset,
) -> None:
    common, count = int(pairs.common.sum()), len(pairs.common)
    if common >= 2 and common >= settings.least_common * count:
        return
    seen = " and ".join(f"{int(hand.found.sum())} of {len(hand.found)}" for hand in hands)
    raise InputError(
        f"footage.pairs.{name}: {common} of {count} pairs of frames show the hand in both views (offset "
        f"{offset.offset_s:+.3f} s, {offset.source}); expected at least 2 and a share of {settings.least_common} "
        f"(footage.pairing.least_common). The views have a hand in {seen} frames; check the pictures hands.jpg of both "
        "views, offset_s, and that both cameras film the same hand"
    )
