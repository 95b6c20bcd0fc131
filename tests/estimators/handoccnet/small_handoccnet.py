"""A HandOccNet small enough for tests."""

import torch

from handloom.estimators.handoccnet.architecture import HandOccNetArchitecture
from handloom.estimators.handoccnet.network import HandOccNet
from handloom.hand.open_hand import open_hand
from handloom.runtime.seeds import torch_generator

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
