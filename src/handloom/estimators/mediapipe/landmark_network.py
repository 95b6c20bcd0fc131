"""MediaPipe's hand landmark network: 21 joints of one hand in an upright square, in the image and in space."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from handloom.estimators.mediapipe.graph_network import GraphNetwork
from handloom.estimators.mediapipe.tflite_file import Graph, read_graph
from handloom.hand.joints import JOINT_COUNT
from handloom.runtime.errors import InputError

INPUT_PX = 224
_OUTPUTS = ((1, 3 * JOINT_COUNT), (1, 1), (1, 1), (1, 3 * JOINT_COUNT))


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

    It takes either hand, without mirroring. Its handedness is weak: found by trying directions, 84 % of rendered right
    hands and 78 % of left ones are told rightly. In 6 to 12 % the hand's depth is turned inside out.

    Weights are named `graph.layers.K.weight` and `.bias`, K being the operator's place in the file. Of the file
    hand_landmark_full.tflite it has 2 715 680 of them and needs 0.1 s for a crop on one core.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        found = [graph.shapes[each] for each in graph.inputs], [graph.shapes[each] for each in graph.outputs]
        if found != ([(1, INPUT_PX, INPUT_PX, 3)], list(_OUTPUTS)):
            raise InputError(
                f"{graph.source}: is no hand landmark network: it takes {found[0]} and gives {found[1]}, expected one "
                f"RGB image of {INPUT_PX} pixels, and {_OUTPUTS}; MediaPipe's hand_landmark_full.tflite is one"
            )
        self.graph = GraphNetwork(graph)

    @classmethod
    def of(cls, path: Path, device: torch.device | str = "cpu") -> "LandmarkNetwork":
        """The network of a .tflite file; raises InputError as `read_graph` does, and for another network."""
        return cls(read_graph(path)).to(device).eval()

    def forward(self, image: Float[Tensor, "batch 3 224 224"]) -> HandLandmarks:
        """The hands in crops, as `network_input` makes them."""
        screen, presence, handedness, world = self.graph(image)
        return HandLandmarks(
            screen.unflatten(1, (JOINT_COUNT, 3)),
            presence[:, 0],
            handedness[:, 0],
            world.unflatten(1, (JOINT_COUNT, 3)),
        )


def network_input(
    images_u8: UInt8[np.ndarray, "batch px px 3"], device: torch.device | str = "cpu"
) -> Float[Tensor, "batch 3 px px"]:
    """RGB pictures as the networks take them: channels first, from 0 to 1."""
    return torch.from_numpy(np.ascontiguousarray(images_u8.transpose(0, 3, 1, 2))).to(device).float() / 255.0
