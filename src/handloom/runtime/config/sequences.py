"""Video sequences of a hand and an object: where each comes from, how much of it is used, and the demo's sizes."""

from typing import Literal

from pydantic import Field, PositiveFloat, model_validator

from handloom.runtime.config.base import Settings

SequenceKind = Literal["ho3d", "video", "frames", "build"]
DemoSequence = Literal["jug1", "carton1", "lamp1"]


class SequenceSettings(Settings):
    """One sequence: a right hand (or both) with one object before a static camera."""

    kind: SequenceKind = Field(
        description="ho3d: a sequence's folder in HO3D-v3; video: a file; frames: a folder of pictures; build: "
        "a folder as HOLD trains from."
    )
    path: str = Field(description="The file or folder.")
    models: str | None = Field(
        None, description="ho3d: folder of YCB-style models; null is the folder models beside train."
    )
    first: int = Field(0, ge=0, description="Number of the first frame used, counted from 0.")
    every: int = Field(1, ge=1, description="Use every so manieth frame.")
    most: int | None = Field(None, ge=2, description="Use at most so many frames; null uses all.")
    longest_side_px: int = Field(2000, ge=32, description="Larger frames are made smaller until no side exceeds this.")
    frames_per_second: float = Field(
        30.0, gt=0, le=1000, description="Of folders of pictures, which have no time stamps (frames, ho3d, build)."
    )
    camera_px: tuple[PositiveFloat, PositiveFloat, float, float] | None = Field(
        None, description="fx, fy, cx, cy of the frames as they come (video, frames); null estimates the focal length."
    )

    @model_validator(mode="after")
    def _camera_is_not_given_twice(self) -> "SequenceSettings":
        if self.camera_px is not None and self.kind not in ("video", "frames"):
            raise ValueError(f"camera_px is set, but a sequence of kind {self.kind} brings its own camera; remove it")
        return self

    @model_validator(mode="after")
    def _build_folders_are_taken_whole(self) -> "SequenceSettings":
        fields = type(self).model_fields
        changed = [name for name in ("first", "every", "most") if getattr(self, name) != fields[name].default]
        if self.kind == "build" and changed:
            raise ValueError(f"{', '.join(changed)} set, but a build folder is trained on as a whole; remove it")
        return self


class DemoSequencesSettings(Settings):
    """The rendered HOLD sequences in HO3D-v3's layout."""

    seed: int = Field(2024, ge=0, description="Root of everything random in the sequences.")
    sequences: tuple[DemoSequence, ...] = Field(("jug1", "carton1"), min_length=1, description="Sequences to render.")
    frames: int = Field(60, ge=2, le=400, description="Frames per sequence.")
    width_px: int = Field(480, ge=64, description="Width of a frame.")
    height_px: int = Field(360, ge=48, description="Height of a frame.")
