"""The user's own MANO files, `MANO_RIGHT.pkl` and `MANO_LEFT.pkl`, converted once to handloom's npz artifact.

The originals are pickles of Python 2 that hold objects of the package chumpy. They are read through the allow-list of
`runtime.pickles`, with inert records in place of chumpy's and scipy's classes: nothing of either is run.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csc_matrix

from handloom.hand.joints import MANO_FINGERTIPS_SMPLX, MANO_PARENTS
from handloom.hand.models import model_from_arrays, write_hand_model
from handloom.runtime.errors import InputError
from handloom.runtime.pickles import Global, load_pickle

MANO_VERTEX_COUNT = 778
_HOME = "https://mano.is.tue.mpg.de (mano_v1_2.zip, folder models)"
_SHAPES: dict[str, tuple[int | None, ...]] = {
    "v_template": (MANO_VERTEX_COUNT, 3),
    "shapedirs": (MANO_VERTEX_COUNT, 3, None),
    "posedirs": (MANO_VERTEX_COUNT, 3, 135),
    "J_regressor": (16, MANO_VERTEX_COUNT),
    "weights": (MANO_VERTEX_COUNT, 16),
    "f": (None, 3),
    "kintree_table": (2, 16),
    "hands_mean": (45,),
    "hands_components": (None, 45),
}
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
    content = load_pickle(path, _allowed())
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
    if not 0 <= arrays["f"].min() <= arrays["f"].max() < MANO_VERTEX_COUNT:
        raise InputError(f"{path}: its triangles name vertices that it lacks; fetch it again from {_HOME}")
    return arrays


def _mirrored_like_right(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Left shape directions with x as a mirror image has it: the opposite of the right hand's."""
    if left.shape != right.shape:
        return left
    as_right = np.abs(left[:, 0] - right[:, 0]).sum()
    as_mirrored = np.abs(left[:, 0] + right[:, 0]).sum()
    return left * np.array([-1.0, 1.0, 1.0])[:, None] if as_right < as_mirrored else left


def _checked(path: Path, name: str, value: object) -> np.ndarray:
    wanted = _SHAPES[name]
    try:
        array = _as_array(value)
    except (ValueError, TypeError, IndexError, RecursionError) as error:
        raise InputError(f"{path}: {name} cannot be put together ({error}); fetch it again from {_HOME}") from error
    if not fits(array.shape, wanted) or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise InputError(
            f"{path}: {name} is {array.dtype} of shape {array.shape}, but finite numbers of shape {wanted} were "
            f"expected (None is any size); fetch it again from {_HOME}"
        )
    return array


def fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    """Whether an array's shape is the wanted one, in which None is any size."""
    return len(shape) == len(wanted) and all(w in (None, s) for w, s in zip(wanted, shape, strict=True))


def _as_array(value: object) -> np.ndarray:
    """The numbers that a record stands for; an array that cannot be is given as objects, which no check accepts."""
    match value:
        case _Chumpy():
            return _as_array(value.state.get("x"))
        case _Selection():
            chosen = _as_array(value.state.get("a")).ravel()[_as_array(value.state.get("idxs")).astype(np.int64)]
            return chosen.reshape(value.state.get("preferred_shape", -1))
        case _SparseColumns():
            parts = tuple(_as_array(value.state.get(name)) for name in ("data", "indices", "indptr"))
            return csc_matrix(parts, shape=value.state.get("_shape")).toarray()
        case np.ndarray():
            return value
        case _:
            return np.array(value, dtype=object)


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
