"""Everything about HOLD: the sequences, and the stages from their frames to the tables."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, model_validator

from handloom.runtime.config.base import MOST_SEED, Faults, Settings
from handloom.runtime.config.fields import CompactSettings, HoldNetRunSettings
from handloom.runtime.config.hand_estimation import HandEstimationSettings
from handloom.runtime.config.hold_stages import (
    AlignmentSettings,
    HandRegistrationSettings,
    RefinementSettings,
    SfmSettings,
)
from handloom.runtime.config.sequences import (
    TWO_HANDED,
    DemoSequence,
    DemoSequencesSettings,
    EntryName,
    SequenceSettings,
)


class HandTrackingSettings(Settings):
    """Hand estimates, their registration and the alignment with the object."""

    estimation: HandEstimationSettings = Field(HandEstimationSettings(), description="Joints in each frame.")
    registration: HandRegistrationSettings = Field(HandRegistrationSettings(), description="Poses from joints.")
    alignment: AlignmentSettings = Field(AlignmentSettings(), description="Hand and object together.")


HOLD_DEMO_ROOT = Path("resources/demo/HO3D_v3")
OtherMethod = Literal["iHOI", "DiffHOI"]


class HoldSettings(Settings):
    """HOLD: hand and object from one video."""

    demo: DemoSequencesSettings | None = Field(
        None, description="Sizes of the rendered sequences; null when none is rendered."
    )
    sequences: dict[EntryName, SequenceSettings | None] = Field(
        {},
        description="The sequences in the tables, by name; null leaves out one that another file names. Those of the "
        "demo that hold.demo.sequences does not render are left out, too.",
    )
    protocol: Literal["faithful", "per_frame"] = Field(
        "faithful", description="faithful: CD and F-scores of the first frame, as published; per_frame: of every frame."
    )
    interchange: dict[OtherMethod, dict[str, str | None]] = Field(
        {},
        description="Results of iHOI and DiffHOI to score beside HOLD's: method, sequence and the file that you wrote "
        "(docs/interchange.md), as in {iHOI: {ABF12: data/ihoi/ABF12.npz}}.",
    )
    seed: int = Field(1, ge=0, le=MOST_SEED, description="Root of everything random in the reconstruction.")
    sfm: SfmSettings = SfmSettings()
    hand: HandTrackingSettings = HandTrackingSettings()
    object_cells: int = Field(
        64,
        ge=16,
        le=512,
        description="Nodes a side of the grid of the object's shape; 96 finds finer detail for twice the time.",
    )
    field: Literal["compact", "holdnet"] = Field(
        "compact",
        description="What phases 1 and 3 train: compact, the voxel fields, for a CPU; holdnet, the paper's networks, "
        "for a GPU.",
    )
    compact: CompactSettings = CompactSettings()
    holdnet: HoldNetRunSettings = HoldNetRunSettings()
    refinement: RefinementSettings = RefinementSettings()

    @model_validator(mode="after")
    def _names_and_demo_agree(self) -> "HoldSettings":
        Faults.require_none([*self._demo_faults(), *self._unusable()])
        return self

    def _demo_faults(self) -> Iterator[tuple[str, str]]:
        for name, sequence in self.chosen.items():
            path, place = Path(sequence.path), f"sequences.{name}.path"
            if name in self._rendered and path != _demo_path(name):
                yield place, f"is {path}, but the demo renders it to {_demo_path(name)}"
            elif name in self._rendered and (len(sequence.hands) > 1) != (name in TWO_HANDED):
                wanted = "[right, left]" if name in TWO_HANDED else "one hand, [right] or [left]"
                yield f"sequences.{name}.hands", f"is {list(sequence.hands)}, but the demo renders it with {wanted}"
            elif name not in self._rendered and path.is_relative_to(HOLD_DEMO_ROOT):
                yield place, f"is {path}, but hold.demo.sequences does not render it"

    def _unusable(self) -> Iterator[tuple[str, str]]:
        known = f"hold.sequences has {', '.join(self.chosen) or 'none'}"
        for name in self.holdnet.checkpoints:
            if name not in self.chosen:
                yield f"holdnet.checkpoints.{name}", f"no such sequence; {known}"
            elif self.field != "holdnet":
                yield (
                    f"holdnet.checkpoints.{name}",
                    f"is set, but hold.field is {self.field}, which would not read it; set hold.field to holdnet, or "
                    "remove it",
                )
        for name, sequence in self.chosen.items():
            if len(sequence.hands) > 1 and (why := self._one_hand_only()):
                yield f"sequences.{name}.hands", f"is {list(sequence.hands)}, but {why}"
            if sequence.object_size_m is not None and (why := self._size_not_taken(sequence)):
                yield f"sequences.{name}.object_size_m", f"is set, but {why}"
        for method, name in self.others:
            if name not in self.chosen:
                yield f"interchange.{method}.{name}", f"no such sequence; {known}"
            elif self.chosen[name].kind != "ho3d":
                yield (
                    f"interchange.{method}.{name}",
                    f"the sequence is of kind {self.chosen[name].kind}, which has no annotation to score against; "
                    "expected kind ho3d",
                )

    def _one_hand_only(self) -> str | None:
        """Why two hands cannot be reconstructed with these settings, if so."""
        if self.field == "holdnet":
            return "hold.field: holdnet takes one hand so far; set compact, or name one hand"
        if self.hand.alignment.fidelity == "faithful":
            return "hold.hand.alignment.fidelity: faithful aligns one hand; set fixed, or name one hand"
        return None

    def _size_not_taken(self, sequence: SequenceSettings) -> str | None:
        """Why a known size would not be read, if so."""
        alignment = self.hand.alignment
        if sequence.kind == "build":
            return "a build folder brings its own scale; remove it"
        if alignment.fidelity == "faithful":
            return "hold.hand.alignment.fidelity is faithful, which does not read it; set fixed, or remove it"
        if alignment.object_scale is not None:
            return "hold.hand.alignment.object_scale fixes the size as well; remove one of them"
        return None

    @property
    def others(self) -> dict[tuple[OtherMethod, str], str]:
        """The files of other methods, by method and sequence."""
        return {
            (method, sequence): path
            for method, files in self.interchange.items()
            for sequence, path in files.items()
            if path is not None
        }

    @property
    def chosen(self) -> dict[str, SequenceSettings]:
        """The sequences that are not left out, neither by null nor as one of the demo's that it does not render."""
        return {
            name: sequence
            for name, sequence in self.sequences.items()
            if sequence is not None
            and (
                name in self._rendered or name not in get_args(DemoSequence) or Path(sequence.path) != _demo_path(name)
            )
        }

    @property
    def _rendered(self) -> tuple[DemoSequence, ...]:
        return () if self.demo is None else self.demo.sequences


def _demo_path(name: str) -> Path:
    """Where the demo renders a sequence."""
    return HOLD_DEMO_ROOT / "train" / name
