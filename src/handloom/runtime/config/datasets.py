"""Where the data sets are and how much of them is used."""

from typing import Literal

from pydantic import Field

from handloom.runtime.config.base import Settings

Headset = Literal["headset1", "headset2"]
Pair = Literal["1-2", "1-3", "1-4", "2-3", "2-4", "3-4"]


class AssemblyHandsSettings(Settings):
    """AssemblyHands-ego in its original layout."""

    root: str = Field(description="Folder that holds annotations/ and images/.")
    split: Literal["val", "test"] = Field("val", description="The split to adapt to and score on.")
    version: str = Field("v1-1", description="Version suffix of the annotation files.")
    bad_fraction: float = Field(
        0.02, ge=0, le=1, description="Stop when more than this share of samples cannot be read."
    )


class ImageSetSettings(Settings):
    """RHD or GANerated Hands in its original layout."""

    root: str = Field(description="Folder of the data set, as its authors pack it.")
    bad_fraction: float = Field(
        0.02, ge=0, le=1, description="Stop when more than this share of images cannot be read."
    )


class DatasetsSettings(Settings):
    """The data sets and where they are."""

    assembly_hands: AssemblyHandsSettings
    rhd: ImageSetSettings
    ganerated: ImageSetSettings


class DemoSettings(Settings):
    """Sizes of the rendered demo data; null in the configuration when real data are used."""

    seed: int = Field(2024, ge=0, description="Root of everything random in the rendered data.")
    assembly_hands_train_sequences: int = Field(
        4, ge=2, description="Train sequences, alternating between the headsets."
    )
    assembly_hands_train_frames: int = Field(200, ge=1, description="Frames per train sequence.")
    assembly_hands_val_frames: int = Field(200, ge=1, description="Frames per val sequence; there is one per headset.")
    rhd_training_images: int = Field(3000, ge=1, description="Images of RHD's training split.")
    rhd_evaluation_images: int = Field(200, ge=1, description="Images of RHD's evaluation split.")
    ganerated_images: int = Field(3000, ge=1, description="Images of GANerated Hands.")
