"""A HandOccNet small enough for tests, and one that knows the answer."""

import torch
from torch import Tensor

from handloom.estimators.handoccnet.network import HandOccNet, HandOccNetArchitecture, HandOccNetOutput
from handloom.hand.models import open_hand
from handloom.runtime.seeds import torch_generator

from ..hands.hand_of_778 import brightest

SMALL = HandOccNetArchitecture(
    stem=2, blocks=(1, 1, 1, 1), width=8, cells=8, layers=1, heads=2, widening=2, depth=2, poolings=3, hidden=(12, 8),
    shape=open_hand().shape_count,
)  # fmt: skip
IMAGE_PX = 8 * SMALL.cells


def small_handoccnet(seed: int = 1, architecture: HandOccNetArchitecture = SMALL) -> HandOccNet:
    """The network with random weights, whose batch norms and cell embeddings have something to do."""
    network = HandOccNet(architecture)
    generator = torch_generator(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
            elif value.is_floating_point():
                value.copy_(0.3 * torch.randn(value.shape, generator=generator))
    return network.eval()


class KnowingHandOccNet(HandOccNet):
    """Answers with one pose, and with all key points on the brightest place of each image."""

    def __init__(self) -> None:
        super().__init__(SMALL)
        angles = torch.linspace(-0.5, 0.8, 16)
        zeros, ones = torch.zeros(16), torch.ones(16)
        rows = [angles.cos(), -angles.sin(), zeros, angles.sin(), angles.cos(), zeros, zeros, zeros, ones]
        self.turned = torch.stack(rows, -1).unflatten(-1, (3, 3))

    def forward(self, image: Tensor) -> HandOccNetOutput:
        count = len(image)
        keypoints = (brightest(image) / image.shape[-1])[:, None].expand(-1, 21, -1)  # as it was trained
        return HandOccNetOutput(keypoints, self.turned.expand(count, -1, -1, -1), torch.full((count, SMALL.shape), 0.2))
