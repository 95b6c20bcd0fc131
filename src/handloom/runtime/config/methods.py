"""The adaptation methods that S2DHand is compared with; the defaults are facts/comparisons.md 1's proposals."""

from typing import Literal

from pydantic import Field, model_validator

from handloom.runtime.config.base import Settings
from handloom.runtime.config.datasets import Pair

MethodName = Literal["fine_tune", "fine_tune_bn", "adda", "dagen", "regda", "sfdahpe"]
Budget = Literal["standard", "long"]


class FineTuneSettings(Settings):
    """Fine-tuning with the target's labels."""

    learning_rate: float = Field(5e-4, gt=0, description="Of Adam.")


class AddaSettings(Settings):
    """ADDA: an encoder of the target whose features a discriminator cannot tell from the source's."""

    learning_rate: float = Field(1e-5, gt=0, description="Of Adam, for the encoder.")
    discriminator_learning_rate: float = Field(2e-4, gt=0, description="Of Adam, for the discriminator.")
    first_moment: float = Field(0.5, ge=0, lt=1, description="Adam's beta 1; published 0.5.")
    hidden: int = Field(500, ge=1, description="Width of the discriminator's two hidden layers.")
    features: Literal["pooled", "cells"] = Field(
        "pooled", description="What is told apart: the map's mean feature, or the feature of every cell."
    )


class DagenSettings(Settings):
    """DAGEN: target embeddings drawn to combinations of source embeddings, after their poses."""

    learning_rate: float = Field(1e-4, gt=0, description="Of Adam.")
    form: Literal["joint", "hand"] = Field(
        "joint", description="joint: each joint with the feature where it is seen; hand: all joints, the mean feature."
    )
    bank: int = Field(4096, ge=1, description="Source samples among which neighbours are sought.")
    neighbours: int = Field(5, ge=1, description="k: source labels that a prediction is combined of.")
    radius: float = Field(0.4, gt=0, description="Neighbours differ by at most so many bone lengths per coordinate.")
    ridge: float = Field(1e-3, gt=0, description="lambda of the combination's ridge regression.")
    embedding_weight: float = Field(1.0, ge=0, description="Weight of the embedding's loss.")
    detach_weights: bool = Field(True, description="Take the combination's weights as constants.")


class RegdaSettings(Settings):
    """RegDA: a second heat-map head that is taught to be wrong on the target, and features that foil it."""

    learning_rate: float = Field(1e-4, gt=0, description="Of Adam, for features and heads.")
    margin: float = Field(4.0, ge=0, description="Weight of the second head's loss on the source.")
    trade_off: float = Field(1.0, ge=0, description="Weight of all losses of the second head.")
    supervised_weight: float = Field(1.0, ge=0, description="Weight of DetNet's own loss on the source.")
    largest_lambda: float = Field(0.1, ge=0, description="Share of the second head's gradient that features get.")
    ramp_updates: float = Field(
        50.0, gt=0, description="Updates over which lambda grows, standard budget; the published 1000 leaves it at 0."
    )
    ramp_updates_long: float = Field(1000.0, gt=0, description="The same, long budget.")


class SfdahpeSettings(Settings):
    """SFDAHPE: source, intermediate and target network, without source data."""

    learning_rate: float = Field(1e-4, gt=0, description="Of Adam, for the source's heads and the target network.")
    backbone_share: float = Field(0.1, gt=0, description="Learning rate of the intermediate trunk over the others'.")
    residual_weight: float = Field(0.7, ge=0, description="Of what heat maps say beside their peaks.")
    contrast_weight: float = Field(0.5, ge=0, description="Of the contrast between joints.")
    information_weight: float = Field(0.85, ge=0, description="Of certain and varied heat maps.")
    map_weight: float = Field(1.0, ge=0, description="Of delta and location maps beside the heat maps.")
    momentum: float = Field(0.99, ge=0, lt=1, description="Intermediate network kept a step, standard budget.")
    momentum_long: float = Field(0.999, ge=0, lt=1, description="The same, long budget; published 0.999.")


class MethodsSettings(Settings):
    """The table of adaptation methods, cross-dataset; pairs per step, epochs and seeds are S2DHand's."""

    names: tuple[MethodName, ...] = Field(
        ("fine_tune", "fine_tune_bn", "adda", "dagen", "regda", "sfdahpe"), description="Methods besides S2DHand."
    )
    pairs: tuple[Pair, ...] = Field(
        ("1-2", "1-3", "1-4", "2-3", "2-4", "3-4"), min_length=1, description="Camera pairs of this table."
    )
    long_epochs: int = Field(125, ge=1, description="Passes over the adaptation pairs of the long budget.")
    long_names: tuple[MethodName, ...] = Field(
        ("adda", "regda", "sfdahpe"), description="Methods that the long budget is also given to."
    )
    source_grey_probability: float = Field(
        1.0, ge=0, le=1, description="Share of source images turned grey, as the target's are."
    )
    fine_tune: FineTuneSettings = FineTuneSettings()
    adda: AddaSettings = AddaSettings()
    dagen: DagenSettings = DagenSettings()
    regda: RegdaSettings = RegdaSettings()
    sfdahpe: SfdahpeSettings = SfdahpeSettings()

    @model_validator(mode="after")
    def _names_are_known_once(self) -> "MethodsSettings":
        for name in ("names", "pairs", "long_names"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} {list(values)} repeat")
        unknown = sorted(set(self.long_names) - set(self.names))
        if unknown:
            raise ValueError(f"long_names has {unknown}, which names lacks")
        return self
