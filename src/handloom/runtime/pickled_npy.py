"""Dictionaries pickled into NumPy files, as HOLD keeps all of its results: data.npy and those of its first stages.

They are read through an allow-list, so nothing in them runs, and written so that `np.load(path,
allow_pickle=True).item()` gives the dictionary under any NumPy since 1.17, with equal bytes for equal content.
"""

import io
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from handloom.runtime.pickles import AllowListUnpickler, Global
from handloom.runtime.reading import reading

_PROTOCOL = 3
"""The newest whose globals are plain text, which `_with_old_numpy_names` rewrites."""
_REAL_TYPES = (torch.float32, torch.float64, torch.int64, torch.int32)


def read_data(path: Path, what: str = "the data.npy of a build folder") -> dict[str, Any]:
    """The dictionary of such a file, which should be `what`: numbers, text, containers, NumPy arrays and torch tensors.

    Raises InputError when the file is missing, damaged, no pickled dictionary, or asks for anything else.
    """
    expected = f"a pickled dictionary of numbers and arrays, {what}"
    with reading(path, expected, "fetch or make it again") as file:
        np.lib.format.read_magic(file)
        shape, _, kind = np.lib.format.read_array_header_1_0(file)
        if shape != () or not kind.hasobject:
            raise ValueError(f"an array of {kind} of shape {shape}")
        content = AllowListUnpickler(file.read(), _ALLOWED).load().item()
        if not isinstance(content, dict):
            raise ValueError(f"a {type(content).__name__}")
    return content


def pickled_npy(content: dict[str, Any]) -> bytes:
    """The bytes of such a file that holds `content`."""
    file = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": ()}
    np.lib.format.write_array_header_1_0(file, header)
    pickled = io.BytesIO()
    _PlainPickler(pickled, _PROTOCOL).dump(np.array(content, dtype=object))
    return file.getvalue() + _with_old_numpy_names(pickled.getvalue())


class _PlainPickler(pickle.Pickler):
    """Tensors as `torch.Tensor(numbers)`: their own form holds a memory address and changes from run to run."""

    def reducer_override(self, value: Any) -> Any:
        return (torch.Tensor, (value.float().tolist(),)) if isinstance(value, Tensor) else NotImplemented


def _with_old_numpy_names(content: bytes) -> bytes:
    """NumPy 2 names its functions numpy._core, which NumPy 1 does not know; numpy.core is known to both."""
    operations = [(operation.name, argument, position) for operation, argument, position in pickletools.genops(content)]
    ends = [position for _, _, position in operations[1:]] + [len(content)]
    parts = []
    for (name, argument, position), end in zip(operations, ends, strict=True):
        if name == "GLOBAL" and str(argument).startswith("numpy._core"):
            module, function = str(argument).replace("numpy._core", "numpy.core").split(" ")
            parts.append(f"c{module}\n{function}\n".encode())
        else:
            parts.append(content[position:end])
    return b"".join(parts)


def _storage_from_bytes(content: bytes) -> torch.storage.TypedStorage:
    """A tensor's numbers, through torch's own loader of weights, which runs nothing."""
    try:
        storage = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise pickle.UnpicklingError(f"a damaged tensor: {error}") from error
    if not isinstance(storage, torch.storage.TypedStorage):
        raise pickle.UnpicklingError(f"a {type(storage).__name__} instead of a tensor's numbers")
    return storage


def _tensor_from_storage(
    storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_ignored: Any
) -> Tensor:
    numbers = (offset, *size, *stride)
    if not isinstance(storage, torch.storage.TypedStorage) or not all(type(n) is int and n >= 0 for n in numbers):
        raise pickle.UnpicklingError("a tensor without numbers or with a strange shape")
    empty: Tensor = torch._utils._rebuild_tensor(storage, 0, (0,), (1,))
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    filled = (last + 1) * empty.element_size() <= empty.untyped_storage().nbytes()
    if empty.dtype not in _REAL_TYPES or 0 in size or not filled:
        raise pickle.UnpicklingError(f"a tensor of shape {size} that its numbers do not fill")
    # Copied, since strides may overlap.
    return empty.set_(empty.untyped_storage(), offset, size, stride).clone()


def _tensor_from_numbers(numbers: Any) -> Tensor:
    # torch.Tensor(10**12) would claim memory, so only lists of numbers become tensors.
    if not isinstance(numbers, list):
        raise pickle.UnpicklingError("a tensor that is no list of numbers")
    return torch.tensor(numbers, dtype=torch.float32)


def _path(*parts: Any) -> str:
    """A path as text: nothing is looked up."""
    return "/".join(str(part) for part in parts)


_ALLOWED: Mapping[Global, Callable[..., Any]] = {
    ("torch.storage", "_load_from_bytes"): _storage_from_bytes,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor_from_storage,
    ("torch", "Tensor"): _tensor_from_numbers,
    ("collections", "OrderedDict"): OrderedDict,
    ("pathlib", "PosixPath"): _path,
}
