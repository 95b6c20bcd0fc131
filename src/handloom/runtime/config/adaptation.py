"""S2DHand's hyper-parameters."""

from typing import Literal

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

    pairs: int = Field(1024, ge=1, description="Adapt on the first so many pairs.")
    batch_size: int = Field(64, ge=1, description="Pairs per step.")
    epochs: int = Field(10, ge=0, description="Passes over the adaptation pairs.")
    learning_rate: float = Field(5e-4, gt=0, description="Of Adam, at the first step.")
    learning_rate_decay: Literal["none", "cosine"] = Field(
        "none", description="none: constant, as published; cosine: to zero at the last step."
    )
    consensus_weight: float = Field(
        0.7, ge=0, le=1, description="alpha: share of the merged label; the rest is the refined one."
    )
    merge: Literal["max", "soft", "average"] = Field(
        "max", description="How the two views' candidates are merged, joint by joint."
    )
    attention_sharpness: float = Field(
        1.0, gt=0, description="beta of the soft merge: weights are exp(beta * confidence)."
    )
    teacher_momentum: float = Field(
        0.99, ge=0, lt=1, description="eta_theta: share of the old teacher kept at each step."
    )
    teacher_warm_up: bool = Field(
        True, description="Count the momentum up from small values, as the released code does."
    )
    rotation_momentum: float = Field(
        0.999,
        ge=0,
        le=1,
        description="eta_R: share of the old rotation kept at each update: a step if faithful, an epoch if fixed.",
    )
    rotation_pairs: int = Field(512, ge=1, description="Estimate the first rotation from at most so many pairs.")
    field_of_view_deg: float = Field(
        100.0,
        gt=0,
        lt=180,
        description="Horizontal field of view of the cameras' images, as a data sheet tells it: with a source's "
        "ray_share it gives the hands' viewing rays. No calibration is read.",
    )
    rotations: str | None = Field(
        None, description="File in the layout of the released R_config.json, whose R_pred replace the estimates."
    )
    confidence_threshold: float = Field(
        0.0, ge=0, le=1, description="fixed mode: a joint is valid where the model's own confidence exceeds this."
    )
    heat_map_weight: float = Field(100.0, ge=0, description="Weight of the heat maps in the loss.")
    delta_map_weight: float = Field(1.0, ge=0, description="Weight of the bone directions in the loss.")
    location_map_weight: float = Field(10.0, ge=0, description="Weight of the joint locations in the loss.")
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
        64, ge=0, description="Pairs on which both networks are scored after every epoch, for the curves only."
    )
    checkpoint_seconds: float = Field(
        20.0, ge=0, description="Save the running adaptation after an epoch when so many seconds have passed."
    )
