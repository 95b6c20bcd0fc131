"""Which of a user's files belongs to which frame of a sequence."""

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

from handloom.datasets.frames import Frames
from handloom.datasets.numbered_pictures import numbers_of, stem_of
from handloom.runtime.errors import InputError, listed

_SHOWN = 3
Match = Literal["name", "extracted", "order"]
"""How what a tool tells of some frames is matched: by original name or number; by the extracted one; by its place."""
_SAMPLE = 20
"""Names in which others' names are looked for; the rest must follow them."""


def files_of_originals(folder: Path, files: Sequence[Path], frames: Frames) -> list[Path]:
    """The file of every frame by the frame's original name, else by its original number, as a data set names them.

    Raises InputError naming frames that have no file.
    """
    found = _by_name(files, frames) or _by_number(files, frames)
    if found is None:
        raise _unlike(folder, files, frames, "fetch the folder again")
    return found


def files_of_frames(
    folder: Path, files: Sequence[Path], frames: Frames, *, in_order: bool, planned: bool = False
) -> list[Path]:
    """The file of every frame, from `files` in number order.

    A frame's file has its original name, with the same before and after it in all files, or its original number (in a
    video counted from 0, before any frame is left out); only if neither fits, all files are named as the extracted
    frames, or by an annotation tool in whose names several numbers rise together. `in_order` takes the nth file for the
    nth frame. How files are taken that are not named as the originals is told on stderr, unless the frames are only
    `planned`. Raises InputError where names fit neither way, or both ways and differ, with examples.
    """
    if in_order:
        if len(files) == len(frames):
            return list(files)
        raise InputError(
            f"{folder}: holds {len(files)} files for {len(frames)} frames, and masks.files.match is 'order'; give one "
            "file a frame, or name them as the frames and set masks.files.match to 'name'"
        )
    original = _by_name(files, frames) or _by_number(files, frames)
    extracted = _by_extracted(files, frames)
    if original and extracted and original != extracted:
        pairs = [
            f"{name} has {first.name} by its original name, {second.name} as the extracted {picture.stem}"
            for name, picture, first, second in zip(frames.names, frames.pictures, original, extracted, strict=True)
            if first != second
        ]
        raise InputError(
            f"{folder}: its names can be read in two ways: {'; '.join(pairs[:_SHOWN])}; name the files as the original "
            "frames, or, if the nth file belongs to the nth frame, set masks.files.match to 'order'"
        )
    if original:
        return original
    found = extracted or _by_tool(files, frames)
    if found is None:
        raise _unlike(
            folder,
            files,
            frames,
            "name the files as the frames (their numbers suffice), or, if the nth file belongs to the nth frame, set "
            "masks.files.match to 'order'",
        )
    if planned:
        return found
    how = "as the extracted frames" if extracted else "in number order"
    pairs = [f"{file.name} for frame {name}" for file, name in zip(found, frames.names, strict=True)]
    print(f"{folder}: files are taken {how}: {listed(pairs, _SHOWN)}", file=sys.stderr)
    return found


def rows_of_frames(
    where: Path, names: Sequence[str], frames: Frames, match: Match, setting: str, *, planned: bool = False
) -> dict[int, int]:
    """Of each frame that has one the row of its picture in `names`, which may lack frames, and hold unused ones.

    With `name` a picture has a frame's original name, the same before and after it in all names, or its original
    number; only where it cannot, all names are the extracted frames'. Since gaps hide a shift, names that can be read
    in both ways are taken only in the one that lacks no frame, and those of a video counted from 1 are refused.
    `setting` leads to `match`; raises InputError with examples of both sides.
    """
    if match == "order":
        if len(names) != len(frames):
            raise InputError(
                f"{where}: tells of {len(names)} pictures, but there are {len(frames)} frames, and {setting} is "
                "order; give one a frame, or name them as the frames and set it to name"
            )
        return {row: row for row in range(len(frames))}
    stems = [stem_of(Path(name).name) for name in names]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise InputError(f"{where}: has several pictures named {listed(twice, _SHOWN)}; give those of one video")
    original = _some_by_name(stems, frames) or _some_by_number(stems, frames.names)
    extracted = _some_extracted(stems, len(frames))
    if match == "extracted":
        original = {}
    if original and extracted and original != extracted and len(original) < len(frames) > len(extracted):
        examples = [f"{names[row]} for {frames.names[frame]}" for frame, row in original.items()]
        raise InputError(
            f"{where}: its pictures can be read as the original frames ({listed(examples, _SHOWN)}) and as the "
            f"extracted ones, from 0 to {len(frames) - 1}; name them as the original frames, or set {setting} to "
            "extracted"
        )
    found = extracted if len(original) < len(frames) == len(extracted) or not original else original
    if not found:
        raise InputError(
            f"{where}: its pictures ({listed(list(names), _SHOWN)}; {len(names)} in all) are not named as the frames "
            f"({listed([Path(name).stem for name in frames.names], _SHOWN)}; {len(frames)} in all); name them so "
            f"(their numbers suffice), or, if the nth belongs to the nth frame, set {setting} to order"
        )
    if found is original:
        _require_counted_alike(where, stems, frames, setting)
    elif not planned:
        pairs = [f"{names[row]} for frame {frames.names[frame]}" for frame, row in found.items()]
        print(f"{where}: pictures are taken as the extracted frames: {listed(pairs, _SHOWN)}", file=sys.stderr)
    return found


