"""Masks and object poses of a sequence, from wherever its settings say: the data set, files, or an estimate."""

from pathlib import Path

import numpy as np

from handloom.datasets.dataset_masks import dataset_masks
from handloom.datasets.frames_file import read_frames_file
from handloom.datasets.ho3d import read_sequence
from handloom.estimators.masks.picture import mask_sheet
from handloom.estimators.masks.sequence_masks import write_masks
from handloom.estimators.sfm.known_poses import known_object_poses
from handloom.estimators.sfm.object_poses import estimate_object_poses
from handloom.estimators.sfm.picture import object_pose_sheet
from handloom.runtime.config.hold import HoldSequenceSettings
from handloom.runtime.config.sfm import SfmSettings
from handloom.runtime.errors import InputError


def sequence_masks(
    sequence: HoldSequenceSettings,
    frames: Path,
    frames_json: Path,
    output: Path,
    picture: Path,
    *,
    device: str = "cpu",
) -> None:
    """Stage: one label image per frame, and a picture to check them.

    Raises InputError as the sources do, and for masks of a data set that has none.
    """
    if sequence.masks.source == "dataset":
        if sequence.kind not in ("ho3d", "build"):
            raise InputError(
                f"sequence {sequence.path}: is of kind {sequence.kind}, which brings no masks; set masks.source to "
                "propagation and mark hand and object in masks.prompts, or to files"
            )
        dataset_masks(sequence, frames_json, output)
    else:
        names = read_frames_file(frames_json).names
        write_masks(sequence.masks, frames, output, original_names=names, device=device)
    mask_sheet(frames, output, picture)


def sequence_object_poses(
    settings: SfmSettings,
    sequence: HoldSequenceSettings,
    frames: Path,
    frames_json: Path,
    masks: Path,
    output: Path,
    picture: Path,
    *,
    seed: int,
) -> None:
    """Stage: the object's poses by SfM or, with the backend `known`, from the data set; and a picture to check them.

    Raises InputError as the backends do, and for known poses of a source that has none.
    """
    known = read_frames_file(frames_json).intrinsics
    intrinsics = None if known is None else np.asarray(known, float)
    if settings.backend != "known":
        estimate_object_poses(settings, frames, masks, output, known_intrinsics=intrinsics, seed=seed)
    else:
        _annotated_poses(settings, sequence, frames_json, output, seed)
    object_pose_sheet(frames, output, picture)


def _annotated_poses(
    settings: SfmSettings, sequence: HoldSequenceSettings, frames_json: Path, output: Path, seed: int
) -> None:
    if sequence.kind != "ho3d":
        raise InputError(
            f"sequence {sequence.path}: is of kind {sequence.kind}, which brings no object poses; "
            "set hold.sfm.backend to pycolmap"
        )
    annotated = read_sequence(Path(sequence.path))
    if annotated.intrinsics is None:
        raise InputError(
            f"sequence {sequence.path}: none of its annotations tells the camera; set hold.sfm.backend to pycolmap"
        )
    row_of = {picture.name: row for row, picture in enumerate(annotated.pictures)}
    rows = [row_of[name] for name in read_frames_file(frames_json).names]
    model = annotated.object_model(None if sequence.models is None else Path(sequence.models))
    known_object_poses(
        annotated.intrinsics,
        annotated.cam_from_object[rows],
        model.vertices_m,
        output,
        valid=annotated.valid[rows],
        min_registered=settings.min_registered,
        seed=seed,
    )
