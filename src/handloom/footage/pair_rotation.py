"""rotation.json: how the second camera is turned against the first, at the start and after adaptation."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation
from torch import Tensor

from handloom.footage.camera_rotation import StartRotation
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json, write_json


def write_rotation(path: Path, start: StartRotation, rotation_12: Float[Tensor, "3 3"], pairs: int) -> None:
    """Write the rotations at the start and the end: x_right = right_from_left x_left for directions (columns)."""
    deviation = start.deviation_deg
    write_json(
        path,
        {
            "start": _described(start.rotation_12),
            "start_is_of": "poses" if start.deviation_deg is None else "key points",
            "start_deviation_deg": None if deviation is None or not math.isfinite(deviation) else deviation,
            "of_poses": _described(start.of_poses.rotation_12)
            | {"median_angle_of_single_pairs_deg": start.of_poses.spread_deg},
            "end": _described(rotation_12),
            "turned_deg": float(np.degrees((_turn(rotation_12) * _turn(start.rotation_12).inv()).magnitude())),
            "pairs": pairs,
            "frames": "OpenCV cameras: x right, y down, z forward; x_right = right_from_left x_left for directions",
        },
    )


def read_rotation_12(path: Path, which: str = "end") -> Float[Tensor, "3 3"]:
    """R12 of rows of poses, p_right = p_left R12, the transpose of right_from_left; raises InputError without it."""
    content = read_json(path)
    try:
        matrix = np.array(content[which]["right_from_left"], dtype=np.float64).reshape(3, 3)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: has no matrix {which}.right_from_left ({error}); adapt again") from error
    return torch.from_numpy(matrix.T.copy())


def _turn(rotation_12: Float[Tensor, "3 3"]) -> Rotation:
    return Rotation.from_matrix(rotation_12.double().cpu().numpy().T)


def _described(rotation_12: Float[Tensor, "3 3"]) -> dict[str, Any]:
    turn = _turn(rotation_12)
    vector = turn.as_rotvec()
    angle = float(np.linalg.norm(vector))
    return {
        "right_from_left": turn.as_matrix().tolist(),
        "angle_deg": float(np.degrees(angle)),
        "axis": (vector / angle if angle > 0 else np.array([0.0, 0.0, 1.0])).tolist(),
    }
