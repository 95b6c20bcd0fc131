"""Hands in pictures: one kind of square, one record of found hands, one search, and what a network's folder says."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from handloom.runtime.assets import Asset
from handloom.runtime.config.base import Settings


@dataclass(frozen=True)
class NetworkRow:
    """What the plan of a run knows of a hand network: nothing here loads it.

    The folder `estimators/{name}` holds this row, the network, its weights' reader, and a module `hands` with the
    stages that the rules call: `find_hands`, and `crop_hands` where it learns.
    """

    name: str
    settings: type[Settings]
    weights: str | None
    """Which of its settings names its weights' file; None: it has none, since it takes hands from files."""
    detector: str | None = None
    """Which names the file of what finds hands in whole pictures; None: it must be told where they are."""
    searches: bool = False
    """Whether it finds hands in whole pictures."""
    tells_side: bool = False
    """Whether it can tell a right hand from a left one."""
    by_rule: tuple[str, ...] = ()
    """Files that a rule of the workflow fetches."""
    needs_mano: bool = False
    learner: str | None = None
    """The module of `adaptation` that teaches it poses and has its stage `predict_source`; None: it only answers."""
    s2dhand: str | None = None
    """The stage by which S2DHand adapts it."""
    assets: Callable[[Any], list[Asset]] = lambda settings: []
    """What the user may fetch, for `check`."""


class HandSearchSettings(Settings):
    """What counts as a hand, and how it is turned into the camera's axes."""

    least_score: float | None = Field(None, ge=0, le=1, description="Of a hand; null: the network's own.")
    least_hands: float = Field(ge=0, le=1, description="Share of the frames that must show a hand.")
    object_reach: float | None = Field(None, gt=0, description="See `hold.hand.estimation`.")
    ray_share: float = Field(1.0, ge=0, le=1, description="Share of the turn to the hand that joints are given.")
