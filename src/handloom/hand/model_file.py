"""Hand models on disk: MANO's arrays under MANO's names, as an npz artifact without pickles."""

from pathlib import Path

import numpy as np
import torch

from handloom.hand.joints import MANO_PARENTS
from handloom.hand.mano import HandModel
from handloom.runtime.artifacts import Header, read_arrays, write_arrays
from handloom.runtime.errors import InputError

KIND = "hand_model"
_REAL = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "hands_mean", "hands_components")


def write_hand_model(path: Path, model: HandModel, extra: dict[str, np.ndarray], notes: dict[str, str]) -> None:
    """Write a model and arrays that belong to it; the file also loads as MANO's npz in other software.

    `notes` go into the header: licence, source.
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

    Raises InputError for a file that is not such an artifact or lacks an array.
    """
    arrays, _ = read_arrays(path, KIND)
    missing = {*_REAL, "f", "tip_vertices", "side"} - arrays.keys()
    if missing:
        raise InputError(f"{path}: lacks the arrays {sorted(missing)} of a hand model; convert it again")
    return model_from_arrays(arrays), arrays


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
