"""The truth that HOLD's results are scored against, from an HO3D-v3 sequence (HOLD's `code/src/utils/io/gt.py`)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from handloom.datasets.frames import read_frames
from handloom.datasets.hand_and_object import HoldTruth
from handloom.datasets.ho3d import read_sequence
from handloom.hand.joints import SNAP_FINGERTIPS
from handloom.hand.mano import HandModel
from handloom.hand.models import HandFiles, configured_hands
from handloom.runtime.errors import InputError

_OTHER_MODEL_M = 0.005  # with the same hand model they agree to rounding
_NO_TIPS = [joint for joint in range(21) if joint not in SNAP_FINGERTIPS]


def write_truth(
    source: Path, frames: Path, frames_json: Path, truth: Path, *, models: Path | None = None, hand: HandFiles = None
) -> None:
    """Stage: write the annotation of the extracted frames.

    Hand vertices and joints come from the hand model with the annotated pose, as HOLD's scorer has it. Raises
    InputError when a frame is not of the sequence, or the annotated joints lie more than 5 mm (median) from the
    model's: then they were made with another hand model.
    """
    hands = configured_hands(hand)
    made = {
        side: _of_hand(source, read_frames(frames, frames_json).names, model, models) for side, model in hands.items()
    }
    HoldTruth.save_each(truth, made)


def _of_hand(source: Path, names: Sequence[str], model: HandModel, models: Path | None) -> HoldTruth:
    sequence = read_sequence(source, model.side)
    rows = sequence.rows_of(names)
    valid = sequence.valid[rows]
    posed = sequence.skinned_hands(model)
    vertices = np.where(valid[:, None, None], posed.vertices_m.double().numpy()[rows], np.nan)
    joints = np.where(valid[:, None, None], posed.keypoints_m.double().numpy()[rows], np.nan)
    # Tips are left out: every package picks other vertices for them.
    offset = np.linalg.norm(joints - sequence.hand_joints_cam_m[rows], axis=-1)[:, _NO_TIPS]
    if valid.any() and np.nanmedian(offset) > _OTHER_MODEL_M:
        raise InputError(
            f"{source / 'meta'}: the annotated joints lie {1000 * np.nanmedian(offset):.1f} mm from those of the hand "
            "model in use; expected at most 5 mm. They were made with another hand model: set `mano`; "
            "if they are of the other hand: the sequence's hands"
        )
    thing = sequence.object_model(models)
    return HoldTruth(
        names=np.array([sequence.names[row] for row in rows]),
        object_vertices_m=thing.vertices_m,
        object_faces=thing.faces,
        cam_from_object=sequence.cam_from_object[rows],
        hand_vertices_cam_m=vertices.astype(np.float32),
        hand_joints_cam_m=joints,
        hand_faces=model.faces.numpy(),
        valid=valid,
        side=model.side,
    )
