"""HandOccNet as a hand estimator: MANO's mesh, its joints, and key points of their own (facts/comparisons.md 2.2)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from handloom.estimators.handoccnet.architecture import HandOccNetArchitecture
from handloom.estimators.handoccnet.checkpoint import load_checkpoint
from handloom.estimators.handoccnet.network import HandOccNet
from handloom.estimators.handoccnet.prediction import predict
from handloom.estimators.handoccnet.preprocessing import INPUT_PX
from handloom.estimators.mesh_hands import mirrored, require_mano
from handloom.hand.joints import MANO_FINGERTIPS_MANOPTH, Side
from handloom.hand.mano import HandModel
from handloom.reconstruction.found_hands import FoundHands
from handloom.reconstruction.hand_squares import HandFrame, HandSquares
from handloom.reconstruction.upright_crops import found_hands, upright_crops
from handloom.runtime.config.handoccnet import HandOccNetSettings
from handloom.runtime.errors import InputError

SHAPES = HandOccNetArchitecture().shape


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
        """The network filled from its checkpoint; raises InputError as `load_checkpoint`, and unless given MANO."""
        require_mano(hand_model, "HandOccNet")
        if hand_model.shape_count != SHAPES:
            raise InputError(
                f"HandOccNet: the hand model has {hand_model.shape_count} shape directions, but the network gives "
                f"{SHAPES} coefficients; set `mano` to the published files (https://mano.is.tue.mpg.de)"
            )
        path = Path(settings.checkpoint) if checkpoint is None else checkpoint
        return cls.around(load_checkpoint(path, device=device), settings, hand_model, device)

    @classmethod
    def around(
        cls, network: HandOccNet, settings: HandOccNetSettings, hand_model: HandModel, device: str = "cpu"
    ) -> "HandOccNetEstimator":
        """The estimator of a network that is there already."""
        tips = MANO_FINGERTIPS_MANOPTH if settings.fidelity == "faithful" else hand_model.tip_vertices
        return cls(network, settings, replace(hand_model.to("cpu"), tip_vertices=tips), device)

    def __call__(self, frames: Sequence[HandFrame], squares: HandSquares, side: Side) -> FoundHands:
        crops = upright_crops(frames, squares, INPUT_PX, self.settings.field_of_box, self.settings.blank)
        shown = crops.mirrored_u8 if side == "left" else crops.image_u8
        hands = predict(self.network, shown, self.hand_model, batch_size=self.settings.batch_size, device=self.device)
        return found_hands(mirrored(hands) if side == "left" else hands, crops)
