"""Pictures to check a camera pair by: where a view's hand was found, and how the frames of both views were paired."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from handloom.datasets.frames import Picture, read_frames
from handloom.datasets.views import FramePairs
from handloom.estimators.hands.found import FoundHands
from handloom.estimators.hands.squares import corners_of
from handloom.figures.skeleton import paint_skeleton, paint_text, resized
from handloom.figures.style import BLUE, GREY, ORANGE, VERMILION, YELLOW, drawn, rgb_of
from handloom.runtime.files import read_json
from handloom.runtime.images import evenly_spread, read_rgb, write_contact_sheet

_COLUMNS, _ROWS, _CELL_WIDTH_PX = 4, 4, 280  # a sheet that fits on a screen


def draw_hands(frames: Path, frames_json: Path, hands: Path, picture: Path) -> None:
    """Stage: write frames spread evenly over the view, with the hand's square, key points and score, as JPEG."""
    found, images = FoundHands.load(hands), read_frames(frames, frames_json).pictures
    cells = [_cell(images[row], found, row) for row in evenly_spread(len(images), _COLUMNS * _ROWS)]
    write_contact_sheet(picture, cells, _COLUMNS)


def _cell(path: Path, hands: FoundHands, row: int) -> Picture:
    image = read_rgb(path)
    cell, scale = resized(image, _CELL_WIDTH_PX, round(_CELL_WIDTH_PX * image.shape[0] / image.shape[1]))
    if not hands.found[row]:
        paint_text(cell, f"{row}: no hand")
        return cell
    corners = scale * corners_of(hands.squares(np.array([row])))[0]
    cv2.polylines(cell, [np.rint(corners).astype(np.int32)], True, rgb_of(YELLOW), 1, cv2.LINE_AA)
    paint_skeleton(cell, scale * hands.keypoints_px[row])
    paint_text(cell, f"{row}: {hands.presence[row]:.2f}")
    return cell


def draw_pairing(hands: tuple[Path, Path], pairs: Path, pairing: Path, picture: Path, *, rig: str) -> None:
    """Stage: draw the mismatch of every offset that was tried, and when both views show a hand, on one clock."""
    moments, report = FramePairs.load(pairs), read_json(pairing)
    found = [FoundHands.load(path).found for path in hands]
    estimate = report["estimate"]
    with drawn(picture, 7.2, 2.6) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.2))
        if estimate is None:
            left.text(0.5, 0.5, "the offset is given", ha="center", va="center", transform=left.transAxes)
        else:
            left.plot(moments.offsets_s, moments.mismatches, color=GREY, marker=".", markersize=2.5, linewidth=1)
            left.plot(estimate["offset_s"], estimate["mismatch"], "o", color=BLUE, label="best")
            if estimate["second_offset_s"] is not None:
                left.plot(estimate["second_offset_s"], estimate["second_mismatch"], "o", color=ORANGE, label="second")
            left.set_ylim(bottom=0)
            left.legend()
            left.set_title(f"certainty {estimate['certainty']:.2f}")
        left.set_xlabel("right time minus left time (s)")
        left.set_ylabel("mismatch of the views' poses")
        clocks = np.array(report["clock_left_s"]), np.array(report["clock_right_s"]) - report["offset_s"]
        for height, clock, seen in zip((0.0, 1.0), clocks, found, strict=True):
            _ticks(right, clock, height, GREY)
            _ticks(right, clock[seen], height, BLUE)
        _ticks(right, clocks[0][moments.rows("left")], 0.5, VERMILION)
        right.set_yticks([0, 0.5, 1], ["left", "pairs", "right"])
        right.set_ylim(1.4, -0.4)
        right.set_xlabel("left time (s)")
        right.set_title(f"{report['pairs_with_common_hand']} of {report['pairs']} pairs with a hand in both")
        figure.suptitle(f"{rig}: offset {report['offset_s']:+.3f} s, {report['offset_is']}", x=0.01, ha="left")
        figure.tight_layout()


def _ticks(axes: Axes, times_s: Float[np.ndarray, " ticks"], height: float, colour: str) -> None:
    axes.plot(times_s, np.full(len(times_s), height), "|", color=colour, markersize=9)
