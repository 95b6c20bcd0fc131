"""Where the data sets are, how large the demo is, and the source networks with their training."""

from typing import Annotated, Literal

from pydantic import Field, create_model, model_validator

from handloom.datasets import LABELLED, AssemblyHandsSettings
from handloom.runtime.config.adaptation import PlusSettings
from handloom.runtime.config.base import MOST_SEED, Faults, Settings
from handloom.runtime.devices import Precision

Headset = Literal["headset1", "headset2"]
Pair = Literal["1-2", "1-3", "1-4", "2-3", "2-4", "3-4"]
SETTING_NAMES = {"in": "in-dataset", "cross": "cross-dataset"}
"""The settings of the paper as they are printed."""


_Sections = create_model(
    "_Sections",
    __base__=Settings,
    **{name: (row.settings, row.settings.model_validate({"root": row.of.folder})) for name, row in LABELLED.items()},  # type: ignore[call-overload]  # its stubs want fields by name
)


class DatasetsSettings(_Sections):
    """The data sets and where they are."""

    assembly_hands: AssemblyHandsSettings  # S2DHand's own: what is adapted to


class DemoSettings(Settings):
    """Sizes of the rendered demo data; null in the configuration when real data are used."""

    seed: int = Field(2024, ge=0, le=MOST_SEED, description="Root of everything random in the rendered data.")
    assembly_hands_train_sequences: int = Field(
        4, ge=2, le=1000, description="Train sequences, alternating between the headsets."
    )
    assembly_hands_train_people: int = Field(
        1,
        ge=1,
        le=100_000,
        description="People per train sequence: each has an equal part of its frames, in a room, a light and with "
        "cameras of their own.",
    )
    assembly_hands_train_frames: int = Field(200, ge=1, le=100_000, description="Frames per train sequence.")
    assembly_hands_val_frames: int = Field(
        200, ge=1, le=100_000, description="Frames per val sequence; there is one per headset."
    )
    rhd_training_images: int = Field(3000, ge=1, le=1_000_000, description="Images of RHD's training split.")
    rhd_evaluation_images: int = Field(200, ge=1, le=1_000_000, description="Images of RHD's evaluation split.")
    ganerated_images: int = Field(3000, ge=1, le=1_000_000, description="Images of GANerated Hands.")
    turned_hands: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the hands in all data that networks are trained on that are turned by chance, so that "
        "palms face the camera and fingers point down as often as not; the others are held as at work.",
    )

    @model_validator(mode="after")
    def _people_have_frames(self) -> "DemoSettings":
        people, frames = self.assembly_hands_train_people, self.assembly_hands_train_frames
        if people > frames:
            raise Faults([("assembly_hands_train_people", f"is {people}, but there are only {frames} train frames")])
        return self


Bottlenecks = Annotated[int, Field(ge=1, le=64)]


_STRIDES = {4: (2, 1), 8: (2, 2), 12: (3, 2), 16: (4, 2)}
"""By the pixels of a cell: strides of the stem and of block2."""


