"""The stage that writes a sequence's label images, whichever way they are made."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from handloom.datasets.mask_labels import LABEL_OF
from handloom.estimators.masks.files import read_mask_files
from handloom.estimators.masks.propagation import propagate
from handloom.estimators.masks.sam2 import track_with_sam2
from handloom.estimators.masks.sequence_files import frame_paths, read_label_sequence, write_label_sequence
from handloom.runtime.config.masks import MaskSettings
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_rgb

_LISTED = 8


def write_masks(
    settings: MaskSettings,
    frames_folder: Path,
    output_folder: Path,
    *,
    dataset_masks: Path | None = None,
    original_names: Sequence[str] | None = None,
    device: str = "cpu",
) -> None:
    """Write one label image (0, 50, 150, 250) per frame, under the frame's name.

    `dataset_masks` is the sequence's own folder of label images, for the source `dataset`; `original_names` are the
    frames' names before extraction, for files named so. Frames without an entity are counted and listed.
    Raises InputError for an entity missing in more than `empty_fraction` of the frames, and as the sources do.
    """
    frames = frame_paths(frames_folder)
    if settings.source == "files":
        if settings.files is None:
            raise InputError("masks.files: is not set, but masks.source is 'files'; say where the mask files lie")
        labels = read_mask_files(settings.files, frames, original_names)
    elif settings.source == "dataset":
        if dataset_masks is None:
            raise InputError(
                "masks.source: is 'dataset', but this sequence has no masks of its own; use propagation, sam2 or files"
            )
        labels = read_label_sequence(dataset_masks, frames)
    else:
        labels = _from_prompts(settings, frames, device)
    _require_entities(labels, [path.name for path in frames], settings, frames_folder)
    write_label_sequence(output_folder, [path.name for path in frames], labels)


def _from_prompts(
    settings: MaskSettings, frames: Sequence[Path], device: str
) -> UInt8[np.ndarray, "frames height width"]:
    marks = {prompts.frame: prompts.marked for prompts in settings.marks}
    if not marks:
        raise InputError(
            f"masks.prompts: is not set, but masks.source is '{settings.source}'; give the object and the hand a "
            "click, a box or an outline on one frame"
        )
    if max(marks) >= len(frames):
        raise InputError(
            f"masks.prompts.frame: is {max(marks)}, but the sequence has {len(frames)} frames, numbered from 0"
        )
    if settings.source == "sam2":
        return track_with_sam2(frames, marks, settings.sam2, device=device)
    return propagate(np.stack([read_rgb(path) for path in frames]), marks, settings.propagation)


def _require_entities(
    labels: UInt8[np.ndarray, "frames height width"], names: Sequence[str], settings: MaskSettings, folder: Path
) -> None:
    """The object and at least one hand must be there; an entity that appears at all must not be gone too often."""
    empty = {entity: ~(labels == label).any((1, 2)) for entity, label in LABEL_OF.items()}
    hands = empty["right"] & empty["left"] if empty["right"].all() or empty["left"].all() else empty["right"]
    for what, gone in (("object", empty["object"]), ("hand", hands)):
        missing = [name for name, is_gone in zip(names, gone, strict=True) if is_gone]
        listed = ", ".join(missing[:_LISTED]) + (", ..." if len(missing) > _LISTED else "")
        if gone.mean() > settings.empty_fraction:
            raise InputError(
                f"{folder}: the mask of the {what} is empty in {len(missing)} of {len(names)} frames ({listed}), more "
                f"than masks.empty_fraction = {settings.empty_fraction:g}; mark a frame on which it is seen well, use "
                "a box instead of a click, or bring masks of your own"
            )
        if missing:
            print(f"masks: no {what} in {len(missing)} of {len(names)} frames: {listed}", file=sys.stderr)
