"""What is scored of a sequence: the joints of a hand and the mesh of an object in every frame (facts/hold.md 4).

Files: `predictions.npz` of a reconstruction and `truth.npz` of a data set's annotation, whose object is one rigid
shape; the interchange file of another method brings its own shape for each frame.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from handloom.evaluation.frame_points import FramePoints
from handloom.runtime.artifacts import read_arrays
from handloom.runtime.errors import InputError

PREDICTIONS, TRUTH = "hold_predictions", "hold_truth"
_SHAPES: dict[str, tuple[int | str, ...]] = {
    "names": ("T",),
    "object_vertices_m": ("V", 3),
    "object_faces": ("F", 3),
    "cam_from_object": ("T", 4, 4),
    "hand_vertices_cam_m": ("T", "H", 3),
    "hand_joints_cam_m": ("T", 21, 3),
    "hand_faces": ("G", 3),
}


@dataclass(frozen=True)
class RigidObject:
    """One shape, and how it lies in each frame."""

    vertices_m: Float[np.ndarray, "vertices 3"]
    faces: Int[np.ndarray, "faces 3"]
    cam_from_object: Float[np.ndarray, "frames 4 4"]


@dataclass(frozen=True)
class FrameMeshes:
    """Hand and object of a sequence, in metres; the camera's axes, the origin the same for both of a frame.

    A failed frame holds NaN, or no vertex.
    """

    names: list[str]
    joints_m: Float[np.ndarray, "frames 21 3"]
    """The wrist first, the others in any one order."""
    object_points: FramePoints
    face_blocks: list[Int[np.ndarray, "_ 3"]]
    """The faces of every frame, or one block for all frames."""
    rigid: RigidObject | None = None
    hand_vertices_m: Float[np.ndarray, "frames vertices 3"] | None = None

    def faces(self, frame: int) -> Int[np.ndarray, "_ 3"]:
        """The object's faces in one frame."""
        return self.face_blocks[0] if len(self.face_blocks) == 1 else self.face_blocks[frame]


def read_predictions(path: Path) -> FrameMeshes:
    """The hand and object of `predictions.npz`; raises InputError when an array is missing or of another shape."""
    arrays, _ = read_arrays(path, PREDICTIONS)
    return _rigid_meshes(path, arrays)


def read_truth(path: Path) -> tuple[FrameMeshes, Bool[np.ndarray, " frames"]]:
    """The annotation of `truth.npz` and which frames have one; raises InputError as `read_predictions` does."""
    arrays, _ = read_arrays(path, TRUTH)
    meshes = _rigid_meshes(path, arrays)
    valid = arrays.get("valid")
    if valid is None or valid.shape != (len(meshes.names),):
        found = "no array 'valid'" if valid is None else f"'valid' of shape {valid.shape}"
        raise InputError(f"{path}: has {found}, but one value for each of {len(meshes.names)} frames was expected")
    return meshes, valid.astype(bool)


def matched(predicted: FrameMeshes, truth: FrameMeshes) -> FrameMeshes:
    """The predicted frames in the order of the ground truth, matched by name; one that is not predicted fails.

    Raises InputError when no name is in both.
    """
    row_of = {name: row for row, name in enumerate(predicted.names)}
    rows = np.array([row_of.get(name, -1) for name in truth.names])
    if not (rows >= 0).any():
        raise InputError(
            f"predicted frames {_some(predicted.names)}: none is among the {len(truth.names)} frames of the ground "
            f"truth {_some(truth.names)}; score with the annotation of the same sequence"
        )
    present = rows >= 0
    joints = np.where(present[:, None, None], predicted.joints_m[rows], np.nan)
    points = FramePoints.of_frames(
        [predicted.object_points.of(row) if row >= 0 else np.zeros((0, 3)) for row in rows.tolist()]
    )
    blocks = predicted.face_blocks
    if len(blocks) > 1:
        blocks = [blocks[row] if row >= 0 else np.zeros((0, 3), dtype=np.int64) for row in rows.tolist()]
    rigid = predicted.rigid
    if rigid is not None:
        pose = np.where(present[:, None, None], rigid.cam_from_object[rows], np.nan)
        rigid = RigidObject(rigid.vertices_m, rigid.faces, pose)
    hand = predicted.hand_vertices_m
    if hand is not None:
        hand = np.where(present[:, None, None], hand[rows], np.nan)
    return FrameMeshes(truth.names, joints, points, blocks, rigid, hand)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _rigid_meshes(path: Path, arrays: dict[str, np.ndarray]) -> FrameMeshes:
    _check(path, arrays)
    pose = arrays["cam_from_object"].astype(np.float64)
    vertices = arrays["object_vertices_m"].astype(np.float64)
    points = vertices @ pose[:, :3, :3].swapaxes(1, 2) + pose[:, None, :3, 3]
    faces = arrays["object_faces"].astype(np.int64)
    return FrameMeshes(
        names=[str(name) for name in arrays["names"]],
        joints_m=arrays["hand_joints_cam_m"].astype(np.float64),
        object_points=FramePoints.of_equal_frames(points),
        face_blocks=[faces],
        rigid=RigidObject(vertices, faces, pose),
        hand_vertices_m=arrays["hand_vertices_cam_m"].astype(np.float64),
    )


def _check(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Raise InputError unless every array is there and sizes agree."""
    missing = sorted(set(_SHAPES) - set(arrays))
    if missing:
        raise InputError(f"{path}: lacks the arrays {missing}; run the rule that makes it again")
    sizes: dict[str, int] = {}
    for name, expected in _SHAPES.items():
        shape = arrays[name].shape
        wanted = [sizes.setdefault(size, found) if isinstance(size, str) else size
                  for size, found in zip(expected, shape, strict=False)]  # fmt: skip
        if len(shape) != len(expected) or list(shape) != wanted:
            raise InputError(
                f"{path}: '{name}' has shape {shape}, but {expected} was expected, with sizes {sizes} from the arrays "
                "before it; run the rule that makes it again"
            )
    if len(set(arrays["names"].tolist())) < sizes["T"]:
        raise InputError(f"{path}: names a frame twice; every frame needs a name of its own")
    faces = arrays["object_faces"]
    if len(faces) and (faces.min() < 0 or faces.max() >= sizes["V"]):
        raise InputError(f"{path}: faces name vertex {faces.max()} of {sizes['V']}; extract the mesh again")