class DetNetSettings(Settings):
    """Size of DetNet; the defaults are the published network (12,967,635 parameters)."""

    input_px: int = Field(128, ge=32, le=1024, description="Side of the square input image, in pixels.")
    map_cells: int = Field(
        32,
        ge=8,
        le=256,
        description="Side of the output maps, in cells: input_px / 4 or / 8 as published, or / 12 or / 16, whose stem "
        "strides by 3 or 4 pixels: a larger input at the cost of a smaller one.",
    )
    width: int = Field(
        64,
        ge=4,
        le=1024,
        description="Channels of the stem; the blocks use width, 2 width and 4 width inside their bottlenecks.",
    )
    blocks: tuple[Bottlenecks, Bottlenecks, Bottlenecks] = Field(
        (2, 4, 6), description="Bottlenecks in block1, block2 and block3."
    )
    head_width: int = Field(256, ge=8, le=4096, description="Channels of the squeezed features and of the three heads.")

    @model_validator(mode="after")
    def _stride_is_possible(self) -> "DetNetSettings":
        if self.input_px not in [cell_px * self.map_cells for cell_px in _STRIDES]:
            fitting = [self.input_px // cell_px for cell_px in _STRIDES if self.input_px % cell_px == 0]
            allowed = " or ".join(str(cells) for cells in fitting if cells >= 8) or "no map; take a multiple of 4"
            raise Faults([("map_cells", f"is {self.map_cells}, but input_px {self.input_px} allows only {allowed}")])
        return self

    @property
    def strides(self) -> tuple[int, int]:
        """Strides of the stem and of block2; between them the map is halved once."""
        return _STRIDES[self.input_px // self.map_cells]


class PretrainingSettings(Settings):
    """Supervised training of a source network on labelled data sets."""

    seed: int = Field(
        1, ge=0, le=MOST_SEED, description="Root of the first weights, the order of images and their augmentation."
    )
    epochs: int = Field(500, ge=1, le=100_000, description="Passes over the training data.")
    batch_size: int = Field(32, ge=1, le=100_000, description="Images per step.")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Of Adam, at the start.")
    schedule: Literal["step", "cosine"] = Field(
        "step", description="step: times 0.1 every 250 epochs (published); cosine: to zero."
    )
    held_out_fraction: float = Field(
        0.05, ge=0, lt=1, description="Share of the images kept for the curves and not trained on."
    )
    grey_probability: float = Field(
        0.0, ge=0, le=1, description="Share of training images turned grey; the published code has none."
    )
    turn_deg: float = Field(
        90.0, ge=0, le=180, description="Largest turn of training images about the optical axis, either way."
    )
    blur_px: float = Field(
        0.5, ge=0, le=1, description="Largest blur of training images, in pixels of the network's input."
    )
    noise: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Largest sensor noise on training images; white minus black is 1. None as published.",
    )
    warm_up_steps: int = Field(0, ge=0, le=1_000_000, description="Steps over which the learning rate rises from zero.")
    weight_average: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Momentum of an exponential average of the weights over the steps, which is what is scored and "
        "written; 0: the last weights, as published.",
    )
    precision: Precision = Field(
        "float32",
        description="bfloat16: convolutions in half precision, almost twice as fast on CPUs and GPUs that have it, "
        "which auto looks up.",
    )


class SourceSettings(Settings):
    """One source network: its root joint, its training data and, if given, its checkpoint."""

    network: str = Field("detnet", description="The hand network, one that learns; only DetNet is trained here.")
    root_joint: Literal[0, 9] = Field(description="DetNet's root of the location maps: 0 in-dataset, 9 cross-dataset.")
    datasets: tuple[str, ...] = Field(
        min_length=1,
        description="Labelled data it is trained on.",
        json_schema_extra={"items": {"enum": list(LABELLED)}},
    )
    checkpoint: str | None = Field(
        None, description="A checkpoint file; `package:NAME` is one that handloom ships; null trains one."
    )
    start: str | None = Field(
        None,
        description="A DetNet checkpoint that a training here begins as: one of the same width and maps, with as many "
        "bottlenecks or fewer, at any input; `package:NAME` is one that handloom ships. null: random weights.",
    )
    ray_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the turn from the optical axis to the hand that this network's poses lack, since a crop "
        "does not tell it: poses are turned by it before the cameras' rotation is estimated. 0 as published.",
    )
    turned_poses: bool = Field(
        False, description="Give poses and labels this turn, too; as published only rotations' estimates know of it."
    )
    plus: PlusSettings | None = Field(
        None,
        description="S2DHand+, a row of its own beside S2DHand, for DetNet and fidelity fixed. null leaves it out.",
    )

    @model_validator(mode="after")
    def _datasets_are_known(self) -> "SourceSettings":
        unknown = sorted(set(self.datasets) - set(LABELLED))
        if unknown:
            raise Faults([("datasets", f"has {unknown}; expected some of {', '.join(LABELLED)}")])
        if len(set(self.datasets)) < len(self.datasets):
            raise Faults([("datasets", f"{list(self.datasets)} repeat; name each once")])
        return self


class SourcesSettings(Settings):
    """The source networks of the two settings of the paper."""

    in_: SourceSettings = Field(alias="in", description="In-dataset: trained on AssemblyHands.")
    cross: SourceSettings = Field(description="Cross-dataset: trained on anything but AssemblyHands.")
