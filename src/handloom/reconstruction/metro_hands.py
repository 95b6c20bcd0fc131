"""METRO as a hand estimator: MANO's mesh, its joints and its key points in the image (facts/hold.md 1.3, 1.4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from handloom.estimators.metro.checkpoint import load_checkpoint
from handloom.estimators.metro.mesh_joints import METRO_FINGERTIPS
from handloom.estimators.metro.network import Metro
from handloom.estimators.metro.prediction import MeshJoints, mirrored, predict
from handloom.estimators.metro.preprocessing import INPUT_PX
from handloom.hand.joints import JOINT_COUNT, Side
from handloom.hand.mano import HandModel
from handloom.reconstruction.found_hands import FoundHands
from handloom.reconstruction.hand_squares import FIELD_OF_BOX, GREY, HandFrame, HandSquares, turned_crops
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
        images, crop_from_image = self._crops(frames, squares)
        is_left = side == "left"
        shown = torch.from_numpy(np.ascontiguousarray(images[:, :, ::-1] if is_left else images))
        hands = predict(self.network, shown, self.mesh_joints, batch_size=self.settings.batch_size, device=self.device)
        hands = mirrored(hands) if is_left else hands
        in_crop = INPUT_PX * hands.keypoints.double() - 0.5
        keypoints = (in_crop - crop_from_image[:, None, :, 2]) @ torch.linalg.inv(crop_from_image[..., :2]).mT
        confidence = hands.seen.double()[:, None].expand(-1, JOINT_COUNT)
        return FoundHands(hands.joints_m.double(), keypoints, confidence, hands.vertices_m.double())

    def _crops(self, frames: Sequence[HandFrame], squares: HandSquares) -> tuple[np.ndarray, Tensor]:
        """Squares of 224 pixels, black outside of the image as in HOLD, and the maps into them from the image."""
        border = 0 if self.settings.blank == "nothing" else GREY
        sides = squares.side_px * (self.settings.field_of_box / FIELD_OF_BOX)
        views = [
            turned_crops(
                frame.picture(self.settings.blank), centre, float(extent), INPUT_PX, np.zeros(1), np.ones(1), border
            )
            for frame, centre, extent in zip(frames, squares.centre_px, sides, strict=True)
        ]
        maps = np.concatenate([matrices for _, matrices in views])
        return np.concatenate([crops for crops, _ in views]), torch.from_numpy(maps)
