"""Videos of a hand and an object: where each comes from, how much of it is used, and its masks."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from handloom.hand.joints import Side
from handloom.runtime.config.base import MOST_SEED, Faults, OwnPath, Settings

Entity = Literal["object", "right", "left"]
Pixel = Annotated[float, Field(ge=-100_000, le=100_000)]
Focal = Annotated[float, Field(ge=1, le=1_000_000)]
EveryManieth = Annotated[int, Field(ge=1, le=100_000)]
Byte = Annotated[int, Field(ge=0, le=255)]
_NAME = re.compile("[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
Label = Annotated[int, Field(ge=0, le=65_535)]


class Prompt(Settings):
    """One click, box or outline on one frame that says which thing an entity is."""

    click: tuple[Pixel, Pixel] | None = Field(None, description="Column and row of a pixel on it.")
    box: tuple[Pixel, Pixel, Pixel, Pixel] | None = Field(
        None, description="Left, top, right and bottom of a box around it, in pixels."
    )
    outline: tuple[tuple[Pixel, Pixel], ...] | None = Field(
        None, min_length=3, description="Column and row of the corners of its outline, taken as it is."
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> "Prompt":
        if [self.click, self.box, self.outline].count(None) != 2:
            raise ValueError("a prompt is a click, a box or an outline: give exactly one of them")
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise Faults([("box", f"{list(self.box)} is not left < right and top < bottom")])
        return self


class FramePrompts(Settings):
    """What is marked on one of several frames; what has no mark is not seen on it."""

    frame: int = Field(
        0,
        ge=0,
        le=1_000_0000,
        description="Number of the marked frame, from 0, among those used; with every: auto among all from `first` "
        "on, and it will be used. All parts should be seen well.",
    )
    object: Prompt | None = Field(None, description="The held object.")
    right: Prompt | None = Field(None, description="The right hand, forearm included or not as the video shows it.")
    left: Prompt | None = Field(None, description="The left hand.")

    @property
    def marked(self) -> dict[Entity, Prompt]:
        """The things that have a mark."""
        every: dict[Entity, Prompt | None] = {"object": self.object, "right": self.right, "left": self.left}
        return {entity: prompt for entity, prompt in every.items() if prompt is not None}


class Prompts(FramePrompts):
    """What is marked, and on which frame."""

    object: Prompt = Field(description="The held object.")

    @model_validator(mode="after")
    def _some_hand(self) -> "Prompts":
        if self.right is None and self.left is None:
            raise ValueError("neither hand is marked: give right or left a click, a box or an outline")
        return self


class MaskConvention(Settings):
    """How mask images are to be read."""

    convention: Literal["labels", "index", "colours", "entity_folders"] = Field(
        "labels",
        description="labels: one grey image of 0, 50, 150, 250 (HOLD's); index: one grey or palette image of small "
        "numbers (DAVIS, SAM 2); colours: one RGB image; entity_folders: a folder of binary images per entity "
        "(SAM-Track's, as HOLD asks for).",
    )
    index: dict[Entity, Label] = Field(
        {"right": 1, "object": 2}, description="index: the number of each entity; all others are background."
    )
    colours: dict[Entity, tuple[Byte, Byte, Byte]] = Field(
        {"right": (128, 0, 0), "object": (0, 128, 0)},
        description="colours: red, green, blue of each entity; the defaults are DAVIS's first two.",
    )
    background_colours: tuple[tuple[Byte, Byte, Byte], ...] = Field(
        ((0, 0, 0),), description="colours: red, green, blue of what is neither, of each class that is background."
    )
    entity_folders: dict[Entity, str] = Field(
        {"object": "object/images_masks", "right": "right/images_masks"},
        description="entity_folders: where each entity's binary images lie under `folder`: a folder, or a pattern of "
        "files as `export/*-object-*.png`.",
    )
    match: Literal["name", "order"] = Field(
        "name",
        description="name: a file is named as its frame, or has its number (of a video's frames counted from 0, before "
        "`first` and `every`); order: the nth file, by its number, belongs to the nth frame used.",
    )

    @model_validator(mode="after")
    def _entities_differ(self) -> "MaskConvention":
        def faults() -> Iterator[tuple[str, str]]:
            for name in ("index", "colours", "entity_folders"):
                marks = getattr(self, name)
                kinds = {os.path.normpath(mark) if isinstance(mark, str) else mark for mark in marks.values()}
                if len(kinds) < len(marks):
                    yield name, f"{dict(marks)} gives two entities the same; they could not be told apart"

        Faults.require_none(faults())
        return self


class MaskFilesSettings(MaskConvention):
    """Masks that lie in files, and by which convention."""

    folder: OwnPath = Field(description="Folder of the mask images, or of the per-entity folders.")


class PropagationSettings(Settings):
    """Colour models carried from frame to frame along the optical flow."""

    still_camera: bool = Field(
        True,
        description="Learn the background from what most frames share, where the camera stands still (that is found "
        "out); false if hand or object rest at one place for most of the video.",
    )
    corrected: bool = Field(
        True,
        description="Correct the masks by the object's poses and the found hands before anything is fitted to them; "
        "false uses them as they were carried.",
    )


class Sam2Settings(Settings):
    """SAM 2, which the user installs: package sam2 and a checkpoint file."""

    checkpoint: str = Field("", description="File of the weights, as sam2.1_hiera_small.pt.")
    config: str = Field(
        "configs/sam2.1/sam2.1_hiera_s.yaml", description="Name of the matching configuration inside the package."
    )


def _how_many(prompts: Any) -> str:
    return "frames" if isinstance(prompts, list | tuple) else "one frame"


class MaskSettings(Settings):
    """Masks of the held object and the hands."""

    source: Literal["propagation", "sam2", "files", "dataset"] = Field(
        "propagation",
        description="propagation: from the prompts, with nothing to download; sam2: from the prompts; files: from "
        "`files`; dataset: the sequence's own.",
    )
    prompts: (
        Annotated[
            Annotated[Prompts, Tag("one frame")] | Annotated[tuple[FramePrompts, ...], Tag("frames")],
            Discriminator(_how_many),
        ]
        | None
    ) = Field(
        None,
        description="Marks for propagation and sam2: on one frame, or a list of frames; masks are then carried from "
        "the nearest of them.",
    )
    files: MaskFilesSettings | None = Field(None, description="Where masks lie, for the source files.")
    propagation: PropagationSettings = PropagationSettings()
    sam2: Sam2Settings = Sam2Settings()
    empty_fraction: float = Field(
        0.3, ge=0, le=1, description="Stop when an entity's mask is empty in a larger share of the frames."
    )
    largest_share: float = Field(
        0.5, gt=0, le=1, description="Stop when an entity covers a larger share of a picture, as an inverted mask does."
    )

    @model_validator(mode="after")
    def _all_marked_somewhere(self) -> "MaskSettings":
        frames = [prompts.frame for prompts in self.marks]
        seen = {entity for prompts in self.marks for entity in prompts.marked}
        if isinstance(self.prompts, tuple) and ("object" not in seen or len(seen) < 2):
            raise Faults([("prompts", "the object and a hand must each be marked on one of the frames at least")])
        if len(set(frames)) < len(frames):
            raise Faults([("prompts", f"name a frame more than once, found {frames}; put its marks together")])
        return self

    @property
    def marks(self) -> tuple[FramePrompts, ...]:
        """The marked frames, none without prompts."""
        if self.prompts is None:
            return ()
        return self.prompts if isinstance(self.prompts, tuple) else (self.prompts,)


_MASK_KEY = re.compile(rf"(?<![\w./])masks\.(?=(?:{'|'.join(MaskSettings.model_fields)})(?![\w/]))")


def with_whole_keys(words: str, place: str) -> str:
    """Words of what knows only a sequence's masks, whose settings are named as the user wrote them, below `place`."""
    return _MASK_KEY.sub(f"{place}.masks.", words)


