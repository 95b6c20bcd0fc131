"""S2DHand on the user's own camera pairs: their videos, and the stages from frames to fused poses."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from handloom.runtime.config.adaptation import AdaptationSettings, AugmentationSettings
from handloom.runtime.config.base import Settings
from handloom.runtime.config.detnet import DetNetSettings
from handloom.runtime.config.sequences import SequenceSettings

FieldOfView = tuple[float, float]
VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".3gp", ".ts")
_ANY_SIDE_PX = 100_000


class FootagePairSettings(Settings):
    """Two views of one hand, by cameras that do not move against each other."""

    left: str = Field(description="The first view: a video (.mp4, .mov, ...), or a folder of pictures.")
    right: str = Field(description="The second view, from wherever it looks.")
    left_boxes: str | None = Field(
        None, description="CSV of the hand's boxes in the first view: frame,x0,y0,x1,y1; null detects the hand."
    )
    right_boxes: str | None = Field(None, description="The same of the second view.")
    side: Literal["right", "left"] = Field("right", description="Which of the person's hands is looked at.")
    field_of_view_deg: FieldOfView = Field(
        (65.0, 65.0), description="Horizontal field of view of both cameras, as a data sheet tells it."
    )
    offset_s: float | None = Field(
        None,
        description="The second view's time minus the first's at the same moment; 0 for synchronised cameras, null "
        "estimates it.",
    )
    frames_per_second: float = Field(30.0, gt=0, le=1000, description="Of folders of pictures, which have no times.")
    first: int = Field(0, ge=0, description="Number of the first frame used in both views, counted from 0.")
    every: int = Field(1, ge=1, description="Use every so manieth frame.")
    most: int | None = Field(None, ge=2, description="Use at most so many frames of each view; null uses all.")
    longest_side_px: int = Field(1280, ge=32, description="Larger frames are made smaller.")

    def sequence(self, view: Literal["left", "right"]) -> SequenceSettings:
        """A view as a sequence of frames; with boxes, which are in its own pixels, frames keep their size."""
        path = self.left if view == "left" else self.right
        boxes = self.left_boxes if view == "left" else self.right_boxes
        return SequenceSettings(
            kind="video" if Path(path).suffix.lower() in VIDEO_SUFFIXES else "frames",
            path=path,
            first=self.first,
            every=self.every,
            most=self.most,
            longest_side_px=self.longest_side_px if boxes is None else _ANY_SIDE_PX,
            frames_per_second=self.frames_per_second,
        )

    @model_validator(mode="after")
    def _fields_of_view_are_possible(self) -> "FootagePairSettings":
        if not all(0 < angle < 180 for angle in self.field_of_view_deg):
            raise ValueError(f"field_of_view_deg is {list(self.field_of_view_deg)}; expected two angles below 180")
        return self


class FootagePairingSettings(Settings):
    """Which frames of the two views belong together."""

    clock: Literal["time", "index"] = Field(
        "time", description="time: by time stamps, for any lengths and rates; index: by frame numbers."
    )
    search_s: float = Field(2.0, ge=0, description="Offsets up to this are tried, either way.")
    distinct_s: float = Field(
        0.25, gt=0, description="Offsets nearer than this to the best one are taken for the same."
    )
    least_certainty: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="1 - best / second-best mismatch of an estimated offset; below this, it counts as ambiguous.",
    )
    ambiguous: Literal["stop", "zero"] = Field(
        "stop", description="What an ambiguous offset does: stop with an error, or take 0 and say so."
    )
    least_common: float = Field(
        0.2, ge=0, le=1, description="Share of the pairs of frames that must show the hand in both views."
    )


class FootageAdaptationSettings(Settings):
    """S2DHand on pairs of the user's frames."""

    pairs: int = Field(384, ge=1, description="Adapt on at most so many pairs, evenly spread over the footage.")
    batch_size: int = Field(16, ge=1, description="Pairs per step.")
    epochs: int = Field(6, ge=0, description="Passes over the pairs.")
    learning_rate: float = Field(1e-4, gt=0, description="Of Adam, at the first step.")
    learning_rate_decay: Literal["none", "cosine"] = Field("cosine", description="cosine: to zero at the last step.")
    warm_up_steps: int = Field(
        8, ge=0, description="The learning rate rises over so many first steps; Adam's first ones are large."
    )
    consensus_weight: float = Field(
        0.7, ge=0, le=1, description="alpha: share of the merged label; the rest is the refined one."
    )
    merge: Literal["max", "soft", "average"] = Field(
        "soft", description="How the two views' poses are merged by their confidence."
    )
    attention_sharpness: float = Field(4.0, gt=0, description="beta of the soft merge.")
    teacher_momentum: float = Field(0.97, ge=0, lt=1, description="Share of the old teacher kept at each step.")
    rotation: Literal["keypoints", "poses"] = Field(
        "keypoints",
        description="Where the rotation between the cameras comes from: key points, by their viewing rays, once, "
        "starting from the source network's poses; or poses alone, anew after every epoch, as published.",
    )
    rotation_momentum: float = Field(
        0.5, ge=0, le=1, description="poses: share of the old rotation kept at each epoch."
    )
    keypoint_weight: float = Field(
        1.0, ge=0, description="mediapipe: weight of the key points, taught to stay the teacher's."
    )
    augmentation: AugmentationSettings | None = Field(
        None, description="Changes to the student's input and label alike; null changes nothing."
    )
    evaluate: Literal["student", "teacher"] = Field("teacher", description="The network that is saved and used.")
    checkpoint_seconds: float = Field(30.0, ge=0, description="Save the running adaptation every so many seconds.")

    def of_detnet(self) -> AdaptationSettings:
        """The same as S2DHand's own settings."""
        names = set(type(self).model_fields) & set(AdaptationSettings.model_fields)
        return AdaptationSettings(**{name: getattr(self, name) for name in names}, teacher_warm_up=False)


