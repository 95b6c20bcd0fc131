"""A small HOLD-Net with the embedded hand, and rays at it."""

import torch
from torch import Tensor

from handloom.hand.joints import Side
from handloom.hand.open_hand import open_hand
from handloom.reconstruction.holdnet.model import HoldNet
from handloom.reconstruction.holdnet.node import SceneRays
from handloom.reconstruction.holdnet.servers import ObjectModel
from handloom.runtime.config.holdnet import (
    BackgroundSettings,
    BarfSettings,
    ColourNetSettings,
    HoldNetSettings,
    SamplerSettings,
    SdfNetSettings,
)

FRAMES = 3
SCENE_SCALE = 4.0


def small_settings() -> HoldNetSettings:
    """Narrow networks and few samples."""
    return HoldNetSettings(
        sdf=SdfNetSettings(width=48, hidden_layers=3, skip_layer=2, features=8, frequencies=2, initial_radius=0.3),
        colour=ColourNetSettings(width=16, hidden_layers=1),
        background=BackgroundSettings(
            field=SdfNetSettings(width=32, hidden_layers=2, skip_layer=None, features=8, frequencies=2),
            colour_width=8,
            samples=6,
        ),
        sampler=SamplerSettings(first_samples=16, round_samples=16, final_samples=10, extra_samples=4, rounds=2),
        barf=BarfSettings(start_step=2, end_step=10),
        frame_code=4,
    )


def small_model(*sides: Side, seed: int = 0) -> HoldNet:
    """Hands of these sides (right when none is named) before the camera, with the object beside the origin."""
    hands = {side: open_hand(side) for side in sides or ("right",)}
    model = HoldNet(
        small_settings(),
        hands=hands,
        hand_shapes={side: torch.zeros(hand.shape_count) for side, hand in hands.items()},
        object_model=ObjectModel(
            object_scale=0.1, points_canonical=torch.zeros(5, 3), normalised_from_sfm=torch.eye(4)
        ),
        frames=FRAMES,
        generator=torch.Generator().manual_seed(seed),
    )
    with torch.no_grad():
        model.object_node.params["transl"].weight.add_(torch.tensor([0.02, 0.01, 0.0]))
    return model


def rays(count: int = 4) -> SceneRays:
    """Rays of two frames from z = 2 towards the middle of the scene."""
    origins = torch.tensor([[0.0, 0.0, 2.0]]).expand(2, 3)
    across = torch.linspace(-0.1, 0.1, 2 * count).reshape(2, count, 1)
    directions = torch.nn.functional.normalize(
        torch.cat([across, 0.5 * across, -torch.ones_like(across)], dim=-1), dim=-1
    )
    return SceneRays(torch.tensor([0, 2]), origins, directions, torch.full((2,), SCENE_SCALE))


def generator(seed: int = 1) -> torch.Generator:
    """A fresh stream."""
    return torch.Generator().manual_seed(seed)


def same(first: Tensor, second: Tensor) -> bool:
    """Equal bit for bit."""
    return torch.equal(first, second)
