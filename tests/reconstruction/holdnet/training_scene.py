"""A tiny training of HOLD-Net on the held box, and the outputs of its stages."""

from pathlib import Path

import torch

from handloom.reconstruction.build_folder import read_build
from handloom.reconstruction.compact.scene_poses import PoseArrays
from handloom.reconstruction.holdnet.phases import PhaseOutputs, started_net
from handloom.reconstruction.holdnet.scene_start import Video, set_poses
from handloom.reconstruction.holdnet.training import HoldNetTraining
from handloom.runtime.config.holdnet_training import HandPriorSettings, HoldNetPhaseSettings, HoldNetTrainingSettings

from ..compact.scene import MODEL  # noqa: TID252 (the tests are no package)
from .scene import small_settings

PRIOR = HandPriorSettings(steps=30, points=256, pool=2000)


def tiny_settings(**more: object) -> HoldNetTrainingSettings:
    """Narrow networks, few rays, and an epoch of three steps, so that all targets appear within a few."""
    phase = HoldNetPhaseSettings(epochs=3)
    tiny = {
        "network": small_settings(),
        "prior": PRIOR,
        "pairs": 2,
        "pairs_per_epoch": 6,
        "rays": 8,
        "network_rate": 2e-3,
        "pose_rate": 1e-4,
        "hand_refresh_steps": 2,
        "meshing_epochs": 1,
        "mesh_cells": 12,
        "preview_steps": 4,
        "preview_width_px": 10,
        "checkpoint_seconds": 0.0,
        "phase1": phase,
        "phase3": phase,
    }
    return HoldNetTrainingSettings.model_validate(tiny | more)


def tiny_training(
    build: Path,
    prior: Path,
    settings: HoldNetTrainingSettings,
    *,
    seed: int = 3,
    poses: PoseArrays | None = None,
    device: str = "cpu",
) -> HoldNetTraining:
    """A new training of phase 1."""
    scene = read_build(build, {"right": MODEL})
    net = started_net(settings, scene, MODEL, prior, None, None, seed)
    if poses is not None:
        set_poses(net, poses, MODEL, scene.placement)
    video = Video.of(scene, "right")
    return HoldNetTraining(scene, MODEL, video.to(device), net.to(device), settings, seed)


def totals(training: HoldNetTraining, steps: int) -> list[float]:
    """The losses of so many steps."""
    return [float(training.run_step().total.detach()) for _ in range(steps)]


def gradients(training: HoldNetTraining) -> dict[str, torch.Tensor]:
    """All that a step has left."""
    return {name: value.grad for name, value in training.net.named_parameters() if value.grad is not None}


def outputs_in(folder: Path) -> PhaseOutputs:
    """A phase's files in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ("network.safetensors", "poses.npz", "object.npz", "history.csv", "previews")
    return PhaseOutputs(*(folder / name for name in names))
