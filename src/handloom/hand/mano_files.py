"""The user's own MANO files, `MANO_RIGHT.pkl` and `MANO_LEFT.pkl`, converted once to handloom's npz artifact.

The originals are pickles of Python 2 that hold objects of the package chumpy. They are read through the allow-list of
`runtime.pickles`, with inert records in place of chumpy's and scipy's classes: nothing of either is run.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from handloom.geometry.bounds import length_fault
from handloom.hand.joints import MANO_FINGERTIPS_SMPLX, MANO_PARENTS
from handloom.hand.models import array_fault, hand_shapes, model_from_arrays, write_hand_model
from handloom.runtime.errors import InputError
from handloom.runtime.pickles import Global, load_pickle
from handloom.runtime.reading import MEGABYTE, reason_of

MANO_VERTEX_COUNT = 778
_MOST_BYTES = 64 * MEGABYTE
_TEMPLATE_SIZE_M = (0.05, 1.0)
"""Wider than a hand, which it has to tell from one in another unit."""
_HOME = "https://mano.is.tue.mpg.de (mano_v1_2.zip, folder models)"
_SHAPES = {**hand_shapes(MANO_VERTEX_COUNT), "kintree_table": (2, 16)}
_NOTES = {"licence": "MANO licence, https://mano.is.tue.mpg.de/license.html; not to be passed on", "tips": "smplx"}


def convert_mano(right: Path, left: Path, right_npz: Path, left_npz: Path, *, fix_left_shapes: bool = True) -> None:
    """Stage: convert `MANO_RIGHT.pkl` and `MANO_LEFT.pkl` to npz files.

    In the published left hand the x components of the shape directions are those of the right hand, not mirrored, so
    that a shape widens one hand and narrows the other (smplx issue 48). They change sign here where they are so;
    `fix_left_shapes=False` keeps the file as published. Raises InputError when a file is missing, damaged or no MANO.
    """
    of_right, of_left = read_mano_pickle(right), read_mano_pickle(left)
    if fix_left_shapes:
        of_left["shapedirs"] = _mirrored_like_right(of_left["shapedirs"], of_right["shapedirs"])
    for side, arrays, path in (("right", of_right, right_npz), ("left", of_left, left_npz)):
        model = model_from_arrays({**arrays, "tip_vertices": np.array(MANO_FINGERTIPS_SMPLX), "side": np.array(side)})
        write_hand_model(path, model, {}, _NOTES)


def read_mano_pickle(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a published MANO file, without chumpy.

    Raises InputError when it is missing or damaged, asks to run anything, or does not hold a hand of 778 vertices.
    """
    content = load_pickle(path, _allowed(), advice=f"fetch it again from {_HOME}", most_bytes=_MOST_BYTES)
    if not isinstance(content, Mapping):
        raise InputError(
            f"{path}: holds a {type(content).__name__}, but MANO's dict of arrays was expected; see {_HOME}"
        )
    missing = sorted(_SHAPES.keys() - content.keys())
    if missing:
        raise InputError(f"{path}: lacks {missing}; a MANO hand was expected, from {_HOME}")
    arrays = {name: _checked(path, name, content[name]) for name in _SHAPES}
    # The root's parent is stored as the largest unsigned number.
    if tuple(arrays["kintree_table"][0, 1:].astype(np.int64)) != MANO_PARENTS[1:]:
        raise InputError(f"{path}: its joints do not form MANO's tree; a MANO hand was expected, from {_HOME}")
    size_m = float(np.linalg.norm(np.ptp(arrays["v_template"], axis=0)))
    if fault := length_fault(size_m, _TEMPLATE_SIZE_M, "the diagonal of the hand at rest"):
        raise InputError(f"{path}: {fault}; fetch it again from {_HOME}")
    return arrays


def _mirrored_like_right(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Left shape directions with x as a mirror image has it: the opposite of the right hand's."""
    if left.shape != right.shape:
        return left
    as_right = np.abs(left[:, 0] - right[:, 0]).sum()
    as_mirrored = np.abs(left[:, 0] + right[:, 0]).sum()
    return left * np.array([-1.0, 1.0, 1.0])[:, None] if as_right < as_mirrored else left


def _checked(path: Path, name: str, value: object) -> np.ndarray:
    try:
        array = _as_array(value)
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError, MemoryError) as error:
        raise InputError(
            f"{path}: {name} cannot be put together ({reason_of(error)}); fetch it again from {_HOME}"
        ) from error
    if fault := array_fault(array, _SHAPES[name], MANO_VERTEX_COUNT if name == "f" else None):
        raise InputError(f"{path}: {name} {fault}; fetch it again from {_HOME}")
    return array


