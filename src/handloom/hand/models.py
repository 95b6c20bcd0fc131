"""Hand models: MANO's arrays in a file, the CC0 hand that handloom ships, and which of them a run uses."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch

from handloom.hand.anatomy import Anatomy, mirror_pose
from handloom.hand.joints import MANO_PARENTS, MIRROR, Side
from handloom.hand.mano import HandModel
from handloom.runtime.artifacts import Header, read_arrays, write_arrays
from handloom.runtime.errors import InputError

KIND = "hand_model"
HandFiles = Path | Sequence[Path] | None
"""Converted models of a sequence's hands, one file a hand; None for the embedded right hand alone."""
_REAL = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "hands_mean", "hands_components")


def configured_hand(converted: str | Path | None, side: Side = "right") -> HandModel:
    """The model in `converted` (resources/mano/mano_*.npz), or without one the embedded hand of that side."""
    return open_hand(side) if not converted else read_hand_model(Path(converted))[0]


def configured_hands(converted: HandFiles) -> dict[Side, HandModel]:
    """The models of a sequence's hands by their sides, in its order; without a file the embedded right hand."""
    given = [converted] if converted is None or isinstance(converted, Path) else converted
    models = [configured_hand(each) for each in given]
    return {model.side: model for model in models}


@cache
def _arrays() -> dict[str, np.ndarray]:
    with as_file(files("handloom.data") / "open_hand_right.npz") as path:
        return read_hand_model(path)[1]


def open_hand(side: Side = "right") -> HandModel:
    """The embedded hand in float32 on the CPU; the left hand is the right one mirrored."""
    right = model_from_arrays(_arrays())
    return right if side == "right" else mirrored(right)


def open_hand_anatomy() -> Anatomy:
    """The axes and rest angles of the embedded right hand's joints."""
    return Anatomy(*(torch.from_numpy(_arrays()[name]) for name in ("rest_frames", "rest_angles_rad")))


def write_open_hand(model: Path, *, side: Side) -> None:
    """Stage: the embedded hand of a side as a file, as that of MANO is one."""
    source = "the embedded right hand" + (", mirrored" if side == "left" else "")
    write_hand_model(model, open_hand(side), {}, {"source": source})


def require_sides(path: Path, sides: Iterable[Side | str], models: Mapping[Side, HandModel]) -> None:
    """Raise InputError for what a file tells of other hands than the models'."""
    found, wanted = (" and a ".join(each) for each in (sides, models))
    if found != wanted:
        raise InputError(
            f"{path}: is of a {found} hand, but the hand model is a {wanted} one; run the rules that make it again, "
            "and check the sequence's hands"
        )


def mirrored(model: HandModel) -> HandModel:
    """The other hand: x changes sign in all lengths and faces turn round, so that they still look outwards.

    A pose p of one hand is `mirror_pose(p)` of the other. Pose correctives act on the entries of R - I, and S R S
    changes the sign of those with exactly one index x, so their directions change with them.
    """
    flip = torch.tensor(MIRROR)
    entry_sign = (flip[:, None] * flip).flatten().repeat(15)
    pose_space = torch.cat([model.hands_mean[None], model.hands_components])
    mean, *components = mirror_pose(pose_space.unflatten(1, (15, 3))).flatten(1)
    return replace(
        model,
        v_template=model.v_template * flip,
        shapedirs=model.shapedirs * flip[:, None],
        posedirs=model.posedirs * flip[:, None] * entry_sign,
        faces=model.faces.flip(1),
        uv_faces=None if model.uv_faces is None else model.uv_faces.flip(1),
        hands_mean=mean,
        hands_components=torch.stack(components),
        side="left" if model.side == "right" else "right",
    )


def write_hand_model(path: Path, model: HandModel, extra: dict[str, np.ndarray], notes: dict[str, str]) -> None:
    """Write a model and arrays that belong to it; the file also loads as MANO's npz in other software.

    `notes` (licence, source) go into the header.
    """
    arrays = {name: getattr(model, name).numpy() for name in _REAL}
    arrays |= {
        "f": model.faces.numpy().astype(np.uint16),
        "kintree_table": np.array([MANO_PARENTS, range(len(MANO_PARENTS))], dtype=np.int32),
        "tip_vertices": np.array(model.tip_vertices, dtype=np.int32),
        "side": np.array(model.side),
    }
    if model.uv is not None and model.uv_faces is not None:
        arrays |= {"uv": model.uv.numpy(), "uv_faces": model.uv_faces.numpy().astype(np.uint16)}
    header = Header(KIND, units="m", frame=f"{model.side}_hand_rest", joint_order="MANO16", extra=notes)
    write_arrays(path, arrays | extra, header)


def read_hand_model(path: Path) -> tuple[HandModel, dict[str, np.ndarray]]:
    """Read what `write_hand_model` wrote: the model in float32, and all arrays of the file.

    Raises InputError for a file that is not such an artifact, lacks an array or has one of other numbers.
    """
    arrays, _ = read_arrays(path, KIND)
    missing = {*_REAL, "f", "tip_vertices", "side"} - arrays.keys()
    if missing:
        raise InputError(f"{path}: lacks the arrays {sorted(missing)} of a hand model; convert it again")
    vertices = len(np.atleast_1d(arrays["v_template"]))
    for name, wanted in {**hand_shapes(vertices), "tip_vertices": (5,)}.items():
        if fault := array_fault(arrays[name], wanted, vertices if name in ("f", "tip_vertices") else None):
            raise InputError(f"{path}: {name} {fault}; convert it again")
    return model_from_arrays(arrays), arrays


def hand_shapes(vertices: int) -> dict[str, tuple[int | None, ...]]:
    """The shapes of the arrays of a hand model with so many vertices; None is any length."""
    return {
        "v_template": (vertices, 3),
        "shapedirs": (vertices, 3, None),
        "posedirs": (vertices, 3, 135),
        "J_regressor": (16, vertices),
        "weights": (vertices, 16),
        "f": (None, 3),
        "hands_mean": (45,),
        "hands_components": (None, 45),
    }


def fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    """Whether an array's shape is the wanted one, in which None is any size."""
    return len(shape) == len(wanted) and all(w in (None, s) for w, s in zip(wanted, shape, strict=True))


def array_fault(array: np.ndarray, wanted: tuple[int | None, ...], vertices: int | None = None) -> str:
    """Why an array holds no finite numbers of a shape, or no integers below `vertices`; "" for none."""
    if (
        not fits(array.shape, wanted)
        or array.dtype.kind not in ("fiu" if vertices is None else "iu")
        or not np.isfinite(array).all()
    ):
        what = "finite numbers" if vertices is None else "integers"
        return f"is {array.dtype} of shape {array.shape}, but {what} of shape {wanted} were expected (None is any size)"
    if vertices is not None and array.size and not 0 <= array.min() <= array.max() < vertices:
        return f"names vertices from {array.min()} to {array.max()}, but there are {vertices}"
    return ""


def model_from_arrays(arrays: dict[str, np.ndarray]) -> HandModel:
    """The model held by MANO's named arrays, its real numbers in float32."""
    optional = {"uv": _tensor(arrays["uv"]), "uv_faces": _indices(arrays["uv_faces"])} if "uv" in arrays else {}
    thumb, index, middle, ring, pinky = (int(vertex) for vertex in arrays["tip_vertices"])
    return HandModel(
        **{name: _tensor(arrays[name]) for name in _REAL},
        faces=_indices(arrays["f"]),
        tip_vertices=(thumb, index, middle, ring, pinky),
        side="left" if str(arrays["side"]) == "left" else "right",
        **optional,
    )


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32))


def _indices(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.int64))
