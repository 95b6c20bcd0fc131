"""Everything about HOLD: the sequences, and the stages from their frames to the tables."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from handloom.runtime.config.base import Settings
from handloom.runtime.config.fields import CompactSettings, HoldNetRunSettings
from handloom.runtime.config.hand_estimation import HandEstimationSettings
from handloom.runtime.config.hold_stages import (
    AlignmentSettings,
    HandRegistrationSettings,
    RefinementSettings,
    SfmSettings,
)
from handloom.runtime.config.sequences import DemoSequencesSettings, SequenceSettings


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
    sequences: dict[str, SequenceSettings | None] = Field(
        {}, description="The sequences in the tables, by name; null leaves out one that another file names."
    )
    protocol: Literal["faithful", "per_frame"] = Field(
        "faithful", description="faithful: CD and F-scores of the first frame, as published; per_frame: of every frame."
    )
    interchange: dict[OtherMethod, dict[str, str | None]] = Field(
        {},
        description="Results of iHOI and DiffHOI to score beside HOLD's: method, sequence and the file that you wrote "
        "(docs/interchange.md), as in {iHOI: {ABF12: data/ihoi/ABF12.npz}}.",
    )
    seed: int = Field(1, ge=0, description="Root of everything random in the reconstruction.")
    sfm: SfmSettings = SfmSettings()
    hand: HandTrackingSettings = HandTrackingSettings()
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
        for name in self.sequences:
            if not name.replace("_", "").replace("-", "").isalnum():
                raise ValueError(f"sequences.{name}: a name has letters, digits, - and _ only, as it names a folder")
        if self.hand.estimation.side != "right":
            raise ValueError(
                "hand.estimation.side is left, but the stages of HOLD take the right hand's model so far; "
                "mirror the video and set right"
            )
        rendered = {} if self.demo is None else {name: HOLD_DEMO_ROOT / "train" / name for name in self.demo.sequences}
        for name, path in rendered.items():
            if name in self.chosen and Path(self.chosen[name].path) != path:
                raise ValueError(
                    f"sequences.{name}.path is {self.chosen[name].path}, but the demo renders it to {path}"
                )
        for name, sequence in self.chosen.items():
            if name not in rendered and Path(sequence.path).is_relative_to(HOLD_DEMO_ROOT):
                raise ValueError(
                    f"sequences.{name}.path is {sequence.path}, but hold.demo.sequences does not render it"
                )
        for name in self.holdnet.checkpoints:
            if name not in self.chosen:
                raise ValueError(
                    f"holdnet.checkpoints.{name}: no such sequence; hold.sequences has {', '.join(self.chosen)}"
                )
        for method, name in self.others:
            if name not in self.chosen:
                raise ValueError(
                    f"interchange.{method}.{name}: no such sequence; hold.sequences has {', '.join(self.chosen)}"
                )
            if self.chosen[name].kind != "ho3d":
                raise ValueError(
                    f"interchange.{method}.{name}: the sequence is of kind {self.chosen[name].kind}, which has "
                    "no annotation to score against; expected kind ho3d"
                )
        return self

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
        """The sequences that are not left out."""
        return {name: sequence for name, sequence in self.sequences.items() if sequence is not None}
