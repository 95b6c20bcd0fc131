"""A hand like MANO's, and where the small video's bright spot is in a crop, for networks of meshes."""

from dataclasses import replace

import torch

from handloom.hand.joints import Fingertips
from handloom.hand.mano import HandModel, rest_joints_m
from handloom.hand.mano_files import MANO_VERTEX_COUNT
from handloom.hand.models import open_hand


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
        hands_mean=torch.linspace(-0.3, 0.4, 45), uv=None, uv_faces=None,
    )  # fmt: skip


def brightest(image: torch.Tensor) -> torch.Tensor:
    """The place (x, y) in pixels, whose centres are whole numbers, of each image's brightest spot."""
    light = (image.sum(1) > image.sum(1).amax((-1, -2), keepdim=True) - 0.2).float()
    pixels = torch.arange(image.shape[-1], dtype=torch.float32)
    total = light.sum((-1, -2))
    return torch.stack([(light.sum(-2) * pixels).sum(-1) / total, (light.sum(-1) * pixels).sum(-1) / total], -1)
