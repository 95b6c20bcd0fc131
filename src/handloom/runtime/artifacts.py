"""Result files that appear whole or not at all, each with a header that says what it holds.

Arrays are npz archives without pickles, weights are safetensors, tables are CSV and scalars JSON. Equal content gives
equal bytes, so that two runs can be compared file by file.
"""

import errno
import io
import json
import os
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from handloom.runtime.errors import InputError, OutputError

if TYPE_CHECKING:
    import pandas as pd
    import torch

_HEADER = "header"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Header:
    """What an artifact holds: kind, units, frame, joint order, and the seed, code and configuration it came from."""

    kind: str
    units: str = ""
    frame: str = ""
    joint_order: str = ""
    seed: int | None = None
    code: str = ""
    config: str = ""
    schema_version: int = 1
    extra: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """The header as one line of JSON with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True)


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


def _write_bytes(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], header: Header) -> None:
    """Write named arrays as a compressed npz archive with fixed time stamps, in sorted order.

    Raises InputError for an object array, which only a pickle could hold.
    """
    path = Path(path)
    objects = [name for name, array in arrays.items() if np.asarray(array).dtype.hasobject]
    if objects or _HEADER in arrays:
        raise InputError(
            f"{path}: arrays {objects or [_HEADER]} refused: an array may hold no objects and not be named '{_HEADER}'"
        )
    members: dict[str, np.ndarray] = {
        _HEADER: np.array(header.to_json()),
        **{name: arrays[name] for name in sorted(arrays)},
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in members.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=_ZIP_EPOCH)
            archive.writestr(entry, member.getbuffer(), compress_type=zipfile.ZIP_DEFLATED, compresslevel=1)
    _write_bytes(path, buffer.getvalue())


def read_arrays(path: Path, kind: str) -> tuple[dict[str, np.ndarray], Header]:
    """Read what `write_arrays` wrote; the header's kind must be `kind`.

    Raises InputError when the file is missing, truncated, pickled, of another kind or of a newer version.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a '{kind}' artifact. Run the rule that makes it.")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path}: not a readable '{kind}' artifact ({error}); delete it and run the rule that makes it again"
        ) from error
    if _HEADER not in arrays:
        raise InputError(f"{path}: has no header; expected a '{kind}' artifact written by handloom")
    return arrays, _checked_header(path, str(arrays.pop(_HEADER)), kind)


def write_weights(path: Path, state: "Mapping[str, torch.Tensor]", header: Header) -> None:
    """Write a state dict as safetensors, its header under the one metadata key `handloom`."""
    from safetensors.torch import save

    # One key only: the order of several metadata keys is not fixed, and equal content must give equal bytes.
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    _write_bytes(Path(path), save(tensors, metadata={"handloom": header.to_json()}))


def read_weights(path: Path, kind: str) -> "tuple[dict[str, torch.Tensor], Header]":
    """Read what `write_weights` wrote, onto the CPU; raises InputError as `read_arrays` does."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected '{kind}' weights. Run the rule that makes them.")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open cannot be iterated)
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: not a readable safetensors file ({error}); delete it and run the rule that makes it again"
        ) from error
    if "handloom" not in metadata:
        raise InputError(f"{path}: has no handloom header; expected '{kind}' weights written by handloom")
    return state, _checked_header(path, metadata["handloom"], kind)


def _checked_header(path: Path, text: str, kind: str) -> Header:
    try:
        header = Header(**json.loads(text))
    except (json.JSONDecodeError, TypeError) as error:
        raise InputError(
            f"{path}: its header cannot be read ({error}); delete it and run the rule that makes it again"
        ) from error
    if header.kind != kind:
        raise InputError(
            f"{path}: holds '{header.kind}', but '{kind}' was expected; check which file is named in the configuration"
        )
    if header.schema_version > Header(kind).schema_version:
        raise InputError(
            f"{path}: is of version {header.schema_version}, newer than this handloom can read; update handloom"
        )
    return header


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
    _write_bytes(Path(path), text.encode("utf-8"))
