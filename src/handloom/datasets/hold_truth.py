"""The truth that HOLD's results are scored against, from an HO3D-v3 sequence (facts/hold.md 4)."""

from pathlib import Path

import numpy as np

from handloom.datasets.frames_file import read_frames_file
from handloom.datasets.ho3d import Ho3dSequence, read_sequence
from handloom.hand.joints import SNAP_FINGERTIPS
from handloom.hand.mano import HandModel
from handloom.runtime.artifacts import Header, write_arrays
from handloom.runtime.config.sequences import SequenceSettings
from handloom.runtime.errors import InputError

KIND = "hold_truth"
_OTHER_MODEL_M = 0.005
_NO_TIPS = [joint for joint in range(21) if joint not in SNAP_FINGERTIPS]


def write_truth(settings: SequenceSettings, model: HandModel, frames_json: Path, output: Path) -> None:
    """Write the annotation of the extracted frames: meshes, poses, `valid` (kind `hold_truth`, metres, OpenCV camera).

    Rows of invalid frames are NaN. Hand vertices and joints come from `model` with the annotated pose, as HOLD's
    scorer has it. Raises InputError when the sequence is no HO3D one, a frame is not of it, or the annotated joints lie
    more than 5 mm (median) from the model's: then they were made with another hand model.
    """
    if settings.kind != "ho3d":
        raise InputError(f"sequence {settings.path}: is of kind {settings.kind}; only ho3d sequences have a truth")
    sequence = read_sequence(Path(settings.path))
    rows = _rows(sequence, read_frames_file(frames_json).names)
    valid = sequence.valid[rows]
    hands = sequence.skinned_hands(model)
    vertices = np.where(valid[:, None, None], hands.vertices_m.double().numpy()[rows], np.nan)
    joints = np.where(valid[:, None, None], hands.keypoints_m.double().numpy()[rows], np.nan)
    _require_same_hand(sequence, joints, rows)
    thing = sequence.object_model(None if settings.models is None else Path(settings.models))
    arrays = {
        "names": np.array([sequence.names[row] for row in rows]),
        "object_vertices_m": thing.vertices_m,
        "object_faces": thing.faces,
        "cam_from_object": sequence.cam_from_object[rows],
        "hand_vertices_cam_m": vertices.astype(np.float32),
        "hand_joints_cam_m": joints,
        "hand_faces": model.faces.numpy(),
        "valid": valid,
    }
    write_arrays(output, arrays, Header(KIND, units="m", frame="camera (OpenCV)", joint_order="SNAP"))


def _rows(sequence: Ho3dSequence, names: tuple[str, ...]) -> np.ndarray:
    row = {name: index for index, name in enumerate(sequence.names)}
    foreign = [name for name in names if name not in row]
    if foreign:
        raise InputError(
            f"{sequence.folder / 'rgb'}: lacks the frame {foreign[0]} ({len(foreign)} in all); extract the frames again"
        )
    return np.array([row[name] for name in names], dtype=np.int64)


def _require_same_hand(sequence: Ho3dSequence, joints_cam_m: np.ndarray, rows: np.ndarray) -> None:
    # Tips are left out: every package picks other vertices for them.
    offset = np.linalg.norm(joints_cam_m - sequence.hand_joints_cam_m[rows], axis=-1)[:, _NO_TIPS]
    if sequence.valid[rows].any() and np.nanmedian(offset) > _OTHER_MODEL_M:
        raise InputError(
            f"{sequence.folder / 'meta'}: the annotated joints lie {1000 * np.nanmedian(offset):.1f} mm from those of "
            "the hand model in use; expected at most 5 mm. They were made with another hand model: set `mano`"
        )
