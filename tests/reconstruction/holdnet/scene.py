"""A small HOLD-Net with the embedded hand and rays at it; a tiny training of it on the held box, and its files."""

from pathlib import Path

import torch
from torch import Tensor

from handloom.hand.joints import Side
from handloom.hand.models import open_hand
from handloom.reconstruction.build_folder import read_build
from handloom.reconstruction.holdnet.checkpoint import ObjectServer
from handloom.reconstruction.holdnet.model import HoldNet, SceneRays
from handloom.reconstruction.holdnet.phases import set_poses, started_net, train_holdnet
from handloom.reconstruction.holdnet.training import HoldNetTraining, Video
from handloom.reconstruction.tracks import SequencePoses
from handloom.runtime.config.fields import (
    BackgroundSettings,
    BarfSettings,
    ColourNetSettings,
    HandPriorSettings,
    HoldNetSettings,
    HoldNetTrainingSettings,
    SamplerSettings,
    SdfNetSettings,
)

from ..held_box import MODEL

FRAMES = 3
SCENE_SCALE = 4.0
PRIOR = HandPriorSettings(steps=30, points=256, pool=2000)


def small_settings() -> HoldNetSettings:
    """Narrow networks and few samples."""
    return HoldNetSettings(
        sdf=SdfNetSettings(width=48, hidden_layers=3, skip_layer=2, features=8, frequencies=2),
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
        object_server=ObjectServer(
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


def tiny_settings(**more: object) -> HoldNetTrainingSettings:
    """Narrow networks, few rays, and an epoch of three steps, so that all targets appear within a few."""
    tiny = {
        "network": small_settings(),
        "pairs": 2,
        "pairs_per_epoch": 6,
        "rays": 8,
        "network_rate": 2e-3,
        "pose_rate": 1e-4,
        "hand_refresh_steps": 2,
        "meshing_epochs": 1,
        "mesh_cells": 12,
    }
    return HoldNetTrainingSettings.model_validate(tiny | more)


def tiny_training(
    build: Path,
    prior: Path,
    settings: HoldNetTrainingSettings,
    *,
    seed: int = 3,
    poses: SequencePoses | None = None,
    device: str = "cpu",
    chunks: int = 1,
) -> HoldNetTraining:
    """A new training of phase 1."""
    scene = read_build(build, {"right": MODEL})
    net = started_net(settings.network, scene, MODEL, prior, None, None, seed)
    if poses is not None:
        set_poses(net, poses, MODEL, scene.placement)
    video = Video.of(scene, "right")
    return HoldNetTraining(scene, MODEL, video.to(device), net.to(device), settings, seed, chunks)


def outputs_in(folder: Path) -> dict[str, Path]:
    """A phase's files in a folder, by the names that the stage has for them."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {"network": "network.safetensors", "poses": "poses.npz", "mesh": "object.npz", "history": "history.csv"}
    return {name: folder / file for name, file in names.items()} | {"previews": folder / "previews"}


def trained(
    build: Path, prior: Path, folder: Path, settings: HoldNetTrainingSettings, *, epochs: int = 3, **more: object
) -> dict[str, Path]:
    """Run the stage, which saves its state after every step."""
    outputs, run = outputs_in(folder), {"phase": "phase1", "work": folder / "work", "seed": 1, **more}
    train_holdnet(build, prior, **outputs, settings=settings, epochs=epochs, checkpoint_seconds=0.0, **run)
    return outputs
