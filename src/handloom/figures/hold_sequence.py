"""A reconstructed sequence as the figures show it: the frames' pictures, the camera, hand and object in each frame."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from handloom.datasets.frames_file import read_frames_file
from handloom.evaluation.frame_meshes import PREDICTIONS
from handloom.runtime.artifacts import read_arrays
from handloom.runtime.errors import InputError
from handloom.runtime.finite_arrays import read_finite_arrays
from handloom.runtime.images import read_rgb

HAND_RGB = (229, 178, 140)
OBJECT_RGB = (86, 150, 200)


@dataclass(frozen=True)
class HoldSequence:
    """What `predictions.npz`, the frames and the camera tell; metres, OpenCV camera."""

    names: list[str]
    pictures: list[Path]
    intrinsics: Float[np.ndarray, "3 3"]
    object_vertices_m: Float[np.ndarray, "vertices 3"]
    object_faces: Int[np.ndarray, "faces 3"]
    cam_from_object: Float[np.ndarray, "frames 4 4"]
    hand_vertices_cam_m: Float[np.ndarray, "frames hand 3"]
    hand_joints_cam_m: Float[np.ndarray, "frames 21 3"]
    hand_faces: Int[np.ndarray, "hand_faces 3"]

    @property
    def usable(self) -> list[int]:
        """Frames whose hand and object are finite."""
        finite = np.isfinite(self.cam_from_object).all((1, 2)) & np.isfinite(self.hand_vertices_cam_m).all((1, 2))
        return [int(frame) for frame in np.flatnonzero(finite)]

    def object_cam_m(self, frame: int) -> Float[np.ndarray, "vertices 3"]:
        """The object's vertices in a frame's camera."""
        pose = self.cam_from_object[frame]
        return np.asarray(self.object_vertices_m @ pose[:3, :3].T + pose[:3, 3])

    def picture(self, frame: int) -> UInt8[np.ndarray, "height width 3"]:
        """The photograph of a frame."""
        return read_rgb(self.pictures[frame])


def read_hold_sequence(predictions: Path, frames: Path, frames_json: Path) -> HoldSequence:
    """Put the files of a sequence together.

    `frames` is the folder of `%04d.png` that `frames_json` lists. Raises InputError when a predicted frame has no
    picture, no frame is usable, or the predictions hold no finite camera.
    """
    arrays, _ = read_arrays(predictions, PREDICTIONS)
    intrinsics = read_finite_arrays(predictions, PREDICTIONS, ("intrinsics",))[0]["intrinsics"]
    row_of = {name: row for row, name in enumerate(read_frames_file(frames_json).names)}
    names = [str(name) for name in arrays["names"]]
    strangers = [name for name in names if name not in row_of]
    if strangers:
        raise InputError(
            f"{predictions}: predicts {len(strangers)} frames that {frames_json} does not list ({strangers[0]}, ...); "
            "extract the frames of the same sequence"
        )
    sequence = HoldSequence(
        names=names,
        pictures=[frames / f"{row_of[name]:04d}.png" for name in names],
        intrinsics=intrinsics.astype(np.float64),
        object_vertices_m=arrays["object_vertices_m"].astype(np.float64),
        object_faces=arrays["object_faces"].astype(np.int64),
        cam_from_object=arrays["cam_from_object"].astype(np.float64),
        hand_vertices_cam_m=arrays["hand_vertices_cam_m"].astype(np.float64),
        hand_joints_cam_m=arrays["hand_joints_cam_m"].astype(np.float64),
        hand_faces=arrays["hand_faces"].astype(np.int64),
    )
    if not sequence.usable:
        raise InputError(f"{predictions}: has no frame with both hand and object; there is nothing to show")
    return sequence