class FootageSettings(Settings):
    """S2DHand on your own camera pairs, from videos to fused 3D poses (docs/footage.md)."""

    pairs: dict[str, FootagePairSettings | None] = Field(
        {}, description="Your camera pairs by name, as in {my_rig: {left: a.mp4, right: b.mp4}}; null leaves one out."
    )
    backend: Literal["mediapipe", "detnet"] = Field(
        "mediapipe", description="mediapipe: a network trained on real hands; detnet: S2DHand's, which needs boxes."
    )
    checkpoint: str = Field(
        "package:detnet_small_cross.safetensors",
        description="detnet: the source network; `package:NAME` is a file that handloom ships.",
    )
    root_joint: Literal[0, 9] = Field(9, description="detnet: root joint that the checkpoint was trained with.")
    detnet: DetNetSettings = Field(
        DetNetSettings(input_px=64, map_cells=8, width=16, blocks=(1, 2, 2), head_width=64),
        description="detnet: size of the checkpoint's network.",
    )
    least_presence: float = Field(
        0.5, ge=0, le=1, description="mediapipe: a frame whose score of a hand is lower counts as without."
    )
    least_confidence: float = Field(
        0.15, ge=0, le=1, description="detnet: a frame whose mean confidence is lower counts as without."
    )
    least_hands: float = Field(0.05, ge=0, le=1, description="Share of each view's frames that must show a hand.")
    ray_share: float = Field(
        1.0, ge=0, le=1, description="Share of the turn from the optical axis to the hand that poses are given."
    )
    seed: int = Field(1, ge=0, description="Root of everything random in the adaptation.")
    pairing: FootagePairingSettings = FootagePairingSettings()
    adaptation: FootageAdaptationSettings = FootageAdaptationSettings()

    @model_validator(mode="after")
    def _pairs_are_possible(self) -> "FootageSettings":
        for name, pair in self.chosen.items():
            if not name.replace("_", "").replace("-", "").isalnum():
                raise ValueError(f"pairs.{name}: a name has letters, digits, - and _ only, as it names a folder")
            lacking = [key for key in ("left_boxes", "right_boxes") if getattr(pair, key) is None]
            if self.backend == "detnet" and lacking:
                raise ValueError(
                    f"pairs.{name} has no {' and no '.join(lacking)}, but backend is detnet, which cannot find a hand; "
                    "give the boxes, or set backend: mediapipe"
                )
            if pair.left == pair.right:
                raise ValueError(f"pairs.{name}: left and right are the same, {pair.left}; expected two views")
        return self

    @property
    def chosen(self) -> dict[str, FootagePairSettings]:
        """The camera pairs that are not left out."""
        return {name: pair for name, pair in self.pairs.items() if pair is not None}