def _folder_name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise ValueError("a name has letters a to z, digits, - and _ only, 80 at most: it names a folder")
    return name


EntryName = Annotated[str, AfterValidator(_folder_name)]
"""What a user calls a sequence or a camera pair."""


def _sides(given: Any) -> Any:
    """Right before left; refuses the text that files of hands are named by, and a hand named twice."""
    if isinstance(given, str):
        raise ValueError(
            f"is '{given}'; expected a list of the hands that hold the object, [right], [left] or [right, left] (what "
            "another tool found is hand_files)"
        )
    if isinstance(given, list | tuple) and len(set(map(str, given))) < len(given):
        raise ValueError(f"is {list(given)}; expected each hand once: [right], [left] or [right, left]")
    return sorted(given, reverse=True) if isinstance(given, list | tuple) else given


Hands = Annotated[tuple[Side, ...], BeforeValidator(_sides)]
"""The hands that are reconstructed."""
SequenceKind = Literal["ho3d", "video", "frames", "build"]
DemoSequence = Literal["jug1", "carton1", "lamp1", "mug1", "parcel1"]
TWO_HANDED: tuple[DemoSequence, ...] = ("parcel1",)


class FrameSettings(Settings):
    """Which frames of a source are used, and how."""

    kind: SequenceKind = Field(
        description="ho3d: a sequence's folder in HO3D-v3; video: a file; frames: a folder of pictures; build: "
        "a folder as HOLD trains from."
    )
    first: int = Field(0, ge=0, le=1_000_0000, description="Number of the first frame used, counted from 0.")
    last: int | None = Field(
        None, ge=1, le=1_000_0000, description="Number of the last frame that may be used; null goes on to the end."
    )
    every: EveryManieth | Literal["auto"] = Field(
        1,
        description="Use every so manieth frame; auto (of a video, and there the default without `most`): about as "
        "much moves between any two, `most` of them or 80 to 160.",
    )
    most: int | None = Field(
        None, ge=2, le=100_000, description="Use at most so many frames; null uses all (but see every: auto)."
    )
    longest_side_px: int = Field(
        2000, ge=32, le=100_000, description="Larger frames are made smaller until no side exceeds this."
    )
    frames_per_second: float = Field(
        30.0, gt=0, le=1000, description="Of folders of pictures, which have no time stamps (frames, ho3d, build)."
    )
    camera_px: tuple[Focal, Focal, Pixel, Pixel] | None = Field(
        None,
        description="fx, fy, cx, cy of frames as players show them (video, frames); null estimates the focal length.",
    )

    @model_validator(mode="after")
    def _camera_is_not_given_twice(self) -> "FrameSettings":
        if self.camera_px is not None and self.kind not in ("video", "frames"):
            raise Faults(
                [("camera_px", f"is set, but a sequence of kind {self.kind} brings its own camera; remove it")]
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _videos_choose_by_motion(cls, given: Any) -> Any:
        """A video of which no frames are counted out has them chosen."""
        if isinstance(given, Mapping) and given.get("kind") == "video" and given.get("most") is None:
            return {"every": "auto", **given}
        return given

    @model_validator(mode="after")
    def _what_is_used_is_there(self) -> "FrameSettings":
        faults = []
        if self.every == "auto" and self.kind != "video":
            faults.append(("every", f"is auto, which looks for motion in a video; with kind {self.kind} give a number"))
        if self.last is not None and self.last <= self.first:
            faults.append(("last", f"is {self.last}, which is not after first, {self.first}"))
        Faults.require_none(faults)
        return self

    @property
    def chosen(self) -> slice:
        """Of the source's pictures those that are used, or that may be where motion chooses."""
        step = 1 if self.every == "auto" else self.every
        ends = [] if self.last is None else [self.last + 1]
        if self.most is not None and self.every != "auto":
            ends.append(self.first + self.most * step)
        return slice(self.first, min(ends, default=None), step)

    @property
    def skips(self) -> bool:
        """Whether pictures between the frames may be left out."""
        return self.every != 1

    @model_validator(mode="after")
    def _build_folders_are_taken_whole(self) -> "FrameSettings":
        fields = type(self).model_fields
        changed = [name for name in ("first", "last", "every", "most") if getattr(self, name) != fields[name].default]
        if self.kind == "build" and changed:
            raise Faults((name, "is set, but a build folder is trained on as a whole; remove it") for name in changed)
        return self


class SequenceSettings(FrameSettings):
    """One sequence: a hand, or two, with one object before a static camera, and where its masks come from."""

    path: OwnPath = Field(description="The file or folder.")
    hands: Hands = Field(
        ("right",),
        min_length=1,
        description="Which of the person's hands hold the object: [right], [left] or [right, left]; another one is "
        "not reconstructed.",
        json_schema_extra={"items": {"enum": ["right", "left"]}},
    )
    models: OwnPath | None = Field(
        None, description="ho3d: folder of YCB-style models; null is the folder models beside train."
    )
    colmap_model: OwnPath | None = Field(
        None,
        description="With hold.sfm.backend: colmap_model, folder of a COLMAP model (binary or text) whose images are "
        "named as the original frames, or as the extracted ones.",
    )
    object_size_m: float | None = Field(
        None,
        ge=0.01,
        le=2,
        description="Largest distance between two points of the object, metres (of a box its space diagonal), as a "
        "tape measure tells; null estimates it from the hand, which is some 10 to 15 % unsure.",
    )
    hand_files: OwnPath | None = Field(
        None,
        description="With hold.hand.estimation.backend: files, what another tool found: a folder, zip archive or file "
        "(docs/your_own_video.md).",
    )
    # Not a default that a section given in part would keep: marks alone mean propagation.
    masks: MaskSettings = Field(
        default_factory=lambda: MaskSettings(source="dataset"), description="Masks of the held object and the hands."
    )


class DemoSequencesSettings(Settings):
    """The rendered HOLD sequences in HO3D-v3's layout."""

    seed: int = Field(2024, ge=0, le=MOST_SEED, description="Root of everything random in the sequences.")
    sequences: tuple[DemoSequence, ...] = Field(
        ("jug1", "carton1", "mug1"), min_length=1, description="Sequences to render."
    )
    frames: int = Field(60, ge=2, le=400, description="Frames per sequence.")
    width_px: int = Field(480, ge=64, le=4096, description="Width of a frame.")
    height_px: int = Field(360, ge=48, le=4096, description="Height of a frame.")
