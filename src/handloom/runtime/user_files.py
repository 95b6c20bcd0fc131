"""What a user's file or folder is, as far as its place and its first bytes tell: before anything reads it."""

import os
import stat
from pathlib import Path
from typing import Literal

from handloom.runtime.errors import nearest
from handloom.runtime.reading import form_of

Wanted = Literal["file", "folder", "either"]


def unfit(given: Path | str, wanted: Wanted = "either", folder: Path = Path()) -> str | None:
    """What is wrong with a path that a setting leads to, in words that follow the setting's name; None if nothing is.

    The path is as the setting has it, in a run in `folder`.

    A file must be a regular one that can be read, holds something, and is neither a web page, as a browser saves it in
    the place of a download, nor a pointer that stands for the file itself.
    """
    words = _fault(folder / given, wanted)
    return None if words is None else f"leads to {given}, which {words}"


def _fault(path: Path, wanted: Wanted) -> str | None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return f"does not exist{_nearest(path)}"
    except (OSError, ValueError) as error:
        return f"cannot be looked at ({_reason(error)})"
    if stat.S_ISDIR(mode):
        return "is a folder; expected a file" if wanted == "file" else _folder_fault(path)
    if wanted == "folder":
        return "is a file; expected a folder"
    if not stat.S_ISREG(mode):
        return "is no regular file but a pipe or a device; expected a file"
    return _file_fault(path)


def _folder_fault(path: Path) -> str | None:
    try:
        with os.scandir(path) as entries:
            empty = next(entries, None) is None
    except OSError as error:
        return f"cannot be listed ({_reason(error)})"
    return "is an empty folder" if empty else None


def _file_fault(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            if not file.read(1):
                return "is empty; fetch or make it again"
    except OSError as error:
        return f"cannot be read ({_reason(error)})"
    if form := form_of(path):
        return f"is {form}"
    return None


def _reason(error: Exception) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)


def _nearest(path: Path) -> str:
    """What in the same folder is called almost so, or the first folder above that is not there."""
    parent = path.parent
    if not parent.is_dir():
        return f" (nor does its folder {parent.name})" if parent.name else ""
    try:
        with os.scandir(parent) as entries:
            names = [entry.name for entry, _ in zip(entries, range(10_000), strict=False)]
    except OSError:
        return ""
    found = nearest(path.name, names, 0.8)
    return f" (but {found} does)" if found else ""
