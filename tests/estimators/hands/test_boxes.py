"""A CSV of boxes is read as it is meant, and every mistake is named with its line."""

from pathlib import Path

import numpy as np
import pytest

from handloom.datasets.frames import Frames
from handloom.estimators.hands.boxes import read_boxes
from handloom.runtime.errors import InputError

VIDEO = Frames(Path("frames"), ("000000", "000002", "000004"), (0.0, 0.1, 0.2), "test", 100, 80, "video:a.mp4", None)
FOLDER = Frames(Path("frames"), ("a_1.jpg", "a_2.jpg"), (0.0, 0.1), "test", 100, 80, "frames:a", None)


def boxes(folder: Path, text: str, frames: Frames = VIDEO) -> np.ndarray:
    (folder / "boxes.csv").write_text(text)
    return read_boxes(folder / "boxes.csv", frames)


def test_boxes_belong_to_frame_numbers_in_any_order(tmp_path: Path) -> None:
    found = boxes(tmp_path, "frame,x0,y0,x1,y1\n4,1,2,30,40\n0,5,6,70,60.5\n3,1,1,2,2\n")
    assert found[0].tolist() == [5, 6, 70, 60.5]
    assert np.isnan(found[1]).all()
    assert found[2].tolist() == [1, 2, 30, 40]


def test_boxes_belong_to_pictures_by_name_with_or_without_suffix(tmp_path: Path) -> None:
    found = boxes(tmp_path, "frame, x0, y0, x1, y1\na_2.jpg,1,2,30,40\na_1,5,6,70,60\n", FOLDER)
    assert found[:, 0].tolist() == [5, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; expected a CSV file of frame,x0,y0,x1,y1"),
        ("frame,x,y,w,h\n0,1,1,2,2\n", "begins with frame,x,y,w,h; expected the line frame,x0,y0,x1,y1"),
        ("frame,x0,y0,x1,y1\n0,1,1,2,2\n2,1,1,2\n", "line 3 has not 5 values"),
        ("frame,x0,y0,x1,y1\n0,1,1,2,2,9\n", "line 2 has not 5 values"),
        ("frame,x0,y0,x1,y1\n0,1,one,2,2\n", "line 2: could not convert string to float: 'one'"),
        ("frame,x0,y0,x1,y1\n0,9,1,2,2\n", r"line 2 is \[9.0, 1.0, 2.0, 2.0\]; expected x0 < x1"),
        ("frame,x0,y0,x1,y1\n0,1,1,nan,2\n", "line 2 is .*expected x0 < x1"),
        ("frame,x0,y0,x1,y1\n0,101,1,120,2\n", "line 2 is outside of the picture, of 100 x 80 pixels"),
        ("frame,x0,y0,x1,y1\n0,1,1,2,2\n000,1,1,2,2\n", "line 3 is a second box of frame 000"),
        ("frame,x0,y0,x1,y1\n7,1,1,2,2\n", "none of its 1 boxes is of a frame; expected frames such as 000000"),
        ("frame,x0,y0,x1,y1\n", "none of its 0 boxes is of a frame"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"boxes\.csv: {message}"):
        boxes(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.csv: no such file"):
        read_boxes(tmp_path / "absent.csv", VIDEO)
