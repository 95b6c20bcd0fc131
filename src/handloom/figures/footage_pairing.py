"""How the frames of two views were paired: the mismatch over offsets, and when each view shows a hand."""

from pathlib import Path

import numpy as np

from handloom.figures.style import BLUE, GREY, ORANGE, VERMILION, drawn
from handloom.footage.hands_file import read_hands
from handloom.footage.pairing import read_pairs, read_search
from handloom.runtime.files import read_json


def draw_pairing(pairs_npz: Path, pairing_json: Path, hands: tuple[Path, Path], output: Path, *, name: str) -> None:
    """Stage: draw the mismatch of every offset that was tried, and both views' hands on one clock."""
    report, pairs, (offsets, mismatches) = read_json(pairing_json), read_pairs(pairs_npz), read_search(pairs_npz)
    found = [read_hands(path)[0].found for path in hands]
    estimate = report["estimate"]
    with drawn(output, 7.2, 2.6) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.2))
        if estimate is None:
            left.text(0.5, 0.5, "the offset is given", ha="center", va="center", transform=left.transAxes)
        else:
            left.plot(offsets, mismatches, color=GREY, marker=".", markersize=2.5, linewidth=1)
            left.plot(estimate["offset_s"], estimate["mismatch"], "o", color=BLUE, label="best")
            if estimate["second_offset_s"] is not None:
                left.plot(estimate["second_offset_s"], estimate["second_mismatch"], "o", color=ORANGE, label="second")
            left.set_ylim(bottom=0)
            left.legend()
            left.set_title(f"certainty {estimate['certainty']:.2f}")
        left.set_xlabel("right time minus left time (s)")
        left.set_ylabel("mismatch of the views' poses")
        clocks = np.array(report["clock_left_s"]), np.array(report["clock_right_s"]) - report["offset_s"]
        for place, (clock, seen) in enumerate(zip(clocks, found, strict=True)):
            right.plot(clock, np.full(len(clock), place), "|", color=GREY, markersize=9)
            right.plot(clock[seen], np.full(seen.sum(), place), "|", color=BLUE, markersize=9)
        common = clocks[0][pairs.index_left[pairs.common]]
        right.plot(common, np.full(len(common), 0.5), "|", color=VERMILION, markersize=9)
        right.set_yticks([0, 0.5, 1], ["left", "pairs", "right"])
        right.set_ylim(1.4, -0.4)
        right.set_xlabel("left time (s)")
        right.set_title(f"{report['pairs_with_common_hand']} of {report['pairs']} pairs with a hand in both")
        figure.suptitle(f"{name}: offset {report['offset_s']:+.3f} s, {report['offset_is']}", x=0.01, ha="left")
        figure.tight_layout()
