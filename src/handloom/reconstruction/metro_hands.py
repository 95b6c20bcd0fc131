"""METRO as a hand estimator: MANO's mesh, its joints and its key points in the image (facts/hold.md 1.3, 1.4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from handloom.estimators.mesh_hands import mirrored
from handloom.estimators.metro.checkpoint import load_checkpoint
from handloom.estimators.metro.mesh_joints import METRO_FINGERTIPS
from handloom.estimators.metro.network import Metro
from handloom.estimators.metro.prediction import MeshJoints, predict
from handloom.estimators.metro.preprocessing import INPUT_PX
from handloom.hand.joints import Side
from handloom.hand.mano import HandModel
from handloom.reconstruction.found_hands import FoundHands
from handloom.reconstruction.hand_squares import HandFrame, HandSquares
from handloom.reconstruction.upright_crops import found_hands, upright_crops
from handloom.runtime.config.metro import MetroSettings


@dataclass(frozen=True)
class MetroEstimator:
    """METRO on RGB crops, one per frame; left hands are mirrored, as its weights know right ones only.

    It gives no confidence: a found hand has 1. Outliers are left to the registration, which HOLD finds by their volume.
    HOLD's crops are 256 to 700 pixels wide whatever the hand's size; that suits its videos, and is not done here.
    """

    network: Metro
    settings: MetroSettings
    mesh_joints: MeshJoints
    device: str = "cpu"

    @classmethod
    def of(
        cls, settings: MetroSettings, hand_model: HandModel, checkpoint: Path | None = None, device: str = "cpu"
    ) -> "MetroEstimator":
        """The network filled from its checkpoint; raises InputError as `load_checkpoint` does."""
        path = Path(settings.checkpoint) if checkpoint is None else checkpoint
        return cls.around(load_checkpoint(path, hand_model, device=device), settings, hand_model, device)

    @classmethod
    def around(
        cls, network: Metro, settings: MetroSettings, hand_model: HandModel, device: str = "cpu"
    ) -> "MetroEstimator":
        """The estimator of a network that is there already."""
        tips = METRO_FINGERTIPS if settings.fidelity == "faithful" else hand_model.tip_vertices
        return cls(network, settings, MeshJoints(hand_model.J_regressor.cpu(), tips), device)

    def __call__(self, frames: Sequence[HandFrame], squares: HandSquares, side: Side) -> FoundHands:
        crops = upright_crops(frames, squares, INPUT_PX, self.settings.field_of_box, self.settings.blank)
        shown = crops.mirrored_u8 if side == "left" else crops.image_u8
        hands = predict(self.network, shown, self.mesh_joints, batch_size=self.settings.batch_size, device=self.device)
        return found_hands(mirrored(hands) if side == "left" else hands, crops)
