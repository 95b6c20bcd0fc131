"""A view's boxes of the hand, from a CSV file that the user writes: frame,x0,y0,x1,y1."""

import math
import sys
from pathlib import Path

import numpy as np
from jaxtyping import Float

from handloom.datasets.frames import Frames
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_rows
from handloom.runtime.reading import reason_of

_UNITS = (("shares of the picture's sides", 2.0, 1.0), ("hundredths of the picture's sides", 105.0, 100.0))
"""What boxes may be in whose numbers are at most so large, a little beyond the picture, and what a whole side is."""
_HAND_PLACES = 4
"""All hands of a view are not in so small a part of its sides, at the top left."""
_SMALLEST_PX = 4.0
COLUMNS = ("frame", "x0", "y0", "x1", "y1")


def read_boxes(path: Path, frames: Frames) -> Float[np.ndarray, "frames 4"]:
    """Boxes in pixels (x0, y0, x1, y1) of the frames in their order, NaN where the file has none.

    `frame` is a video's frame number, counted from 0, or a picture's file name with or without its suffix. Rows of
    frames that are not used are counted. Raises InputError naming the line of a row that is no box, lies outside of the
    picture or repeats a frame, when no row is of a frame, and for
    boxes that are plainly in another unit.
    """
    index_of = {_key(each): index for index, name in enumerate(frames.names) for each in (name, Path(name).stem)}
    boxes, unused = np.full((len(frames.names), 4), np.nan), 0
    seen: set[str] = set()
    for line, (name, *numbers) in _rows(path):
        frame = name.strip()
        key = _key(frame)
        if key in seen:
            raise InputError(f"{path}: line {line} is a second box of frame {frame}; expected one a frame")
        seen.add(key)
        box = _box(path, line, numbers)
        if key not in index_of:
            unused += 1
            continue
        if box[0] >= frames.width_px or box[1] >= frames.height_px or box[2] <= 0 or box[3] <= 0:
            raise InputError(
                f"{path}: line {line} is outside of the picture, of {frames.width_px} x {frames.height_px} pixels"
            )
        boxes[index_of[key]] = box
    found = int(np.isfinite(boxes[:, 0]).sum())
    if not found:
        raise InputError(
            f"{path}: none of its {len(seen)} boxes is of a frame; expected frames such as {frames.names[0]} or "
            f"{frames.names[-1]}"
        )
    _require_pixels(path, boxes[np.isfinite(boxes[:, 0])], frames)
    print(f"boxes of {found} of {len(boxes)} frames; {unused} boxes of frames that are not used", file=sys.stderr)
    return boxes


def _require_pixels(path: Path, boxes: Float[np.ndarray, "found 4"], frames: Frames) -> None:
    """Raise InputError, naming the unit that explains them, for boxes too small to be in pixels of these frames."""
    largest = float(boxes.max())
    for unit, most, factor in _UNITS:
        if largest <= most < min(frames.size_px) / _HAND_PLACES:
            raise InputError(
                f"{path}: no number of its {len(boxes)} boxes is above {largest:.3g}, in pictures of "
                f"{frames.width_px} x {frames.height_px} pixels; are these {unit}? Pixels are expected: multiply x by "
                f"{frames.width_px / factor:g} and y by {frames.height_px / factor:g}"
            )
    side_px = float(np.median(np.ptp(boxes.reshape(-1, 2, 2), axis=1).max(axis=1)))
    if side_px < _SMALLEST_PX:
        raise InputError(
            f"{path}: half of its {len(boxes)} boxes are at most {side_px:.3g} pixels large, too small to show a hand; "
            "expected x0,y0,x1,y1 in pixels of the frames"
        )


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    expected = f"a CSV file of {','.join(COLUMNS)}"
    (_, first), *rows = read_rows(path, expected, "correct the file that the view's `boxes` name") or [(1, [])]
    if tuple(name.strip() for name in first) != COLUMNS:
        raise InputError(
            f"{path}: begins with {','.join(first)[:80] or 'nothing'}; expected the line {','.join(COLUMNS)}"
        )
    for line, row in rows:
        if len(row) != len(COLUMNS):
            raise InputError(f"{path}: line {line} has not {len(COLUMNS)} values; expected {','.join(COLUMNS)}")
    return rows


def _box(path: Path, line: int, numbers: list[str]) -> Float[np.ndarray, "4"]:
    try:
        box = [float(number) for number in numbers]
    except ValueError as error:
        raise InputError(f"{path}: line {line}: {reason_of(error)}; expected four numbers, in pixels") from error
    if not all(map(math.isfinite, box)) or box[2] <= box[0] or box[3] <= box[1]:
        raise InputError(f"{path}: line {line} is {box}; expected x0 < x1 and y0 < y1, in pixels")
    return np.array(box)


def _key(frame: str) -> str:
    return frame.lstrip("0") or "0" if frame.isdecimal() else frame
