"""MediaPipe's hand landmark network: 21 joints of one hand that stands upright in a crop."""

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from handloom.estimators.mediapipe.tflite_network import TfliteNetwork
from handloom.hand.joints import JOINT_COUNT

INPUT_PX = 224


class HandLandmarks(NamedTuple):
    """Hands in square crops, in SNAP's order of joints, which is MediaPipe's own."""

    keypoints_crop_px: Float[Tensor, "batch 21 3"]
    """x and y from the crop's upper left corner (the first pixel's centre is at 0.5), and a depth of that scale."""
    presence: Float[Tensor, " batch"]
    """Probability that the crop shows an upright hand."""
    handedness: Float[Tensor, " batch"]
    """Probability of a right hand."""
    joints_m: Float[Tensor, "batch 21 3"]
    """Metres, about the hand's centre, along the crop's axes: x right, y down, z away from the camera."""


class LandmarkNetwork(nn.Module):
    """RGB crops of 224 pixels with values from 0 to 1, wrist below the fingers, to joints; all weights can be trained.

    It takes either hand, without mirroring. On real pictures its handedness is nearly always sure and right; of
    rendered hands, found by trying directions, it tells 84 % of right and 78 % of left ones rightly. In 6 to 12 % the
    hand's depth is turned inside out.

    Weights are named `graph.layers.K.weight` and `.bias`, K being the operator's place in the file. Of the file
    hand_landmark_full.tflite it has 2 715 680 of them and needs 0.1 s for a crop on one core.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        takes, gives = (1, INPUT_PX, INPUT_PX, 3), [(1, 3 * JOINT_COUNT), (1, 1), (1, 1), (1, 3 * JOINT_COUNT)]
        self.graph = TfliteNetwork(path, "hand landmark network", "hand_landmark_full.tflite", takes, gives)

    @classmethod
    def of(cls, path: Path, device: torch.device | str = "cpu") -> "LandmarkNetwork":
        """The network of a .tflite file, to predict with; raises InputError as `TfliteNetwork` does."""
        return cls(path).to(device).eval()

    def forward(self, image: Float[Tensor, "batch 3 224 224"]) -> HandLandmarks:
        """The hands in crops, as `network_input` makes them."""
        screen, presence, handedness, world = self.graph(image)
        keypoints, joints_m = (values.unflatten(1, (JOINT_COUNT, 3)) for values in (screen, world))
        return HandLandmarks(keypoints, presence[:, 0], handedness[:, 0], joints_m)
