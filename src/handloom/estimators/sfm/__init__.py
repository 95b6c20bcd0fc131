"""Poses and sparse shape of the held object before a static camera, by one of several backends, each a stage.

No module here but the backends' own imports pycolmap or hloc, and those run in a process of their own.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from handloom.runtime.config.base import Faults
from handloom.runtime.config.hold_stages import SfmSettings
from handloom.runtime.config.sequences import FrameSettings, SequenceSettings


class Backend(NamedTuple):
    """A backend: its stage, and what that stage is given of the settings, so that it runs again for nothing else.

    `arguments` raises Faults where a sequence cannot have poses of this backend.
    """

    stage: str
    arguments: Callable[[SfmSettings, SequenceSettings], dict[str, Any]]
    of_masks: bool = True
    """Whether it looks at the frames and masks, or at the sequence's own files."""
    skipped: bool = False
    """Whether it looks at the pictures that a sequence skips, too."""


def _without(*names: str) -> Callable[[SfmSettings, SequenceSettings], dict[str, Any]]:
    return lambda settings, _: {"settings": settings.model_dump(mode="json", exclude=set(names))}


def _with_skipped(settings: SfmSettings, sequence: SequenceSettings) -> dict[str, Any]:
    """With what leads to the pictures that a sequence skips, if it skips any."""
    footage = sequence.model_dump(mode="json", include=set(FrameSettings.model_fields)) if sequence.skips else None
    return {**_without("hloc")(settings, sequence), "footage": footage}


def _annotated(settings: SfmSettings, sequence: SequenceSettings) -> dict[str, Any]:
    if sequence.kind != "ho3d":
        words = f"is known, but a sequence of kind {sequence.kind} brings no object poses; set it to pycolmap"
        raise Faults([("hold.sfm.backend", words)])
    return {"models": sequence.models, "min_registered": settings.min_registered}


def _brought(settings: SfmSettings, sequence: SequenceSettings) -> dict[str, Any]:
    if sequence.colmap_model is None:
        words = "is colmap_model, but the sequence names none: set its colmap_model to the folder"
        raise Faults([("hold.sfm.backend", words)])
    return {"min_registered": settings.min_registered}


def colmap_model_fault(folder: Path) -> str | None:
    """Why a folder is no COLMAP model by its files' names; None if it may be one."""
    parts = ("cameras", "images", "points3D")
    if any(all((folder / f"{name}.{ending}").is_file() for name in parts) for ending in ("bin", "txt")):
        return None
    return "holds no cameras, images and points3D, all as .bin or all as .txt; name the folder that has them"


_STAGE = "estimators.sfm.structure_from_motion:estimate_object_poses"
BACKENDS = {
    "pycolmap": Backend(_STAGE, _with_skipped, skipped=True),
    "hloc": Backend(_STAGE, _without("mapper", "peak_threshold", "field_of_view_deg")),
    "known": Backend("estimators.sfm.known_poses:known_object_poses", _annotated, of_masks=False),
    "colmap_model": Backend("estimators.sfm.colmap_model:poses_of_colmap_model", _brought, of_masks=False),
}
