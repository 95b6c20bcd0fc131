"""Files are matched to frames by original name, then number; names that do not fit are refused, never counted."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from handloom.datasets.files_of_frames import Match, files_of_frames, files_of_originals, rows_of_frames
from handloom.datasets.frames import Frames
from handloom.datasets.numbered_pictures import numbered_pictures
from handloom.runtime.errors import InputError

HASH = "0a1b2c3d4e5f60718293a4b5c6d7e8f"


def frames_of(names: Iterable[str]) -> Frames:
    listed = tuple(names)
    return Frames(Path("frames"), listed, (0.0,) * len(listed), "test", 12, 8, "test", None)


def of_video(*numbers: int) -> Frames:
    return frames_of(f"{number:06d}" for number in numbers)


def matched(folder: Path, names: Iterable[str], frames: Frames, in_order: bool = False) -> list[str]:
    for name in names:
        (folder / name).touch()
    return [path.name for path in files_of_frames(folder, numbered_pictures(folder), frames, in_order=in_order)]


EVERY_2 = of_video(*range(0, 20, 2))
ALL = of_video(*range(20))


@pytest.mark.parametrize(
    ("frames", "form"),
    [
        (ALL, "{:04d}.png"),
        (ALL, "{}.png"),
        (ALL, "frame_{}_mask.png"),
        (ALL, "mask{:06d}.jpg"),
        (ALL, "film_0001_{:05d}.png"),
        (ALL, "{:06d}.jpg.png"),
        (ALL, "frame_{0:06d}_png.rf." + HASH + "{1}.png"),
        (EVERY_2, "{:04d}.png"),
        (EVERY_2, "{}.png"),
        (EVERY_2, "frame_{:06d}.PNG"),
        (of_video(*range(5, 20)), "{:04d}.png"),
        (of_video(*range(5, 13)), "{:04d}.png"),
        (frames_of(f"IMG ({number:02d}).jpg" for number in range(20)), "IMG ({:02d})_mask.png"),
        (frames_of(f"IMG_{number + 1}.jpg" for number in range(19)), "{}.png"),
    ],
)
def test_each_frame_gets_the_file_of_its_original_number(tmp_path: Path, frames: Frames, form: str) -> None:
    """Protects from others' masks: files of all frames of a video whose frames are not all used."""
    named = [form.format(number, f"{number % 16:x}") for number in range(20)]
    numbers = [int(re.findall(r"\d+", name)[-1]) for name in frames.names]
    assert matched(tmp_path, named, frames) == [named[number] for number in numbers]


def test_originals_without_numbers_are_matched_by_name(tmp_path: Path) -> None:
    frames = frames_of(["cup.png", "left.png", "zoom.png"])
    assert matched(tmp_path, ["zoom_seg.png", "cup_seg.png", "left_seg.png"], frames) == [
        "cup_seg.png", "left_seg.png", "zoom_seg.png"
    ]  # fmt: skip


def test_files_named_as_the_extracted_frames_are_taken_where_originals_do_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = [f"{number:04d}.png" for number in range(10)]
    assert matched(tmp_path, named, EVERY_2) == named
    assert (
        "taken as the extracted frames: 0000.png for frame 000000, 0001.png for frame 000002" in capsys.readouterr().err
    )


def test_the_numbers_of_an_annotation_tools_tasks_give_the_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = [f"task-{n}-annotation-{n + 4}-by-1-tag-object-0.png" for n in range(5, 25)]
    assert matched(tmp_path, named, ALL) == named
    assert "taken in number order: task-5-annotation-9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("named", "frames", "told"),
    [
        # One frame off, and too few: nothing says which number a frame has.
        (
            [f"{n:04d}.png" for n in range(1, 21)],
            ALL,
            r"\(0001.png, 0002.png, 0003.png, ...; 20 in all\).*\(000000.png|000000",
        ),
        ([f"{n}.png" for n in range(19)], ALL, r"no file has the number of 1 of the frames \(000019\)"),
        ([f"{n}.png" for n in range(100, 120)], ALL, "not named as the frames"),
        # Annotated in another order than uploaded, one task missing, or tasks of frames that are not used.
        ([f"task-{n}-annotation-{40 - n}.png" for n in range(5, 25)], ALL, "not named as the frames"),
        ([f"task-{n + (n > 9)}-annotation-{n}.png" for n in range(5, 25)], ALL, "not named as the frames"),
        ([f"task-{n}-annotation-{n + 4}.png" for n in range(5, 25)], EVERY_2, "not named as the frames"),
        ([f"task-{n}-annotation-{n + 4}.png" for n in range(5, 25)], of_video(*range(5, 15)), "not named"),
        ([f"cut{n}.png" for n in (1, 2, 3)], frames_of(["a.png", "b.png", "c.png"]), "frames \\(a, b, c"),
    ],
)
def test_names_that_do_not_fit_are_refused(tmp_path: Path, named: list[str], frames: Frames, told: str) -> None:
    with pytest.raises(InputError, match=told) as raised:
        matched(tmp_path, named, frames)
    assert "masks.files.match to 'order'" in str(raised.value)


