"""Readers of the data sets in their original layouts, and a row for each: where it is fetched, how it is prepared."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from pydantic import Field

from handloom.runtime.config.base import Settings


class AssemblyHandsSettings(Settings):
    """AssemblyHands-ego in its original layout."""

    root: str = Field(description="Folder that holds annotations/ and images/.")
    split: Literal["val", "test"] = Field(
        "val", description="The split to adapt to and score on; one without labels has no scores."
    )
    version: str = Field("v1-1", description="Version suffix of the annotation files.")
    bad_fraction: float = Field(
        0.02, ge=0, le=1, description="Stop when more than this share of samples cannot be read."
    )


class ImageSetSettings(Settings):
    """A labelled data set of single images in its original layout."""

    root: str = Field(description="Folder of the data set, as its authors pack it.")
    bad_fraction: float = Field(
        0.02, ge=0, le=1, description="Stop when more than this share of images cannot be read."
    )


class RhdSettings(ImageSetSettings):
    """Rendered Hand Pose Dataset in its original layout."""

    masked_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of its images in which all but people is painted grey by the data set's masks, as HOLD "
        "hides what is no hand from DetNet.",
    )


class DataSet(NamedTuple):
    """A data set that the user fetches."""

    name: str
    folder: str
    """Where it is expected unless the settings say so."""
    inside: str
    """What lies in that folder."""
    licence: str
    home: str
    enables: str


@dataclass(frozen=True)
class LabelledSet:
    """A data set that source networks are trained on: nothing here loads its reader."""

    of: DataSet
    stage: str
    """The stage `prepare_samples` of its reader, made by `training_samples.sample_preparation`."""
    training: str
    """What lies in its folder and training reads."""
    split: str
    """Its training data in words."""
    settings: type[Settings] = ImageSetSettings
    sheets: tuple[str, ...] = ()
    """Contact sheets of its training data that the demo renders; none: the demo cannot render it."""


LABELLED = {
    "assembly_hands": LabelledSet(
        DataSet(
            "AssemblyHands-ego",
            "data/assemblyhands",
            "annotations",
            "CC BY-NC 4.0",
            "https://assemblyhands.github.io",
            "adaptation and tables on real headsets",
        ),
        stage="datasets.training_samples:prepare_assembly_hands",
        training="annotations/train",
        split="AssemblyHands-ego train",
        settings=AssemblyHandsSettings,
        sheets=("assembly_hands_train",),
    ),
    "rhd": LabelledSet(
        DataSet(
            "Rendered Hand Pose (RHD)",
            "data/RHD",
            "RHD_published_v2",
            "research only",
            "https://lmb.informatik.uni-freiburg.de/resources/datasets/RenderedHandposeDataset.en.html",
            "training the cross-dataset source network",
        ),
        stage="datasets.rhd:prepare_samples",
        settings=RhdSettings,
        training="RHD_published_v2/training",
        split="RHD training",
        sheets=("rhd_training",),
    ),
    "ganerated": LabelledSet(
        DataSet(
            "GANerated Hands",
            "data/GANeratedHands_Release",
            "data",
            "research only",
            "https://handtracker.mpi-inf.mpg.de/projects/GANeratedHands",
            "training the cross-dataset source network",
        ),
        stage="datasets.ganerated:prepare_samples",
        training="data",
        split="GANerated Hands",
        sheets=("ganerated",),
    ),
}
"""The data sets of `datasets` in the configuration."""
HO3D = DataSet(
    "HO3D-v3",
    "data/HO3D_v3/train",
    "",
    "academic research only, non-commercial",
    "https://www.tugraz.at/index.php?id=40231",
    "HOLD's reconstruction and table on real videos",
)
YCB_MODELS = DataSet(
    "YCB-Video 3D models",
    "data/HO3D_v3/models",
    "",
    "see its page",
    "https://rse-lab.cs.washington.edu/projects/posecnn",
    "scores of HO3D-v3 sequences; HO3D's own object poses (sfm.backend: known)",
)
