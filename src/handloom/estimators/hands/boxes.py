"""A view's boxes of the hand, from a CSV file that the user writes: frame,x0,y0,x1,y1."""

import sys
from pathlib import Path

import numpy as np
from jaxtyping import Float

from handloom.datasets.frames import Frames
from handloom.geometry.bounds import box_fault
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_rows
from handloom.runtime.reading import reason_of

_WHOLE_IN_HUNDREDTHS = 105.0
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
        box = _numbers(path, line, numbers)
        if fault := box_fault(box, np.array([frames.width_px, frames.height_px], dtype=np.float64)):
            raise InputError(f"{path}: line {line} {fault}")
        if key not in index_of:
            unused += 1
            continue
        boxes[index_of[key]] = box
    found = int(np.isfinite(boxes[:, 0]).sum())
    if not found:
        raise InputError(
            f"{path}: none of its {len(seen)} boxes is of a frame; expected frames such as {frames.names[0]} or "
            f"{frames.names[-1]}"
        )
    if np.nanmax(boxes) <= _WHOLE_IN_HUNDREDTHS < min(frames.size_px) / 4:  # all in a corner of the picture
        raise InputError(
            f"{path}: no number of its {found} boxes is above {np.nanmax(boxes):.3g}, in pictures of "
            f"{frames.width_px} x {frames.height_px} pixels; are these hundredths of their sides? Pixels are expected"
        )
    print(f"boxes of {found} of {len(boxes)} frames; {unused} boxes of frames that are not used", file=sys.stderr)
    return boxes


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


def _numbers(path: Path, line: int, numbers: list[str]) -> Float[np.ndarray, "4"]:
    try:
        return np.array([float(number) for number in numbers])
    except ValueError as error:
        raise InputError(f"{path}: line {line}: {reason_of(error)}; expected four numbers, in pixels") from error


def _key(frame: str) -> str:
    return frame.lstrip("0") or "0" if frame.isdecimal() else frame
