"""Pickles from outside, read through an allow-list: numbers, containers and NumPy arrays, and nothing that runs.

A pickle is a program; what it may call is decided in `find_class`. Everything not listed is refused, by name. NumPy
follows what a pickle says of its types and shapes, so that is checked first.
"""

import io
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from handloom.runtime.reading import MEGABYTE, reading

Global = tuple[str, str]
"""Module and name, as a pickle asks for them."""

_EMPTY_ARRAY: Any = np.zeros(1).__reduce__()[0]
_SCALAR = np.float64(0).__reduce__()[0]
_ARRAY_FROM_BUFFER = np.zeros(1).__reduce_ex__(5)[0]
_TYPE = re.compile(r"[<>|=]?([biufc]\d{1,2}|[SU]\d{1,9}|O8?|\?)")


class _NdArray:
    """Stands for the class numpy.ndarray, which a pickle only hands on: called, it would claim any memory."""

    def __new__(cls, *_: object) -> "_NdArray":
        raise pickle.UnpicklingError("it calls numpy.ndarray itself")


def _rebuilt_array(kind: object, shape: object, _code: object) -> np.ndarray:
    """The empty array that its state is then given to."""
    if kind is not _NdArray or shape not in ((0,), ()):
        raise pickle.UnpicklingError(f"it rebuilds an array of shape {shape}")
    array: np.ndarray = _EMPTY_ARRAY(np.ndarray, (0,), b"b")
    return array


def _dtype(text: object, *_: object) -> np.dtype:
    if not isinstance(text, str) or not _TYPE.fullmatch(text):
        raise pickle.UnpicklingError(f"it asks for arrays of the type {text!r}, which is not allowed")
    return np.dtype(text, False, True)  # copied: its state is set


def _latin1_bytes(text: str, encoding: str) -> bytes:
    """What protocol 2 uses to store bytes: only this encoding occurs, and other codecs are not offered."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in encoding {encoding!r}")
    return text.encode(encoding)


def _no_bytes() -> bytes:
    """`bytes()`, as which protocol 2 stores that there are none; a number would claim memory."""
    return b""


_ALLOWED: Mapping[Global, Any] = {
    ("_codecs", "encode"): _latin1_bytes,
    ("__builtin__", "bytes"): _no_bytes,
    ("numpy", "ndarray"): _NdArray,
    ("numpy", "dtype"): _dtype,
    **{
        (f"numpy.{core}.{module}", name): function
        for core in ("core", "_core")
        for module, name, function in (
            ("multiarray", "_reconstruct", _rebuilt_array),
            ("multiarray", "scalar", _SCALAR),
            ("numeric", "_frombuffer", _ARRAY_FROM_BUFFER),
        )
    },
}


_Unpickler: Any = pickle._Unpickler
"""Python's own in Python: the one in C does not ask before it sets a state."""


class AllowListUnpickler(_Unpickler):
    """Loads numbers, containers, NumPy arrays and what `allowed` adds; raises pickle.UnpicklingError for the rest."""

    dispatch: ClassVar[dict[int, Any]] = dict(_Unpickler.dispatch)

    def __init__(self, content: bytes, allowed: Mapping[Global, Callable[..., Any]]) -> None:
        # latin1 keeps the bytes of NumPy arrays that Python 2 pickled
        super().__init__(io.BytesIO(content), encoding="latin1")
        self._allowed = {**_ALLOWED, **allowed}

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in self._allowed:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}, which is not allowed")
        return self._allowed[module_name, global_name]

    def load_build(self) -> None:
        """Give an object its state; a NumPy type's may say its byte order and nothing else that is not so already."""
        kind, state = self.stack[-2], self.stack[-1]
        if isinstance(kind, np.dtype):
            own = kind.__reduce__()[2]
            if not isinstance(state, tuple) or len(state) != len(own) or (state[0], *state[2:]) != (own[0], *own[2:]):
                raise pickle.UnpicklingError(f"it gives the type {kind} the state {state!r}")
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build


def load_pickle(
    path: Path,
    allowed: Mapping[Global, Callable[..., Any]] | None = None,
    *,
    advice: str = "fetch it again",
    most_bytes: int = 1000 * MEGABYTE,
) -> Any:
    """Read a pickle of numbers, strings, containers and NumPy arrays.

    `allowed` adds callables for further (module, name) pairs; they are called with what the file gives, so they must be
    harmless. Raises InputError when the file is missing, damaged or asks for anything else; nothing of it is run then.
    """
    absent = "check the folder that the configuration names"
    with reading(path, "a pickle of numbers and arrays", advice, absent=absent, most_bytes=most_bytes) as file:
        return AllowListUnpickler(file.read(), allowed or {}).load()
