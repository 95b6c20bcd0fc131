"""The hand model that a run uses: the user's converted MANO, or the embedded hand."""

from pathlib import Path

from handloom.hand.joints import Side
from handloom.hand.mano import HandModel
from handloom.hand.model_file import read_hand_model
from handloom.hand.open_hand import open_hand


def configured_hand(converted: str | Path | None, side: Side = "right") -> HandModel:
    """The model in `converted` (resources/mano/mano_*.npz), or without one the embedded hand of that side."""
    return open_hand(side) if not converted else read_hand_model(Path(converted))[0]
