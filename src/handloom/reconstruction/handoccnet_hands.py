"""HandOccNet as a hand estimator: MANO's mesh, its joints, and key points of their own (facts/comparisons.md 2.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from handloom.estimators.handoccnet.checkpoint import load_checkpoint
from handloom.estimators.handoccnet.mano_hand import fitting_hand
from handloom.estimators.handoccnet.network import HandOccNet
from handloom.estimators.handoccnet.prediction import predict
from handloom.estimators.handoccnet.preprocessing import INPUT_PX
from handloom.estimators.mesh_hands import mirrored
from handloom.hand.joints import Side
from handloom.hand.mano import HandModel
from handloom.reconstruction.found_hands import FoundHands
from handloom.reconstruction.hand_squares import HandFrame, HandSquares
from handloom.reconstruction.upright_crops import found_hands, upright_crops
from handloom.runtime.config.handoccnet import HandOccNetSettings


@dataclass(frozen=True)
class HandOccNetEstimator:
    """HandOccNet on RGB crops, one per frame; left hands are mirrored, as its weights know right ones only.

    It gives no confidence: a hand is found in every square.
    """

    network: HandOccNet
    settings: HandOccNetSettings
    hand_model: HandModel
    """The right MANO hand, with the vertices that are taken for finger tips."""
    device: str = "cpu"

    @classmethod
    def of(
        cls, settings: HandOccNetSettings, hand_model: HandModel, checkpoint: Path | None = None, device: str = "cpu"
    ) -> "HandOccNetEstimator":
        """The network filled from its checkpoint; raises InputError as `fitting_hand` and `load_checkpoint` do."""
        hand = fitting_hand(hand_model, settings.fidelity)
        path = Path(settings.checkpoint) if checkpoint is None else checkpoint
        return cls(load_checkpoint(path, device=device), settings, hand, device)

    def __call__(self, frames: Sequence[HandFrame], squares: HandSquares, side: Side) -> FoundHands:
        crops = upright_crops(frames, squares, INPUT_PX, self.settings.field_of_box, self.settings.blank)
        shown = crops.mirrored_u8 if side == "left" else crops.image_u8
        hands = predict(self.network, shown, self.hand_model, batch_size=self.settings.batch_size, device=self.device)
        return found_hands(mirrored(hands) if side == "left" else hands, crops)
