"""A METRO small enough for tests, and a hand in MANO's topology cut from the open hand."""

from dataclasses import replace

import torch

from handloom.estimators.metro.architecture import MetroArchitecture
from handloom.estimators.metro.network import Metro
from handloom.estimators.metro.template import template_tokens_m
from handloom.hand.joints import Fingertips
from handloom.hand.mano import HandModel, rest_joints_m
from handloom.hand.mano_files import MANO_VERTEX_COUNT
from handloom.hand.open_hand import open_hand
from handloom.runtime.seeds import torch_generator

SMALL = MetroArchitecture(
    width=4, stem=4, blocks=1, modules=(1, 1, 1), head=2, feature=16, hidden=(16, 8, 8), outputs=(8, 8, 3), layers=1,
    heads=2, positions=216,
)  # fmt: skip


def hand_of_778() -> HandModel:
    """The open hand with as many vertices as MANO: a plausible hand, whose triangles mean nothing."""
    hand = open_hand()
    chosen = torch.linspace(0, len(hand.v_template) - 1, MANO_VERTEX_COUNT).long()
    template = hand.v_template[chosen]
    joints = rest_joints_m(hand, torch.zeros(hand.shape_count))
    near = torch.cdist(joints, template).topk(12, largest=False).indices
    regressor = torch.zeros(len(joints), MANO_VERTEX_COUNT).scatter(1, near, 1 / 12)
    thumb, index, middle, ring, pinky = (
        torch.cdist(hand.v_template[list(hand.tip_vertices)], template).argmin(1).tolist()
    )
    tips: Fingertips = (thumb, index, middle, ring, pinky)
    return replace(
        hand, v_template=template, shapedirs=hand.shapedirs[chosen], posedirs=hand.posedirs[chosen],
        J_regressor=regressor, weights=hand.weights[chosen], faces=hand.faces % MANO_VERTEX_COUNT, tip_vertices=tips,
        uv=None, uv_faces=None,
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
