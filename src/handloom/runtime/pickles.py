"""Pickles from outside, read through an allow-list: numbers, containers and NumPy arrays, and nothing that runs.

A pickle is a program; what it may call is decided in `find_class`. Everything not listed is refused, by name.
"""

import io
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from handloom.runtime.errors import InputError

Global = tuple[str, str]
"""Module and name, as a pickle asks for them."""

_REBUILD_ARRAY = np.zeros(1).__reduce__()[0]
_REBUILD_SCALAR = np.float64(0).__reduce__()[0]
_ARRAY_FROM_BUFFER = np.zeros(1).__reduce_ex__(5)[0]
_ARRAYS: Mapping[Global, Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _REBUILD_ARRAY,
    ("numpy._core.multiarray", "_reconstruct"): _REBUILD_ARRAY,
    ("numpy.core.numeric", "_frombuffer"): _ARRAY_FROM_BUFFER,
    ("numpy._core.numeric", "_frombuffer"): _ARRAY_FROM_BUFFER,
    ("numpy.core.multiarray", "scalar"): _REBUILD_SCALAR,
    ("numpy._core.multiarray", "scalar"): _REBUILD_SCALAR,
}

PICKLE_DAMAGE = (
    *(pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, KeyError, AttributeError),
    *(OverflowError, MemoryError, RecursionError),
)
"""What the unpickler raises for bytes that are no pickle, or claim sizes that no memory holds."""


def _latin1_bytes(text: str, encoding: str) -> bytes:
    """What protocol 2 uses to store bytes: only this encoding occurs, and other codecs are not offered."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in encoding {encoding!r}")
    return text.encode(encoding)


class AllowListUnpickler(pickle.Unpickler):
    """Loads numbers, containers, NumPy arrays and what `allowed` adds; raises pickle.UnpicklingError for the rest."""

    def __init__(self, content: bytes, allowed: Mapping[Global, Callable[..., Any]]) -> None:
        # latin1 keeps the bytes of NumPy arrays that Python 2 pickled
        super().__init__(io.BytesIO(content), encoding="latin1")
        self._allowed = {**_ARRAYS, ("_codecs", "encode"): _latin1_bytes, **allowed}

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in self._allowed:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}, which is not allowed")
        return self._allowed[module_name, global_name]


def load_pickle(path: Path, allowed: Mapping[Global, Callable[..., Any]] | None = None) -> Any:
    """Read a pickle of numbers, strings, containers and NumPy arrays.

    `allowed` adds callables for further (module, name) pairs; they are called with what the file gives, so they must be
    harmless. Raises InputError when the file is missing, damaged or asks for anything else; nothing of it is run then.
    """
    path = Path(path)
    try:
        return AllowListUnpickler(path.read_bytes(), allowed or {}).load()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the folder that the configuration names") from error
    except PICKLE_DAMAGE as error:
        raise InputError(
            f"{path}: is no pickle of numbers and arrays ({error or type(error).__name__}); fetch it again"
        ) from error
