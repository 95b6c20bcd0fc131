"""A METRO small enough for tests, and one that knows the answer."""

import torch
from torch import Tensor

from handloom.estimators.metro.hands import template_tokens_m
from handloom.estimators.metro.hrnet import HRNetArchitecture
from handloom.estimators.metro.network import Metro, MetroArchitecture, MetroOutput
from handloom.hand.mano import HandModel, skin
from handloom.runtime.seeds import torch_generator

from ..hands.hand_of_778 import brightest, hand_of_778

SMALL = MetroArchitecture(
    HRNetArchitecture(width=4, stem=4, blocks=1, modules=(1, 1, 1), head=2, feature=16),
    hidden=(16, 8, 8), outputs=(8, 8, 3), layers=1, heads=2, positions=216,
)  # fmt: skip


def small_metro(seed: int = 1) -> Metro:
    """The network with random weights, whose batch norms have something to do."""
    network = Metro(SMALL, template_tokens_m(hand_of_778()))
    generator = torch_generator(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
            elif value.is_floating_point():
                value.copy_(0.3 * torch.randn(value.shape, generator=generator))
    return network.eval()


class KnowingMetro(Metro):
    """Answers with one mesh, and a camera that puts its wrist on the brightest place of each image."""

    def __init__(self, hand: HandModel, scale: float = 4.0) -> None:
        super().__init__(SMALL, template_tokens_m(hand))
        pose = torch.zeros(16, 3)
        pose[0] = torch.tensor([0.3, -1.2, 0.4])
        posed = skin(hand, pose_rotvec=pose, shape=torch.zeros(hand.shape_count), translation_m=torch.ones(3))
        self.vertices_m, self.scale = posed.vertices_m, scale

    def forward(self, image: Tensor) -> MetroOutput:
        place = 2 * (brightest(image) + 0.5) / image.shape[-1] - 1
        camera = torch.cat([torch.full_like(place[:, :1], self.scale), place / self.scale], -1)
        vertices = self.vertices_m.expand(len(image), -1, -1)
        return MetroOutput(camera, vertices[:, :21], vertices[:, :195], vertices)
