"""HOLD's phases 1 and 3 with the paper's networks, as a stage with the files of any other field (facts/hold.md 0)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from handloom.hand.mano import HandModel
from handloom.reconstruction.build_folder import read_build
from handloom.reconstruction.build_scene import BuildScene
from handloom.reconstruction.compact.object_mesh import write_object_mesh
from handloom.reconstruction.compact.scene_input import object_cube, poses_of, read_poses, write_poses
from handloom.reconstruction.holdnet.checkpoint import load_strictly, read_checkpoint
from handloom.reconstruction.holdnet.hand_prior import read_hand_prior
from handloom.reconstruction.holdnet.model import HoldNet
from handloom.reconstruction.holdnet.object_meshing import object_mesh
from handloom.reconstruction.holdnet.preview import write_preview
from handloom.reconstruction.holdnet.scene_start import Video, net_of_scene, picture_files, set_poses
from handloom.reconstruction.holdnet.training import HoldNetTraining
from handloom.reconstruction.phase_run import PhaseLength, PhaseOutputs, require_frames, run_phase
from handloom.runtime.artifacts import Header, write_weights
from handloom.runtime.checkpoints import CheckpointFolder, fingerprint
from handloom.runtime.config.holdnet_training import COST_ONLY, HoldNetTrainingSettings
from handloom.runtime.devices import computing_on
from handloom.runtime.files import write_table
from handloom.runtime.seeds import torch_generator

FIELDS = "hold_net"
PhaseName = Literal["phase1", "phase3"]


def train_holdnet_phase(
    settings: HoldNetTrainingSettings,
    phase: PhaseName,
    model: HandModel,
    build: Path,
    prior: Path,
    poses: Path | None = None,
    checkpoint: Path | None = None,
    *,
    outputs: PhaseOutputs,
    work: Path,
    seed: int,
    threads: int | None = None,
    device: str = "cpu",
    code: str = "",
) -> None:
    """Stage: train HOLD-Net from fresh networks and the hand's prior, and the poses with them.

    Poses and the object's scale start from `poses` (phase 2's) or, without, from the build folder; nothing else is
    carried over between phases. With `checkpoint`, a released one, everything starts from there. A killed run goes on
    from its last checkpoint and ends with the same numbers on a CPU. Raises InputError for a folder that cannot be
    used, a training that diverged, an object without surface, or a device that is not there or too small.
    """
    epochs = settings.phase1.epochs if phase == "phase1" else settings.phase3.epochs
    given = [*picture_files(build), prior, *(path for path in (poses, checkpoint) if path is not None)]
    decisive = settings.model_dump(mode="json", exclude=set(COST_ONLY))
    folder = CheckpointFolder(work, fingerprint(decisive, phase, seed, code, given))
    scene = read_build(build, {model.side: model})
    video = Video.of(scene, model.side)
    require_frames(build, scene.names, video.seen(model.side))
    with computing_on(device, threads):
        net = started_net(settings, scene, model, prior, poses, checkpoint, seed)
        training = HoldNetTraining(scene, model, video.to(device), net.to(device), settings, seed)
        length = PhaseLength(
            phase,
            epochs * settings.steps_per_epoch,
            settings.rays_per_step,
            settings.preview_steps,
            settings.checkpoint_seconds,
        )
        run_phase(training, length, folder, outputs.previews, lambda path: write_preview(path, training))
        if not length.steps:
            write_preview(outputs.previews / "step-000000.png", training)
        _write(training, scene, outputs, seed, code)
    folder.remove()


def phase_settings(decisive: Mapping[str, Any], given: Mapping[str, Any]) -> HoldNetTrainingSettings:
    """The settings of a job: those that decide its result, and of the given ones those that only change its cost."""
    return HoldNetTrainingSettings.model_validate({**decisive, **{k: v for k, v in given.items() if k in COST_ONLY}})


def started_net(
    settings: HoldNetTrainingSettings,
    scene: BuildScene,
    model: HandModel,
    prior: Path,
    poses: Path | None,
    checkpoint: Path | None,
    seed: int,
) -> HoldNet:
    """The network that a phase starts from, on the CPU, so that all devices start alike."""
    net = net_of_scene(scene, model, settings.network, torch_generator(seed, "networks"))
    if checkpoint is not None:
        load_strictly(net, read_checkpoint(checkpoint), str(checkpoint))
        return net
    read_hand_prior(prior, net.hand_node(model.side).implicit_network)
    frames = scene.frame_count
    start = poses_of(scene, model) if poses is None else read_poses(poses, frames, model.shape_count)
    set_poses(net, start, model, scene.placement)
    return net


def _write(training: HoldNetTraining, scene: BuildScene, outputs: PhaseOutputs, seed: int, code: str) -> None:
    settings = training.settings
    network = training.net.object_node.implicit_network
    mesh = object_mesh(network, settings.mesh_cells, settings.mesh_margin, settings.points_at_once)
    # The unit sphere's way back to SfM units is the checkpoint's, if there is one.
    normalised_from_sfm = training.net.object_node.server.object_model.norm_mat.cpu()
    write_object_mesh(outputs.mesh, mesh, object_cube(normalised_from_sfm, settings.mesh_margin), seed=seed, code=code)
    write_weights(outputs.network, training.net.state_dict(), Header(FIELDS, seed=seed, code=code))
    write_table(outputs.history, pd.DataFrame(training.history, columns=None if training.history else ["step"]))
    write_poses(outputs.poses, training.poses(), seed=seed, code=code)
