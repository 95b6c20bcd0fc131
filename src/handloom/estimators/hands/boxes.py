"""A view's boxes of the hand, from a CSV file that the user writes: frame,x0,y0,x1,y1."""

import csv
import sys
from pathlib import Path

import numpy as np
from jaxtyping import Float

from handloom.datasets.frames import Frames
from handloom.geometry.bounds import box_fault
from handloom.runtime.errors import InputError

COLUMNS = ("frame", "x0", "y0", "x1", "y1")


def read_boxes(path: Path, frames: Frames) -> Float[np.ndarray, "frames 4"]:
    """Boxes in pixels (x0, y0, x1, y1) of the frames in their order, NaN where the file has none.

    `frame` is a video's frame number, counted from 0, or a picture's file name with or without its suffix. Rows of
    frames that are not used are counted. Raises InputError naming the line of a row that is no box, lies outside of the
    picture or repeats a frame, and when no row is of a frame.
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
    print(f"boxes of {found} of {len(boxes)} frames; {unused} boxes of frames that are not used", file=sys.stderr)
    return boxes


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); expected a CSV file of {','.join(COLUMNS)}") from error
    reader = csv.reader(text.splitlines())
    named = tuple(name.strip() for name in next(reader, []))
    if named != COLUMNS:
        raise InputError(f"{path}: begins with {','.join(named) or 'nothing'}; expected the line {','.join(COLUMNS)}")
    rows = [(reader.line_num, row) for row in reader if row]
    for line, row in rows:
        if len(row) != len(COLUMNS):
            raise InputError(f"{path}: line {line} has not {len(COLUMNS)} values; expected {','.join(COLUMNS)}")
    return rows


def _numbers(path: Path, line: int, numbers: list[str]) -> Float[np.ndarray, "4"]:
    try:
        return np.array([float(number) for number in numbers])
    except ValueError as error:
        raise InputError(f"{path}: line {line}: {error}; expected four numbers, in pixels") from error


def _key(frame: str) -> str:
    return str(int(frame)) if frame.isdecimal() else frame
