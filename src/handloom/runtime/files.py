"""Files and folders that appear whole or not at all, and the plain formats: text, JSON, CSV."""

import csv
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handloom.runtime.errors import InputError, OutputError
from handloom.runtime.reading import MEGABYTE, reading

if TYPE_CHECKING:
    import pandas as pd

_AGAIN = "run the rule that makes it again"
_TEXT_BYTES = 64 * MEGABYTE
_LONGEST_INTEGER = 20
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}
_FULL_BYTES = MEGABYTE // 4
"""A disk with less room than this is full: file systems keep some blocks to themselves."""
_TEMPORARY = re.compile(r"\..+\.(?P<host>[0-9a-f]{6})-(?P<process>\d+)-[0-9a-f]{8}\.tmp(\..*)?")
_swept: set[Path] = set()
"""Folders that this process has cleaned of what dead ones left."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` (same suffix) that replaces it when the block succeeds.

    The file is flushed to disk before the rename; when the block fails it is removed and what lay at `path` stays.
    Raises OutputError for a full disk or a folder that cannot be written.
    """
    path = Path(path)
    temporary = _temporary(path)
    try:
        with writing(path, temporary):
            yield temporary
            flush(temporary)
            os.replace(temporary, path)
            flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary sibling of `path` that replaces it when the block succeeds and is removed otherwise.

    Raises OutputError as `atomic_path` does.
    """
    path = Path(path)
    temporary = _temporary(path)
    try:
        with writing(path, temporary):
            temporary.mkdir()
            yield temporary
            if path.exists():
                shutil.rmtree(path)
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary(path: Path) -> Path:
    """A name beside `path` that no other run takes; what dead processes of this machine left there is removed."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    if path.parent not in _swept:
        _swept.add(path.parent)
        for left in path.parent.glob(".*.tmp*"):
            owner = _TEMPORARY.fullmatch(left.name)
            if owner and owner["host"] == _host() and not _lives(int(owner["process"])):
                shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    return path.with_name(f".{path.stem}.{_host()}-{os.getpid()}-{secrets.token_hex(4)}.tmp{path.suffix}")


def _host() -> str:
    """This machine, in a name of letters and digits: a folder may be shared by several."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def flush(path: Path) -> None:
    """Have a file or folder on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Say what to do about a full disk and an unwritable folder; errors about files elsewhere pass unchanged.

    Encoders of pictures and videos tell a full disk in many ways, or in none but a failure: then the disks are asked.
    What was written so far is the size of `temporary`. Raises OutputError.
    """
    try:
        yield
    except OutputError:
        raise
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        free = {folder: _free_bytes(folder) for folder in (path.absolute().parent, Path(tempfile.gettempdir()))}
        fullest = min(free, key=lambda folder: free[folder])
        if number in _NO_ROOM or free[fullest] < _FULL_BYTES:
            number = number if number in _NO_ROOM else errno.ENOSPC
            written = _size_bytes(temporary or path)
            raise OutputError(
                number,
                f"no room to write {path}: {os.strerror(number)}; {written / MEGABYTE:.1f} MB of it were written and "
                f"more is needed, {free[fullest] / MEGABYTE:.1f} MB are free in {fullest}; free some space and run "
                "again",
            ) from error
        place = error.filename if isinstance(error, OSError) else None
        elsewhere = place is not None and not path.is_relative_to(Path(place).parent)
        if number in _NO_ACCESS and not elsewhere:
            advice = f"make {path.parent} a writable folder and run again"
            raise OutputError(number, f"cannot write {path}: {os.strerror(number)}; {advice}") from error
        raise


def _free_bytes(folder: Path) -> int:
    """Room on the disk of a folder that may not be there yet."""
    return shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.is_dir())).free


def _size_bytes(path: Path) -> int:
    """Of a file or of all files of a folder; zero where there is none."""
    paths = path.rglob("*") if path.is_dir() else (path,)
    return sum(each.stat().st_size for each in paths if each.is_file())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


# What file managers leave beside pictures.
_LITTER = {"Thumbs.db", "desktop.ini"}
# Below the folder that a run works in: digests of contents by path, which stay good while size and times do.
_KNOWN_CONTENTS = Path(".snakemake/handloom_contents.json")


def files_state(root: Path, patterns: Iterable[str] = ("**/*",)) -> str:
    """Digest of the names and contents of a file, or of a folder's files that match; hidden ones do not count.

    It changes where a picture is repainted or replaced, by an older one too, and not when a file is touched or the
    folder is moved. Contents are read again only when a file's size or times changed.
    """
    paths = [root] if root.is_file() else {path for pattern in patterns for path in root.glob(pattern)}
    names = {
        path: path.name if path == root else path.relative_to(root).as_posix()
        for path in paths
        if path.is_file() and not path.name.startswith(".") and path.name not in _LITTER
    }
    try:
        known: dict[str, list[Any]] = json.loads(_KNOWN_CONTENTS.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    state, fresh = hashlib.sha256(), {}
    for path, name in sorted(names.items(), key=lambda item: item[1]):
        found, place = path.stat(), str(path.absolute())
        stamp = [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
        if known.get(place, [])[:-1] != stamp:
            with path.open("rb") as file:
                known[place] = fresh[place] = [*stamp, hashlib.file_digest(file, "blake2b").hexdigest()[:32]]
        state.update(f"{name} {known[place][-1]}\n".encode(errors="surrogateescape"))
    if fresh and _KNOWN_CONTENTS.parent.is_dir():
        with suppress(OSError):  # it only saves time
            write_text(_KNOWN_CONTENTS, json.dumps(known))
    return state.hexdigest()[:16]


def require_writable(*folders: Path) -> None:
    """Raise OutputError unless each folder can be written to; one that is not there yet is judged by its parent."""
    for folder in folders:
        nearest = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
        if not nearest.is_dir():
            found = "a link that leads nowhere" if nearest.is_symlink() else "a file"
            raise OutputError(
                errno.ENOTDIR,
                f"{folder}: a folder for results was expected, but {nearest} is {found}; move it away and run again",
            )
        if not os.access(nearest, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            raise OutputError(
                errno.EACCES, f"{folder}: {nearest} cannot be written to; make it writable, or run in another folder"
            )


def write_table(path: Path, frame: "pd.DataFrame") -> None:
    """Write a table as CSV without its index."""
    write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON with sorted keys; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8."""
    write_bytes(Path(path), text.encode("utf-8"))