def _as_array(value: object) -> np.ndarray:
    """The numbers that a record stands for; an array that cannot be is given as objects, which no check accepts."""
    match value:
        case _Chumpy():
            return _as_array(value.state.get("x"))
        case _Selection():
            entries, chosen = _as_array(value.state.get("a")).ravel(), _places(value.state.get("idxs"), "idxs")
            if len(chosen) and chosen.max() >= len(entries):
                raise ValueError(f"idxs names entry {chosen.max()} of {len(entries)}")
            return entries[chosen].reshape(value.state.get("preferred_shape", -1))
        case _SparseColumns():
            return _dense(**{name: value.state.get(name) for name in ("data", "indices", "indptr", "_shape")})
        case np.ndarray():
            return value
        case _:
            return np.array(value, dtype=object)


def _dense(data: object, indices: object, indptr: object, _shape: object) -> np.ndarray:
    """The matrix of sparse columns: the values of column c are data[indptr[c]:indptr[c + 1]], in the rows `indices`.

    Everything is checked first: native code that follows such numbers would write where they point to.
    """
    values, rows, pointers = _as_array(data), _places(indices, "indices"), _places(indptr, "indptr")
    if _shape != _SHAPES["J_regressor"] or values.dtype.kind not in "fiu" or values.ndim != 1:
        raise ValueError(f"{values.dtype} of shape {values.shape} for a matrix of shape {_shape}")
    if len(pointers) != _shape[1] + 1 or pointers[0] != 0 or (np.diff(pointers) < 0).any():
        raise ValueError(f"indptr has {len(pointers)} pointers, expected {_shape[1] + 1} that rise from 0")
    if not pointers[-1] == len(rows) == len(values):
        raise ValueError(f"indptr ends at {pointers[-1]}, but there are {len(rows)} indices of {len(values)} values")
    if len(rows) and rows.max() >= _shape[0]:
        raise ValueError(f"indices names row {rows.max()} of {_shape[0]}")
    matrix = np.zeros(_shape, dtype=np.result_type(values))
    np.add.at(matrix, (rows, np.repeat(np.arange(_shape[1]), np.diff(pointers))), values)
    return matrix


def _places(value: object, name: str) -> np.ndarray:
    """A list of indices; raises ValueError for other numbers and for negative ones."""
    array = _as_array(value)
    if array.dtype.kind not in "iu" or array.ndim != 1 or (array.size and array.min() < 0):
        raise ValueError(f"{name} is {array.dtype} of shape {array.shape}, expected a list of indices from 0 on")
    return array.astype(np.int64)


class _Record:
    """Keeps what a pickle says of an object and does nothing with it."""

    def __init__(self, *_: object) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        self.state = dict(state) if isinstance(state, Mapping) else {}


class _Chumpy(_Record):
    """chumpy.Ch: an array `x`."""


class _Selection(_Record):
    """chumpy.reordering.Select: entries `idxs` of the array `a`, in `preferred_shape`."""


class _SparseColumns(_Record):
    """scipy's csc_matrix."""


def _rebuilt(record: type, *_: object) -> _Record:
    """What `copy_reg._reconstructor(class, base, state)` gives, for records only."""
    if not (isinstance(record, type) and issubclass(record, _Record)):
        raise ValueError(f"asks to rebuild {record!r}")
    return record()


def _allowed() -> dict[Global, Callable[..., Any]]:
    """The further names a MANO file may ask for; classes made anew, so that no file can change those of the next."""
    chumpy, selection, sparse = (type(kind.__name__, (kind,), {}) for kind in (_Chumpy, _Selection, _SparseColumns))
    # Where Python 2 and 3, and older and newer packages, keep each.
    places: tuple[tuple[Callable[..., Any], str, tuple[str, ...]], ...] = (
        (chumpy, "Ch", ("chumpy", "chumpy.ch")),
        (selection, "Select", ("chumpy.reordering",)),
        (sparse, "csc_matrix", ("scipy.sparse.csc", "scipy.sparse._csc")),
        (_rebuilt, "_reconstructor", ("copy_reg", "copyreg")),
        (object, "object", ("__builtin__", "builtins")),
        (set, "set", ("__builtin__", "builtins")),
    )
    return {(module, name): kind for kind, name, modules in places for module in modules}
