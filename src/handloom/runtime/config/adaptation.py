"""S2DHand's hyper-parameters, and how the frames of two videos are paired for it."""

from typing import Any, Literal

from pydantic import Field

from handloom.runtime.config.base import Settings
from handloom.runtime.devices import Precision


class AugmentationSettings(Settings):
    """What the student sees differently from its teacher; drawn uniformly up to these values, either way."""

    rotation_deg: float = Field(0.0, ge=0, le=180, description="Turn of the crop about its centre.")
    scale: float = Field(0.0, ge=0, lt=1, description="Zoom of the crop about its centre.")
    brightness: float = Field(0.0, ge=0, le=1, description="Grey offset; white minus black is 1.")
    contrast: float = Field(0.0, ge=0, lt=1, description="Gain around middle grey.")
    noise: float = Field(0.0, ge=0, le=1, description="Largest standard deviation of grey noise per pixel.")


class AdaptationSettings(Settings):
    """S2DHand; the defaults are the released code's."""

    pairs: int = Field(1024, ge=1, le=1_000_000, description="Adapt on at most so many pairs.")
    spread_pairs: bool = Field(
        False, description="Spread them evenly over the footage; else the first ones, as published."
    )
    batch_size: int = Field(64, ge=1, le=100_000, description="Pairs per step.")
    epochs: int = Field(10, ge=0, le=100_000, description="Passes over the adaptation pairs.")
    learning_rate: float = Field(5e-4, gt=0, le=1, description="Of Adam, at the first step.")
    learning_rate_decay: Literal["none", "cosine"] = Field(
        "none", description="none: constant, as published; cosine: to zero at the last step."
    )
    warm_up_steps: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="The learning rate rises over so many first steps; Adam's first ones are large.",
    )
    consensus_weight: float = Field(
        0.7, ge=0, le=1, description="alpha: share of the merged label; the rest is the refined one."
    )
    merge: Literal["max", "soft", "average"] = Field(
        "max", description="How the two views' candidates are merged, joint by joint."
    )
    attention_sharpness: float = Field(
        1.0, gt=0, le=1000, description="beta of the soft merge: weights are exp(beta * confidence)."
    )
    teacher_momentum: float = Field(
        0.99, ge=0, lt=1, description="eta_theta: share of the old teacher kept at each step."
    )
    teacher_warm_up: bool = Field(
        True, description="Count the momentum up from small values, as the released code does."
    )
    rotation: Literal["poses", "keypoints"] = Field(
        "poses",
        description="Where the rotation between the cameras comes from: poses, anew after every epoch, as published; "
        "or key points, by their viewing rays, once (own camera pairs).",
    )
    rotation_momentum: float = Field(
        0.999,
        ge=0,
        le=1,
        description="eta_R: share of the old rotation kept at each update: a step if faithful, an epoch if fixed.",
    )
    field_of_view_deg: float = Field(
        100.0,
        ge=5,
        le=175,
        description="Horizontal field of view of the cameras' images, as a data sheet tells it: with a source's "
        "ray_share it gives the hands' viewing rays. No calibration is read.",
    )
    rotations: str | None = Field(
        None, description="File in the layout of the released R_config.json, whose R_pred replace the estimates."
    )
    augmentation: AugmentationSettings | None = Field(
        None, description="Changes to the student's input and label alike; null, as published, changes nothing."
    )
    precision: Precision = Field(
        "float32",
        description="Of the student's training pass; bfloat16 takes half the time where the hardware has it, which "
        "auto looks up.",
    )
    evaluate: Literal["student", "teacher"] = Field(
        "student", description="The network that is saved and scored; the released code's is the student."
    )
    diagnostic_pairs: int = Field(
        64,
        ge=0,
        le=1_000_000,
        description="Pairs on which both networks are scored after every epoch, for the curves only.",
    )


class PlusSettings(Settings):
    """S2DHand+: what is known beyond the paper, without labels as well; it shares pairs, batches and precision."""

    draws: int = Field(
        4,
        ge=0,
        le=64,
        description="Turned and zoomed draws of each crop that the source network answers beside the crop itself; "
        "labels are made of its mean answers.",
    )
    draw_turn_deg: float = Field(
        40.0, ge=0, le=180, description="Largest turn of the draws, either way; within what the source was trained on."
    )
    labels: Literal["merged", "triangulated"] = Field(
        "merged",
        description="merged: both views' poses by confidence; triangulated: also by both views' rays to the joints, "
        "which then tell the cameras' rotation, too.",
    )
    ray_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the turn to the hand that poses and labels are given; rotations are estimated with the "
        "source's own `ray_share`, which may be another.",
    )
    epochs: int = Field(8, ge=0, le=100_000, description="Passes over the adaptation pairs.")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="Of Adam, falling to zero as a cosine.")

    @property
    def adaptation(self) -> dict[str, Any]:
        """How S2DHand's own settings differ for it: pairs are spread, since what is learned must hold for all."""
        schedule = {"epochs": self.epochs, "learning_rate": self.learning_rate, "learning_rate_decay": "cosine"}
        return {**schedule, "spread_pairs": True}


class FootagePairingSettings(Settings):
    """Which frames of the two views belong together."""

    clock: Literal["time", "index"] = Field(
        "time", description="time: by time stamps, for any lengths and rates; index: by frame numbers."
    )
    search_s: float = Field(2.0, ge=0, le=3600, description="Offsets up to this are tried, either way.")
    ambiguous: Literal["stop", "zero"] = Field(
        "stop", description="What an ambiguous offset does: stop with an error, or take 0 and say so."
    )
    least_common: float = Field(
        0.2, ge=0, le=1, description="Share of the pairs of frames that must show the hand in both views."
    )
