"""Arrays of an npz archive: sizes and types are judged by the directory and the arrays' headers, before unpacking."""

import math
import struct
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from handloom.runtime.errors import listed
from handloom.runtime.reading import MEGABYTE, reading

_MOST_BYTES = 1_000_000 * MEGABYTE
_MOST_UNPACKED_BYTES = 512 * MEGABYTE
_MOST_TIMES = 50
"""An archive may unpack to so many times its own size, if that is more: arrays of numbers are not packed better."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_SUFFIX = ".npy"
_LOCAL_HEADER_BYTES, _NAME_LENGTH_AT = 30, 26  # by the format of zip archives: APPNOTE.TXT, 4.3.7


def read_npz(
    path: Path, expected: str, advice: str, *, wanted: Collection[str] | None = None, absent: str | None = None
) -> dict[str, np.ndarray]:
    """The arrays of an npz archive by name, all or the `wanted` ones that it has; others are not unpacked.

    Raises InputError as `reading` does, and for members that are encrypted, doubled, packed in a way that NumPy does
    not, arrays of objects, and arrays that claim other sizes than the archive or would fill the memory.
    """
    with (
        reading(path, expected, advice, absent=absent, most_bytes=_MOST_BYTES) as file,
        zipfile.ZipFile(file) as archive,
    ):
        entries = {entry.filename.removesuffix(_SUFFIX): entry for entry in archive.infolist()}
        if len(entries) != len(archive.infolist()):
            raise ValueError("an array stands there twice")
        chosen = {name: entry for name, entry in entries.items() if wanted is None or name in wanted}
        unpacked = sum(entry.file_size for entry in chosen.values())
        most = max(_MOST_UNPACKED_BYTES, _MOST_TIMES * Path(path).stat().st_size)
        if unpacked > most:
            raise ValueError(
                f"{listed(list(chosen))} would take {unpacked / MEGABYTE:.0f} MB in memory, more than "
                f"{most / MEGABYTE:.0f} MB"
            )
        return {name: _array(archive, entry, name) for name, entry in chosen.items()}


def read_npy(path: Path, expected: str, advice: str) -> np.ndarray:
    """The array of an npy file; raises InputError as `reading` does, and for objects or another size than it claims."""
    with reading(path, expected, advice) as file:
        shape, kind, header_bytes = _header(file, "it")
        _require_filled("it", shape, kind, header_bytes, Path(path).stat().st_size)
        file.seek(0)
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
        return array


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> np.ndarray:
    if entry.flag_bits & 1:
        raise ValueError(f"{name} is encrypted")
    if entry.compress_type not in _METHODS:
        raise ValueError(f"{name} is packed by method {entry.compress_type}, which is none of NumPy's")
    _checked_layout(archive, entry, name)
    with archive.open(entry) as member:
        array: np.ndarray = np.lib.format.read_array(member, allow_pickle=False)
    return array


def mapped_array(path: Path, name: str, expected: str, advice: str) -> np.memmap:
    """An array that lies unpacked in an npz archive, mapped into memory; raises InputError as `read_npz` does."""
    with reading(path, expected, advice, most_bytes=_MOST_BYTES) as file, zipfile.ZipFile(file) as archive:
        entry = archive.getinfo(name + _SUFFIX)
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{name} is packed, but was expected as it is")
        shape, kind, header_bytes = _checked_layout(archive, entry, name)
        file.seek(entry.header_offset + _NAME_LENGTH_AT)
        name_bytes, extra_bytes = struct.unpack("<HH", file.read(4))
        start = entry.header_offset + _LOCAL_HEADER_BYTES + name_bytes + extra_bytes + header_bytes
        return np.memmap(path, dtype=kind, mode="r", offset=start, shape=shape)


def _checked_layout(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str
) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, type and bytes of the header of a member; raises ValueError unless it holds so many plain values."""
    with archive.open(entry) as member:
        shape, kind, header_bytes = _header(member, name)
    _require_filled(name, shape, kind, header_bytes, entry.file_size)
    return shape, kind, header_bytes


def _header(file: Any, name: str) -> tuple[tuple[int, ...], np.dtype, int]:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{name} is of npy version {version}, expected 1.0 or 2.0")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read(file)
    return shape, kind, file.tell()


def _require_filled(name: str, shape: tuple[int, ...], kind: np.dtype, header_bytes: int, file_bytes: int) -> None:
    if kind.hasobject or kind.kind not in "biufcUS":
        raise ValueError(f"{name} holds {kind}, but plain numbers or text were expected")
    if min(shape, default=0) < 0 or header_bytes + math.prod(shape) * kind.itemsize != file_bytes:
        raise ValueError(f"{name} claims the shape {shape} of {kind}, which its {file_bytes} bytes do not fill")
