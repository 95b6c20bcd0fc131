"""Hands in frames: how they are looked for, and HOLD's choice of a network."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, create_model, model_validator

from handloom.estimators.hands import HandSearchSettings
from handloom.estimators.hands.registry import NETWORKS
from handloom.runtime.config.base import Faults, Settings

_Sections = create_model(
    "_Sections",
    __base__=Settings,
    **{name: (row.settings, row.settings()) for name, row in NETWORKS.items()},  # type: ignore[call-overload]  # its stubs want fields by name
)


class HandEstimationSettings(_Sections):
    """The network that finds the hand's joints in each frame."""

    backend: str = Field(
        "detnet",
        description="Which network; mediapipe for real videos; metro and handoccnet need their published weights and "
        "MANO; files: hands that another tool found, each sequence's `hand_files`.",
        json_schema_extra={"enum": list(NETWORKS)},
    )
    checkpoint: str | None = Field(
        None, description="Its weights; `package:NAME` is a file that handloom ships; null takes the network's own."
    )
    object_reach: float | None = Field(
        0.75,
        gt=0,
        le=100,
        description="Hand pixels farther from the object than so many of its lengths are forearm; null keeps all.",
    )
    least_score: float | None = Field(
        0.15,
        ge=0,
        le=1,
        description="A frame whose score of a hand is lower counts as without; null: the network's own.",
    )
    least_hands: float = Field(0.5, ge=0, le=1, description="Share of the frames that must show a hand.")

    @model_validator(mode="before")
    @classmethod
    def _side_is_the_sequences(cls, given: Any) -> Any:
        """The key that sides were named by before sequences named them: right is what it could be."""
        if not isinstance(given, Mapping) or "side" not in given:
            return given
        if given["side"] != "right":
            words = (
                f"is {given['side']}, but each sequence names its hand: remove this key, and set "
                "hold.sequences.NAME.hands: [left]; no video needs to be mirrored"
            )
            raise Faults([("side", words)])
        return {key: value for key, value in given.items() if key != "side"}

    @model_validator(mode="after")
    def _backend_is_known(self) -> "HandEstimationSettings":
        if self.backend not in NETWORKS:
            raise Faults([("backend", f"is {self.backend}; expected one of {', '.join(NETWORKS)}")])
        return self

    @property
    def search(self) -> HandSearchSettings:
        """What counts as a hand; joints get the whole turn to their viewing ray."""
        return HandSearchSettings(
            least_score=self.least_score, least_hands=self.least_hands, object_reach=self.object_reach
        )

    def of(self, network: str) -> Any:
        """A network's own settings."""
        return getattr(self, network)
