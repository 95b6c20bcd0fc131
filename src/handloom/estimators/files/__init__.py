"""Hands that another tool has found, from its files: HOLD's own first results, and MANO's parameters of each frame."""

from typing import Literal

from pydantic import Field

from handloom.estimators.hands import NetworkRow
from handloom.runtime.config.base import Settings

MATCH_SETTING = "hold.hand.estimation.files.match"


class FileHandsSettings(Settings):
    """Hands from files of other tools (docs/your_own_video.md), a sequence's `hand_files` or a view's `left_hands`."""

    match: Literal["name", "extracted", "order"] = Field(
        "name",
        description="How pictures are matched to frames: by original names or numbers; extracted: by the numbers of "
        "the extracted frames; order: the nth is the nth frame used.",
    )


FILES = NetworkRow("files", FileHandsSettings, weights=None)