def _some_by_name(stems: Sequence[str], frames: Frames) -> dict[int, int]:
    row_of, own = {stem: row for row, stem in enumerate(stems)}, [stem_of(name) for name in frames.names]
    if exact := {frame: row_of[name] for frame, name in enumerate(own) if name in row_of}:
        return exact
    around = {_around(stem, name) for stem in stems[:_SAMPLE] for name in own if name in stem}
    fitting = [
        {frame: row_of[before + name + after] for frame, name in enumerate(own) if before + name + after in row_of}
        for before, after in around
        if not (before[-1:].isdigit() or after[:1].isdigit())
        and all(stem.startswith(before) and stem.endswith(after) for stem in stems)
    ]
    fitting = [each for each in fitting if each]
    return fitting[0] if len(fitting) == 1 else {}


def _some_by_number(stems: Sequence[str], own: Sequence[str]) -> dict[int, int]:
    numbers, of_files = _telling(own), _telling(stems)
    if numbers is None or of_files is None:
        return {}
    row_of = {number: row for row, number in enumerate(of_files)}
    return {frame: row_of[number] for frame, number in enumerate(numbers) if number in row_of}


def _some_extracted(stems: Sequence[str], count: int) -> dict[int, int]:
    """The same by the extracted frames' numbers, if no picture has another."""
    numbers = _telling(stems)
    if numbers is None or not set(numbers) <= set(range(count)):
        return {}
    return {number: row for row, number in enumerate(numbers)}


def _require_counted_alike(where: Path, stems: Sequence[str], frames: Frames, setting: str) -> None:
    """Raise InputError where all numbers are one too high: they begin and end one behind the frames'."""
    numbers, of_files = _telling(frames.names), _telling(stems)
    if numbers is None or of_files is None:
        return
    first, last = min(numbers), max(numbers)
    if (min(of_files), max(of_files)) == (first + 1, last + 1) and last - first == len(numbers) - 1:
        raise InputError(
            f"{where}: its pictures have the numbers {first + 1} to {last + 1}, but the frames {first} to {last}, as "
            f"if they were counted from {first + 1}; number them as the frames, or, if each has its own, set "
            f"{setting} to order"
        )


def _by_name(files: Sequence[Path], frames: Frames) -> list[Path] | None:
    """Of each frame the file whose name is the frame's original one, between the same characters in all files."""
    stems = [stem_of(name) for name in frames.names]
    file_of = {stem_of(path.name): path for path in files}
    if all(stem in file_of for stem in stems):
        return [file_of[stem] for stem in stems]
    around = {_around(stem, stems[0]) for stem in file_of if stems[0] in stem}
    fitting = [
        [file_of[before + stem + after] for stem in stems]
        for before, after in around
        if not (before[-1:].isdigit() or after[:1].isdigit())
        and all(before + stem + after in file_of for stem in stems)
    ]
    return fitting[0] if len(fitting) == 1 else None


def _around(stem: str, name: str) -> tuple[str, str]:
    before, _, after = stem.rpartition(name)
    return before, after


def _by_number(files: Sequence[Path], frames: Frames) -> list[Path] | None:
    """Of each frame the file of its original number, where one number tells the frames apart, and one the files."""
    rows = _some_by_number([path.name for path in files], frames.names)
    return [files[rows[frame]] for frame in range(len(frames))] if len(rows) == len(frames) else None


def _by_extracted(files: Sequence[Path], frames: Frames) -> list[Path] | None:
    """The files in order, if their numbers are those of the extracted frames and there are no others."""
    numbers = _telling([path.name for path in files])
    return list(files) if numbers == list(range(len(frames))) else None


def _by_tool(files: Sequence[Path], frames: Frames) -> list[Path] | None:
    """The files in order, if there are as many as frames, and several numbers in their names rise together.

    Such as Label Studio's task-5-annotation-9, task-6-annotation-10: numbers of tasks, not of frames. The first rises
    in equal steps, so that none is missing.
    """
    columns = _columns([path.name for path in files])
    rising = len(columns) > 1 and all(first < second for column in columns for first, second in pairwise(column))
    even = rising and len({second - first for first, second in pairwise(columns[0])}) == 1
    return list(files) if even and len(files) == len(frames) else None


def _telling(names: Sequence[str]) -> list[int] | None:
    """The number that differs among names that differ in this one only."""
    columns = _columns(names)
    return list(columns[0]) if len(columns) == 1 and len(set(columns[0])) == len(names) else None


def _columns(names: Sequence[str]) -> list[tuple[int, ...]]:
    """The first, second, ... numbers in names, but for those that all share; none where names differ in how many."""
    rows = [numbers_of(name) for name in names]
    if len({len(row) for row in rows}) != 1:
        return []
    return [column for column in zip(*rows, strict=True) if len(set(column)) > 1]


def _unlike(folder: Path, files: Sequence[Path], frames: Frames, advice: str) -> InputError:
    """What does not fit, with examples of either side."""
    numbers, of_files = _telling([*frames.names]), _telling([path.name for path in files])
    lacking = ""
    if frames.source and numbers and of_files:
        lost = [name for name, number in zip(frames.names, numbers, strict=True) if number not in set(of_files)]
        lacking = f"; no file has the number of {len(lost)} of the frames ({listed(lost, _SHOWN)})"
    own = listed([Path(name).stem for name in frames.names], _SHOWN)
    count = f"{len(frames)} in all" if frames.source else "the first"
    return InputError(
        f"{folder}: its files ({listed([path.name for path in files], _SHOWN)}; {len(files)} in all) are not named as "
        f"the frames ({own}; {count}){lacking}; {advice}"
    )
