"""HandOccNet on what S2DHand's networks see: grey crops of single views, left hands mirrored."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional

from handloom.datasets.crops import BOX_MARGIN
from handloom.estimators.handoccnet.checkpoint import load_checkpoint
from handloom.estimators.handoccnet.mano_hand import fitting_hand
from handloom.estimators.handoccnet.network import HandOccNet
from handloom.estimators.handoccnet.prediction import predict
from handloom.estimators.handoccnet.preprocessing import INPUT_PX
from handloom.hand.mano import HandModel
from handloom.runtime.config.handoccnet import HandOccNetSettings


@dataclass(frozen=True)
class ViewJoints:
    """Joints of the hands in crops, by a network that takes each view alone."""

    network: HandOccNet
    hand_model: HandModel
    settings: HandOccNetSettings

    @classmethod
    def of(cls, checkpoint: Path, hand_model: HandModel, settings: HandOccNetSettings) -> "ViewJoints":
        """The network filled from its checkpoint; raises InputError as `fitting_hand` and `load_checkpoint` do."""
        hand = fitting_hand(hand_model, settings.fidelity)
        return cls(load_checkpoint(checkpoint), hand, settings)

    def __call__(
        self, image_u8: UInt8[np.ndarray, "hands px px"], is_left: Bool[np.ndarray, " hands"]
    ) -> Float[np.ndarray, "hands 21 3"]:
        """SNAP, metres relative to the wrist, along the camera's axes; left hands are mirrored back."""
        shown = enlarged(torch.from_numpy(image_u8), self.settings.field_of_box / BOX_MARGIN)
        joints = predict(self.network, shown, self.hand_model, batch_size=self.settings.batch_size).joints_m.numpy()
        return np.where(is_left[:, None, None], np.array([-1.0, 1.0, 1.0]), 1.0) * joints


def enlarged(image_u8: UInt8[Tensor, "hands px px"], share: float) -> UInt8[Tensor, "hands size size 3"]:
    """The middle of grey squares, that share of their side, at HandOccNet's size and in three equal channels.

    Bilinear; black where the share is more than there is.
    """
    count = len(image_u8)
    zoom = torch.tensor([[share, 0, 0], [0, share, 0]], dtype=torch.float32).expand(count, -1, -1)
    grid = functional.affine_grid(zoom, [count, 1, INPUT_PX, INPUT_PX], align_corners=False)
    grey = functional.grid_sample(image_u8[:, None].float(), grid, align_corners=False)
    return grey.round().byte().permute(0, 2, 3, 1).expand(-1, -1, -1, 3)
