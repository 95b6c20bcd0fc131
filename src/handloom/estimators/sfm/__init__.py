"""Poses and sparse shape of the held object before a static camera, by one of several backends, each a stage.

No module here but the backends' own imports pycolmap or hloc, and those run in a process of their own.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from handloom.runtime.config.base import Faults
from handloom.runtime.config.hold_stages import SfmSettings
from handloom.runtime.config.sequences import SequenceSettings


class Backend(NamedTuple):
    """A backend: its stage, and what that stage is given of the settings, so that it runs again for nothing else.

    `arguments` raises Faults where a sequence cannot have poses of this backend.
    """

    stage: str
    arguments: Callable[[SfmSettings, SequenceSettings], dict[str, Any]]
    of_masks: bool = True
    """Whether it looks at the frames and masks, or at the sequence's own files."""


def _without(*names: str) -> Callable[[SfmSettings, SequenceSettings], dict[str, Any]]:
    return lambda settings, _: {"settings": settings.model_dump(mode="json", exclude=set(names))}


def _annotated(settings: SfmSettings, sequence: SequenceSettings) -> dict[str, Any]:
    if sequence.kind != "ho3d":
        words = f"is known, but a sequence of kind {sequence.kind} brings no object poses; set it to pycolmap"
        raise Faults([("hold.sfm.backend", words)])
    return {"models": sequence.models, "min_registered": settings.min_registered}


_STAGE = "estimators.sfm.structure_from_motion:estimate_object_poses"
BACKENDS = {
    "pycolmap": Backend(_STAGE, _without("hloc")),
    "hloc": Backend(_STAGE, _without("mapper", "peak_threshold")),
    "known": Backend("estimators.sfm.known_poses:known_object_poses", _annotated, of_masks=False),
}
