"""Networks of other authors that are drawn beside ours, as far as the user has their weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from handloom.figures.qualitative import ViewNetwork


def other_networks(
    handoccnet: str | Path | None, hand: str | Path | None, settings: Mapping[str, Any] | None
) -> dict[str, ViewNetwork]:
    """HandOccNet, with the MANO hand and the settings given; nothing without settings.

    Raises InputError for weights or a hand that do not fit.
    """
    if settings is None or not handoccnet:
        return {}
    # Only here, as a picture without it needs no torch.
    from handloom.estimators.handoccnet.view_joints import ViewJoints
    from handloom.hand.configured_hand import configured_hand
    from handloom.runtime.config.handoccnet import HandOccNetSettings

    network = ViewJoints.of(Path(handoccnet), configured_hand(hand), HandOccNetSettings.model_validate(settings))
    return {"HandOccNet": network}