def read_table(path: Path, columns: Iterable[str]) -> "pd.DataFrame":
    """A table with at least the given columns and one row; raises InputError when the file holds no such table."""
    import pandas as pd

    with reading(path, "a table", _AGAIN, most_bytes=_TEXT_BYTES) as file:
        table = pd.read_csv(file)
    missing = set(columns) - set(table)
    if missing:
        raise InputError(f"{path}: lacks the columns {sorted(missing)}; {_AGAIN}")
    if table.empty:
        raise InputError(f"{path}: has no rows; {_AGAIN}")
    return table


def read_text(
    path: Path, expected: str, advice: str, *, absent: str | None = None, most_bytes: int = _TEXT_BYTES
) -> str:
    """A text in UTF-8, with or without a byte order mark; raises InputError as `reading` does."""
    with reading(path, expected, advice, absent=absent, most_bytes=most_bytes, may_be_empty=True) as file:
        return file.read().decode("utf-8-sig")


def read_json(
    path: Path,
    expected: str = "JSON",
    advice: str = "fetch or make it again",
    *,
    absent: str | None = None,
    most_bytes: int = 256 * MEGABYTE,
) -> Any:
    """Read a JSON file.

    Raises InputError as `reading` does, for a key that stands twice in an object and for an integer beyond 64 bits.
    """
    with reading(path, expected, advice, absent=absent, most_bytes=most_bytes) as file:
        return _parsed_json(file.read().decode("utf-8-sig"))


def _parsed_json(text: str) -> Any:
    huge: list[str] = []

    def integer(digits: str) -> int | str:
        if len(digits) <= _LONGEST_INTEGER and abs(value := int(digits)) < 2**63:
            return value
        huge.append(digits)
        return digits

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for place, name in enumerate(names) if name in names[:place])
            raise ValueError(f"the key '{twice}' stands there twice, but each may stand once")
        require_small([name for name, value in pairs if huge and huge[0] in str(value)])
        return found

    def require_small(names: list[str]) -> None:
        if huge:
            shown = huge[0] if len(huge[0]) <= 24 else f"{huge[0][:24]}..."
            raise ValueError(f"{names[0] if names else 'a number'} is {shown}, more than 64 bits hold")

    content = json.loads(text, object_pairs_hook=mapping, parse_int=integer)
    require_small([])
    return content


def read_rows(path: Path, expected: str, advice: str, *, absent: str | None = None) -> list[tuple[int, list[str]]]:
    """The rows of a CSV file that are not blank, each with its last line's number; raises InputError as `reading`."""
    with reading(path, expected, advice, absent=absent, most_bytes=_TEXT_BYTES) as file:
        reader = csv.reader(file.read().decode("utf-8-sig").splitlines())
        return [(reader.line_num, row) for row in reader if row]
