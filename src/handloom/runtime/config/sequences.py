"""Video sequences of a hand and an object: where each comes from, how much of it is used, and the demo's sizes."""

from typing import Literal

from pydantic import Field, model_validator

from handloom.runtime.config.base import Settings

SequenceKind = Literal["ho3d", "video", "frames", "build"]
DemoSequence = Literal["jug1", "carton1", "lamp1"]


class MaskFilesSettings(Settings):
    """Mask pictures that the user has, one per frame."""

    folder: str = Field(description="Folder of pictures with the frames' base names, .png or .jpg.")
    object: tuple[int, ...] = Field(
        (50,), min_length=1, description="Grey values, or [red, green, blue] flattened, that mean the object."
    )
    right: tuple[int, ...] = Field((150,), description="The same for the right hand; empty where there is none.")
    left: tuple[int, ...] = Field((250,), description="The same for the left hand; empty where there is none.")
    colour: bool = Field(False, description="Read the values as colours, three numbers each, instead of grey values.")

    @model_validator(mode="after")
    def _values_are_colours_or_grey(self) -> "MaskFilesSettings":
        for name in ("object", "right", "left"):
            values = getattr(self, name)
            if self.colour and len(values) % 3:
                raise ValueError(f"{name} {list(values)}: a colour has three numbers, found {len(values)}")
            if any(not 0 <= value <= 255 for value in values):
                raise ValueError(f"{name} {list(values)}: a value is 0 to 255")
        return self


class SequenceSettings(Settings):
    """One sequence: a right hand (or both) with one object before a static camera."""

    kind: SequenceKind = Field(
        description="ho3d: a sequence folder of HO3D-v3; video: a file; frames: a folder of pictures; build: HOLD's folder."
    )
    path: str = Field(description="The file or folder.")
    models: str | None = Field(
        None, description="ho3d: folder of YCB-style models; null is the folder models beside train."
    )
    first: int = Field(0, ge=0, description="Number of the first frame used, counted from 0.")
    every: int = Field(1, ge=1, description="Use every so manieth frame.")
    most: int | None = Field(None, ge=2, description="Use at most so many frames; null uses all.")
    longest_side_px: int = Field(2000, ge=32, description="Larger frames are made smaller until no side exceeds this.")
    masks: MaskFilesSettings | None = Field(
        None, description="Mask pictures made elsewhere; null takes the data set's or estimates them."
    )


class DemoSequencesSettings(Settings):
    """The rendered HOLD sequences in HO3D-v3's layout."""

    seed: int = Field(2024, ge=0, description="Root of everything random in the sequences.")
    sequences: tuple[DemoSequence, ...] = Field(("jug1", "carton1"), min_length=1, description="Sequences to render.")
    frames: int = Field(60, ge=2, le=400, description="Frames per sequence.")
    width_px: int = Field(480, ge=64, description="Width of a frame.")
    height_px: int = Field(360, ge=48, description="Height of a frame.")