def test_names_that_fit_both_ways_are_refused(tmp_path: Path) -> None:
    """Frames c1, b0 (in the order of their names b0, c1): file 0 may be the original 0 or the first frame."""
    frames = frames_of(["b1.png", "c0.png"])
    with pytest.raises(
        InputError, match=r"two ways: b1\.png has 1\.png by its original name, 0\.png as the extracted 0000"
    ):
        matched(tmp_path, ["0.png", "1.png"], frames)


def test_a_declared_order_takes_the_nth_file_for_the_nth_frame(tmp_path: Path) -> None:
    named = [f"{number}.png" for number in range(1, 21)]
    assert matched(tmp_path, named, ALL, in_order=True) == named
    with pytest.raises(InputError, match="holds 20 files for 10 frames"):
        matched(tmp_path, named, EVERY_2, in_order=True)


def test_a_data_sets_files_are_never_taken_by_extracted_name(tmp_path: Path) -> None:
    """Frames 1 to 3 of a sequence that lacks its last segmentation: 0 to 2 are not theirs."""
    for number in range(3):
        (tmp_path / f"{number:04d}.png").touch()
    frames = frames_of(f"{number:04d}.jpg" for number in range(1, 4))
    with pytest.raises(InputError, match=r"no file has the number of 1 of the frames \(0003\.jpg\)"):
        files_of_originals(tmp_path, numbered_pictures(tmp_path), frames)


def rows(names: Iterable[str], frames: Frames, match: Match = "name") -> dict[int, int]:
    return rows_of_frames(Path("hands"), list(names), frames, match, "my.match")


@pytest.mark.parametrize("form", ["{:06d}.jpg", "data/mug/{:04d}.png", "frame_{:06d}_all", "{}"])
def test_pictures_of_a_tool_may_lack_frames_and_hold_others(form: str) -> None:
    """A tool leaves out pictures in which it sees nothing, and looks at pictures that a sequence does not use."""
    numbers = [number for number in range(20) if number not in (4, 7)]
    found = rows([form.format(number) for number in numbers], EVERY_2)
    assert found == {frame: numbers.index(2 * frame) for frame in range(10) if frame != 2}


def test_pictures_that_gaps_make_ambiguous_are_refused() -> None:
    """0 to 9 without 3: half of the original frames, or all but one of the extracted ones."""
    names = [f"{number:04d}" for number in range(10)]
    assert rows(names, EVERY_2) == {frame: frame for frame in range(10)}
    del names[3]
    with pytest.raises(InputError, match=r"as the original frames \(0000 for 000000, .* set my\.match to extracted"):
        rows(names, EVERY_2)
    assert rows(names, EVERY_2, "extracted") == {frame: frame - (frame > 3) for frame in range(10) if frame != 3}
    later = of_video(*range(100, 120))
    assert rows([f"{n}.jpg" for n in (3, 4, 9)], later) == {3: 0, 4: 1, 9: 2}  # nothing is numbered so but these


@pytest.mark.parametrize(
    ("names", "frames", "match", "told"),
    [
        (
            [f"{n:04d}" for n in range(1, 21)],
            ALL,
            "name",
            "the numbers 1 to 20, but the frames 0 to 19, as if they were",
        ),
        ([f"{n}" for n in (700, 701)], ALL, "name", r"\(700, 701; 2 in all\) are not named as the frames \(000000"),
        (["a/7.png", "b/7.jpg"], ALL, "name", "has several pictures named 7"),
        (["7", "8"], ALL, "order", "tells of 2 pictures, but there are 20 frames, and my.match is order"),
        ([f"{n}" for n in (700, 701)], ALL, "extracted", "are not named as the frames"),
    ],
)
def test_pictures_of_other_frames_are_refused(names: list[str], frames: Frames, match: Match, told: str) -> None:
    with pytest.raises(InputError, match=told):
        rows(names, frames, match)
