"""Files and folders that appear whole or not at all, and the plain formats: text, JSON, CSV."""

import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handloom.runtime.errors import InputError, OutputError

if TYPE_CHECKING:
    import pandas as pd

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` (same suffix) that replaces it when the block succeeds.

    The file is flushed to disk before the rename; when the block fails it is removed and what lay at `path` stays.
    Raises OutputError for a full disk or a folder that cannot be written.
    """
    path = Path(path)
    # The name is unique, so two runs that write the same result never share a half-written file.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(4)}.tmp{path.suffix}")
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _writing(path):
            yield temporary
            _flush(temporary)
            os.replace(temporary, path)
            _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Say what to do about a full disk and an unwritable folder; errors about files elsewhere pass unchanged."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            advice = "free some space and run again"
            raise OutputError(error.errno, f"no room to write {path}: {error.strerror}; {advice}") from error
        elsewhere = error.filename is not None and not path.is_relative_to(Path(error.filename).parent)
        if error.errno in _NO_ACCESS and not elsewhere:
            advice = f"make {path.parent} a writable folder and run again"
            raise OutputError(error.errno, f"cannot write {path}: {error.strerror}; {advice}") from error
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary sibling of `path` that replaces it when the block succeeds and is removed otherwise."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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


def require_regular(path: Path, what: str) -> None:
    """Raise InputError unless a path leads to a regular file: reading a pipe or a device may never end."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InputError(f"{path}: no such {what} ({error.strerror}); check the folder in the configuration") from error
    if not stat.S_ISREG(mode):
        found = "a folder" if stat.S_ISDIR(mode) else "a pipe, a device or a socket"
        raise InputError(f"{path}: is {found}, but the file of a {what} was expected; remove it")


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


def read_json(path: Path) -> Any:
    """Read a JSON file; raises InputError when it is missing or cut short."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; expected JSON") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not whole, valid JSON ({error}); fetch or make it again") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8."""
    write_bytes(Path(path), text.encode("utf-8"))


def read_table(path: Path, columns: Iterable[str]) -> "pd.DataFrame":
    """A table with at least the given columns and one row; raises InputError when the file holds no such table."""
    import pandas as pd

    try:
        table = pd.read_csv(path)
    except (FileNotFoundError, pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a table ({error}); run the rule that makes it again") from error
    missing = set(columns) - set(table)
    if missing:
        raise InputError(f"{path}: lacks the columns {sorted(missing)}; run the rule that makes it again")
    if table.empty:
        raise InputError(f"{path}: has no rows; run the rule that makes it again")
    return table
