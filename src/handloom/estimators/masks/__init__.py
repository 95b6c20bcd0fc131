"""Masks of the held object and the hands, from one of several sources, each a stage."""

from collections.abc import Callable
from typing import Any, NamedTuple

from handloom.runtime.config.base import Faults
from handloom.runtime.config.sequences import MaskFilesSettings, SequenceSettings


class MaskSource(NamedTuple):
    """A source of masks: its stage, and what that stage is given, so that it runs again for nothing else.

    `given` is the setting, below that of the sequence, of the file or folder that is read besides the frames, and its
    path; `arguments` are the rest, but for the device. Both raise Faults, below the sequence's settings, where it has
    no such masks.
    """

    stage: str
    arguments: Callable[[SequenceSettings], dict[str, Any]]
    given: Callable[[SequenceSettings], tuple[str, str] | None] = lambda _: None
    on_device: bool = False


def _of_dataset(sequence: SequenceSettings) -> dict[str, Any]:
    if sequence.kind not in ("ho3d", "build"):
        words = (
            f"is dataset, but a sequence of kind {sequence.kind} brings no masks; set it to propagation and mark hand "
            "and object in masks.prompts, or to files"
        )
        raise Faults([("masks.source", words)])
    return {"kind": sequence.kind, "hands": list(sequence.hands)}


def _files(sequence: SequenceSettings) -> MaskFilesSettings:
    if sequence.masks.files is None:
        raise Faults([("masks.files", "is not set, but masks.source is files; say where the mask files lie")])
    return sequence.masks.files


def _of_files(sequence: SequenceSettings) -> dict[str, Any]:
    convention = _files(sequence).model_dump(mode="json", exclude={"folder"})
    return {"settings": convention, **_limits(sequence)}


def _marked(sequence: SequenceSettings) -> dict[str, Any]:
    masks = sequence.masks
    if not masks.marks:
        words = (
            f"is not set, but masks.source is {masks.source}; give the object and the hand a click, a box or an "
            "outline on one frame"
        )
        raise Faults([("masks.prompts", words)])
    return {"marks": [each.model_dump(mode="json") for each in masks.marks], **_limits(sequence)}


def _limits(sequence: SequenceSettings) -> dict[str, Any]:
    masks = sequence.masks
    return {"empty_fraction": masks.empty_fraction, "largest_share": masks.largest_share, "hands": list(sequence.hands)}


def _checkpoint(sequence: SequenceSettings) -> tuple[str, str]:
    if not sequence.masks.sam2.checkpoint:
        words = (
            "is not set, but masks.source is sam2; download a checkpoint of SAM 2 yourself (its licence is Apache-2.0) "
            "and name its file here, with the matching masks.sam2.config"
        )
        raise Faults([("masks.sam2.checkpoint", words)])
    return "masks.sam2.checkpoint", sequence.masks.sam2.checkpoint


SOURCES = {
    "propagation": MaskSource(
        "estimators.masks.propagation:propagated_masks",
        lambda sequence: {**_marked(sequence), "still_camera": sequence.masks.propagation.still_camera},
    ),
    "sam2": MaskSource(
        "estimators.masks.sam2:tracked_masks",
        lambda sequence: {**_marked(sequence), "config": sequence.masks.sam2.config},
        given=_checkpoint,
        on_device=True,
    ),
    "files": MaskSource(
        "estimators.masks.mask_files:masks_of_files",
        _of_files,
        given=lambda sequence: ("masks.files.folder", _files(sequence).folder),
    ),
    "dataset": MaskSource(
        "estimators.masks.mask_files:masks_of_dataset", _of_dataset, given=lambda sequence: ("path", sequence.path)
    ),
}
