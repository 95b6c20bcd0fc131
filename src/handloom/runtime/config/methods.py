"""The adaptation methods that S2DHand is compared with: a row each, and their settings.

The papers say little of how these methods are attached to DetNet; docs/methods.md argues for each default.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, create_model, model_validator

from handloom.runtime.config.base import Faults, Settings
from handloom.runtime.config.sources import Pair


class FineTuneSettings(Settings):
    """Fine-tuning with the target's labels."""

    learning_rate: float = Field(5e-4, gt=0, le=1, description="Of Adam.")


class AddaSettings(Settings):
    """ADDA: an encoder of the target whose features a discriminator cannot tell from the source's."""

    learning_rate: float = Field(3e-6, gt=0, le=1, description="Of Adam, for the encoder.")
    discriminator_learning_rate: float = Field(2e-4, gt=0, le=1, description="Of Adam, for the discriminator.")
    features: Literal["pooled", "cells"] = Field(
        "pooled", description="What is told apart: the map's mean feature, or the feature of every cell."
    )


class DagenSettings(Settings):
    """DAGEN: target embeddings drawn to combinations of source embeddings, after their poses."""

    learning_rate: float = Field(3e-5, gt=0, le=1, description="Of Adam.")
    form: Literal["joint", "hand"] = Field(
        "joint", description="joint: each joint with the feature where it is seen; hand: all joints, the mean feature."
    )
    bank: int = Field(1024, ge=1, le=1_000_000, description="Source samples among which neighbours are sought.")
    neighbours: int = Field(5, ge=1, le=1000, description="k: source labels that a prediction is combined of.")
    radius: float = Field(
        0.4, gt=0, le=100, description="Neighbours differ by at most so many bone lengths per coordinate."
    )


class RegdaSettings(Settings):
    """RegDA: a second heat-map head that is taught to be wrong on the target, and features that foil it."""

    learning_rate: float = Field(1e-5, gt=0, le=1, description="Of Adam, for features and heads.")
    ramp_updates: float = Field(
        50.0,
        gt=0,
        le=1e6,
        description="Updates over which lambda grows, standard budget; the published 1000 leaves it at 0.",
    )
    ramp_updates_long: float = Field(100.0, gt=0, le=1e6, description="The same, long budget.")


class SfdahpeSettings(Settings):
    """SFDAHPE: source, intermediate and target network, without source data."""

    learning_rate: float = Field(
        1e-5, gt=0, le=1, description="Of Adam, for the source's heads and the target network."
    )
    momentum: float = Field(0.99, ge=0, lt=1, description="Intermediate network kept a step, standard budget.")
    momentum_long: float = Field(0.995, ge=0, lt=1, description="The same, long budget; published 0.999.")


@dataclass(frozen=True)
class MethodRow:
    """What the plan of a run and the table know of a method: nothing here loads it."""

    title: str
    """Its name in the table."""
    stage: str
    """Its module in `adaptation/methods` and stage."""
    section: str
    """The section of its settings; variants of one method share it."""
    settings: type[Settings]
    note: Callable[[Any], str]
    """What of it is ours, said beside its numbers, after its settings."""
    source: Literal["none", "images", "labels"] = "none"
    """What it keeps of the source's data; `none` is source-free."""
    with_labels: bool = False
    """Whether it is taught by the target's labels."""


_PROPOSED = "attachment to DetNet proposed here, the paper's is unpublished"
_RECIPE = "on the scored pairs: the paper's recipe is unknown"

METHODS: dict[str, MethodRow] = {
    "fine_tune": MethodRow(
        "Fine-tune",
        "fine_tune:adapt",
        "fine_tune",
        FineTuneSettings,
        lambda _: f"batch norm statistics frozen; {_RECIPE}",
        with_labels=True,
    ),
    "fine_tune_bn": MethodRow(
        "Fine-tune, batch norm trained",
        "fine_tune:adapt_batch_norm",
        "fine_tune",
        FineTuneSettings,
        lambda _: f"batch norm statistics trained; {_RECIPE}",
        with_labels=True,
    ),
    "adda": MethodRow(
        "ADDA",
        "adda:adapt",
        "adda",
        AddaSettings,
        lambda adda: (
            f"{_PROPOSED}: discriminator on the trunk's "
            + ("mean feature" if adda.features == "pooled" else "feature of each cell")
        ),
        source="images",
    ),
    "dagen": MethodRow(
        "DAGEN",
        "dagen:adapt",
        "dagen",
        DagenSettings,
        lambda dagen: (
            f"{_PROPOSED}: embeddings {'per joint' if dagen.form == 'joint' else 'of the whole hand'}, "
            f"{dagen.neighbours} neighbours of {dagen.bank} source samples"
        ),
        source="labels",
    ),
    "regda": MethodRow(
        "RegDA",
        "regda:adapt",
        "regda",
        RegdaSettings,
        lambda regda: (
            f"{_PROPOSED}: second heat-map head; ramp of lambda {regda.ramp_updates:g} updates, long budget "
            f"{regda.ramp_updates_long:g} (published 1000)"
        ),
        source="labels",
    ),
    "sfdahpe": MethodRow(
        "SFDAHPE",
        "sfdahpe:adapt",
        "sfdahpe",
        SfdahpeSettings,
        lambda sfdahpe: (
            f"repaired, the released code does not run; {_PROPOSED}: momentum {sfdahpe.momentum:g}, long "
            f"budget {sfdahpe.momentum_long:g} (published 0.999)"
        ),
    ),
}

_Sections = create_model(
    "_Sections",
    __base__=Settings,
    **{row.section: (row.settings, row.settings()) for row in METHODS.values()},  # type: ignore[call-overload]  # its stubs want fields by name
)


class MethodsSettings(_Sections):
    """The table of adaptation methods, cross-dataset; pairs per step, epochs and seeds are S2DHand's."""

    names: tuple[str, ...] = Field(
        tuple(METHODS), description="Methods besides S2DHand.", json_schema_extra={"items": {"enum": list(METHODS)}}
    )
    pairs: tuple[Pair, ...] = Field(("1-4", "2-3"), min_length=1, description="Camera pairs of this table.")
    long_epochs: int = Field(12, ge=1, le=100_000, description="Passes over the adaptation pairs of the long budget.")
    long_names: tuple[str, ...] = Field(
        ("adda", "regda", "sfdahpe"), description="Methods that the long budget is also given to."
    )

    @model_validator(mode="after")
    def _names_are_known_once(self) -> "MethodsSettings":
        repeated = [
            (name, f"{list(values)} repeat; name each once")
            for name in ("names", "pairs", "long_names")
            if len(set(values := getattr(self, name))) < len(values)
        ]
        unknown = sorted(set(self.names) - set(METHODS))
        late = sorted(set(self.long_names) - set(self.names))
        Faults.require_none(
            [
                *repeated,
                *([("names", f"has {unknown}; expected some of {', '.join(METHODS)}")] if unknown else []),
                *([("long_names", f"has {late}, which names lacks")] if late else []),
            ]
        )
        return self

    def of(self, method: str) -> Any:
        """A method's own settings."""
        return getattr(self, METHODS[method].section)
