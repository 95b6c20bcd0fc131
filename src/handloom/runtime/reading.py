"""Files from outside: opened only where they are plain files of a plausible size, their parsers' errors in one form.

Every reader of data does its work inside `reading`, so that a pipe never hangs it, a huge file never fills the memory
and no parser's own exception reaches the user.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from handloom.runtime.errors import InputError

MEGABYTE = 10**6
_REASON_CHARACTERS = 200
_HEAD_BYTES = 512
_KINDS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a named pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}
_FORMS = {
    rb"\s*<(!doctype|html|head|\?xml)": "a web page, as it is left by a download that asks first (use a browser)",
    rb"version https://git-lfs": "a pointer of git-LFS, not the file itself (`git lfs pull` fetches that)",
    rb"\x1f\x8b": "packed by gzip; unpack it",
    rb"BZh": "packed by bzip2; unpack it",
    rb"\xfd7zXZ\0": "packed by xz; unpack it",
    rb"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it",
    rb"Rar!": "a rar archive; unpack it",
    rb"(?s:.{257})ustar": "a tar archive; unpack it",
    rb"\xff\xfe|\xfe\xff": "text in UTF-16; save it as UTF-8",
}
"""How files begin that are often found under another one's name."""


@contextmanager
def reading(
    path: Path,
    expected: str,
    advice: str,
    *,
    absent: str | None = None,
    most_bytes: int = 1000 * MEGABYTE,
    may_be_empty: bool = False,
) -> Iterator[BinaryIO]:
    """Open a plain file of at most so many bytes; `expected` says what it should be (a table), `advice` what to do.

    Raises InputError when it is missing (with the advice `absent`), a pipe, a device or a folder, empty or too large,
    and for whatever its parser raises within the block; an InputError passes unchanged.
    """
    path = Path(path)
    try:
        _require_plain(path, expected, advice, most_bytes, 0 if may_be_empty else 1)
        with path.open("rb") as file:
            yield file
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; expected {expected}; {absent or advice}") from error
    except Exception as error:
        form = form_of(path)
        found = (
            f"is {form}, but {expected} was expected" if form else f"cannot be read as {expected} ({reason_of(error)})"
        )
        raise InputError(f"{path}: {found}; {advice}") from error


def require_regular(path: Path, what: str) -> None:
    """Raise InputError unless a path leads to a plain file: reading a pipe or a device may never end."""
    try:
        state = path.stat()
    except OSError as error:
        raise InputError(f"{path}: no such {what} ({error.strerror}); check the folder in the configuration") from error
    if kind := _irregular(state):
        raise InputError(f"{path}: is {kind}, but the file of a {what} was expected; remove it")


def _irregular(state: os.stat_result) -> str | None:
    """What a file is that is no plain one."""
    if stat.S_ISREG(state.st_mode):
        return None
    return next((name for test, name in _KINDS.items() if test(state.st_mode)), "no plain file")


def _require_plain(path: Path, expected: str, advice: str, most_bytes: int, least_bytes: int) -> None:
    state = path.stat()
    if kind := _irregular(state):
        raise InputError(f"{path}: is {kind}, but a plain file was expected, {expected}; {advice}")
    size = state.st_size
    if size < least_bytes:
        raise InputError(f"{path}: is empty; expected {expected}; {advice}")
    if size > most_bytes:
        raise InputError(
            f"{path}: has {_in_words(size)}, but at most {_in_words(most_bytes)} were expected of {expected}; {advice}"
        )


def _in_words(size_bytes: int) -> str:
    return f"{size_bytes:,} bytes" if size_bytes < 10 * MEGABYTE else f"{size_bytes / MEGABYTE:.0f} MB"


def form_of(path: Path) -> str | None:
    """What a plain file is by its first bytes, if it is one of those that are often taken for another."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return None
    return next((form for start, form in _FORMS.items() if re.match(start, head, re.IGNORECASE)), None)


def reason_of(error: Exception) -> str:
    """The first line of what a parser says, in short."""
    match error:
        case RecursionError():
            return "it is nested too deeply"
        case MemoryError():
            return "it asks for more memory than there is"
        case UnicodeDecodeError():
            return f"it is no text in UTF-8 from byte {error.start} on"
    lines = str(error).strip().splitlines()
    said = lines[0] if lines else type(error).__name__
    return said if len(said) <= _REASON_CHARACTERS else f"{said[:_REASON_CHARACTERS]} ..."
