"""DetNet's size, its pretraining and where its source checkpoints come from."""

from typing import Literal

from pydantic import Field, model_validator

from handloom.runtime.config.base import Settings
from handloom.runtime.devices import Precision

DatasetName = Literal["assembly_hands", "rhd", "ganerated"]


class DetNetSettings(Settings):
    """Size of DetNet; the defaults are the published network (12,967,635 parameters)."""

    input_px: int = Field(128, ge=32, description="Side of the square input image, in pixels.")
    map_cells: int = Field(32, ge=8, description="Side of the output maps, in cells: input_px / 4 or input_px / 8.")
    width: int = Field(
        64,
        ge=4,
        description="Channels of the stem; the blocks use width, 2 width and 4 width inside their bottlenecks.",
    )
    blocks: tuple[int, int, int] = Field((2, 4, 6), description="Bottlenecks in block1, block2 and block3.")
    head_width: int = Field(256, ge=8, description="Channels of the squeezed features and of the three heads.")

    @model_validator(mode="after")
    def _stride_is_possible(self) -> "DetNetSettings":
        if self.input_px not in (4 * self.map_cells, 8 * self.map_cells):
            raise ValueError(
                f"map_cells is {self.map_cells}, but input_px {self.input_px} allows only "
                f"{self.input_px // 4} or {self.input_px // 8}"
            )
        return self


class PretrainingSettings(Settings):
    """Supervised training of a source network on labelled data sets."""

    seed: int = Field(1, ge=0, description="Root of the first weights, the order of images and their augmentation.")
    epochs: int = Field(500, ge=1, description="Passes over the training data.")
    batch_size: int = Field(32, ge=1, description="Images per step.")
    learning_rate: float = Field(1e-3, gt=0, description="Of Adam, at the start.")
    schedule: Literal["step", "cosine"] = Field(
        "step", description="step: times 0.1 every step_epochs (published); cosine: to zero."
    )
    step_epochs: int = Field(250, ge=1, description="Epochs between two steps of the schedule `step`.")
    held_out_fraction: float = Field(
        0.05, ge=0, lt=1, description="Share of the images kept for the curves and not trained on."
    )
    grey_probability: float = Field(
        0.0, ge=0, le=1, description="Share of training images turned grey; the published code has none."
    )
    precision: Precision = Field(
        "float32",
        description="bfloat16: convolutions in half precision, almost twice as fast on CPUs and GPUs that have it, "
        "which auto looks up.",
    )
    checkpoint_minutes: float = Field(2.0, gt=0, description="Minutes between checkpoints of the running training.")


class SourceSettings(Settings):
    """One source network: its root joint, its training data and, if given, its checkpoint."""

    root_joint: Literal[0, 9] = Field(description="Root of the location maps: 0 in-dataset, 9 cross-dataset.")
    datasets: tuple[DatasetName, ...] = Field(min_length=1, description="Labelled data it is trained on.")
    checkpoint: str | None = Field(
        None, description="A checkpoint file; `package:NAME` is one that handloom ships; null trains one."
    )
    ray_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the turn from the optical axis to the hand that this network's poses lack, since a crop "
        "does not tell it: poses are turned by it before the cameras' rotation is estimated. 0 as published.",
    )
