"""Phases 1 and 3 with HOLD's own networks, as a stage: from a build folder and first poses to the trained ones."""

from pathlib import Path

import pandas as pd
import roma
import torch
from torch import Tensor

from handloom.hand.mano import HandModel
from handloom.hand.models import configured_hand
from handloom.reconstruction.build_folder import BuildScene, read_build
from handloom.reconstruction.holdnet.canonical_targets import MESH_MARGIN, object_mesh
from handloom.reconstruction.holdnet.checkpoint import ObjectServer, load_strictly, read_checkpoint
from handloom.reconstruction.holdnet.hand_prior import read_hand_prior
from handloom.reconstruction.holdnet.model import HoldNet
from handloom.reconstruction.holdnet.object_prior import read_object_prior
from handloom.reconstruction.holdnet.training import HoldNetTraining, Video
from handloom.reconstruction.object_mesh import ObjectMesh
from handloom.reconstruction.phase_run import PhaseLength, given_files, require_frames, run_phase
from handloom.reconstruction.scene_placement import ScenePlacement
from handloom.reconstruction.scene_poses import object_cube
from handloom.reconstruction.tracks import HandTrack, ObjectTrack, SequencePoses, read_poses
from handloom.runtime.artifacts import Header, write_weights
from handloom.runtime.checkpoints import CheckpointFolder, fingerprint
from handloom.runtime.config.fields import HoldNetSettings, HoldNetTrainingSettings
from handloom.runtime.devices import computing_on
from handloom.runtime.files import write_table
from handloom.runtime.seeds import torch_generator

KIND = "hold_net"
PREVIEW_STEPS, PREVIEW_WIDTH_PX = 500, 80  # a picture at about every epoch of the published length


def train_holdnet(
    build: Path,
    prior: Path,
    network: Path,
    poses: Path,
    mesh: Path,
    history: Path,
    previews: Path,
    settings: HoldNetTrainingSettings,
    epochs: int,
    phase: str,
    work: Path,
    seed: int,
    device: str = "cpu",
    threads: int | None = None,
    chunks: int = 1,
    checkpoint_seconds: float = 120.0,
    code: str = "",
    first_poses: Path | None = None,
    checkpoint: Path | None = None,
    object_prior: Path | None = None,
    hand: Path | None = None,
) -> None:
    """Stage: train HOLD-Net from fresh networks and the hand's prior, and the poses with them.

    The object starts from its own prior where there is one, as a sphere without. Poses and the object's scale start
    from `first_poses` (phase 1's or 2's) or, without, from the build folder; nothing else is carried over between
    phases. With `checkpoint`, a released one, everything starts from there. A killed run goes on from its last
    checkpoint and ends with the same numbers on a CPU. Raises InputError for a folder that cannot be used, a training
    that diverged, an object without surface, or a device that is not there or too small.
    """
    model = configured_hand(hand)
    given = given_files(build, prior, first_poses, checkpoint, object_prior)
    folder = CheckpointFolder(work, fingerprint(settings, epochs, phase, seed, code, given))
    scene = read_build(build, {model.side: model})
    video = Video.of(scene, model.side)
    require_frames(build, scene.names, video.seen(model.side))
    with computing_on(device, threads):
        net = started_net(settings.network, scene, model, prior, first_poses, checkpoint, seed, object_prior)
        training = HoldNetTraining(scene, model, video.to(device), net.to(device), settings, seed, chunks)
        steps = epochs * settings.steps_per_epoch
        rays = settings.rays_per_step
        length = PhaseLength(phase, steps, rays, PREVIEW_STEPS, PREVIEW_WIDTH_PX, checkpoint_seconds)
        run_phase(training, length, folder, previews)
        surface = object_mesh(net.object_node.implicit_network, settings.mesh_cells)
    # The unit sphere's way back to SfM units is the checkpoint's, if there is one.
    cube = object_cube(net.object_node.server.normalised_from_sfm.cpu(), MESH_MARGIN)
    ObjectMesh.of(surface, cube).save(mesh, seed=seed, code=code)
    write_weights(network, net.state_dict(), Header(KIND, seed=seed, code=code))
    write_table(history, pd.DataFrame(training.history, columns=None if training.history else ["step"]))
    poses_of_net(net, model, scene.placement).save(poses, seed=seed, code=code)
    folder.remove()


def started_net(
    settings: HoldNetSettings,
    scene: BuildScene,
    model: HandModel,
    prior: Path,
    first_poses: Path | None,
    checkpoint: Path | None,
    seed: int,
    object_prior: Path | None = None,
) -> HoldNet:
    """The network that a phase starts from, on the CPU, so that all devices start alike."""
    net = net_of_scene(scene, model, settings, torch_generator(seed, "networks"))
    if checkpoint is not None:
        what = f"HOLD-Net of {scene.frame_count} frames with {', '.join(net.nodes)}"
        load_strictly(net, read_checkpoint(checkpoint), checkpoint, what)
        return net
    read_hand_prior(prior, net.hand_node(model.side).implicit_network)
    if object_prior is not None:
        read_object_prior(object_prior, net.object_node.implicit_network)
    frames = scene.frame_count
    start = scene.poses_cam(model)
    if first_poses is not None:
        start = read_poses(first_poses, frames, {model.side: model})[model.side]
    set_poses(net, start, model, scene.placement)
    return net


def net_of_scene(scene: BuildScene, model: HandModel, settings: HoldNetSettings, generator: torch.Generator) -> HoldNet:
    """A fresh HOLD-Net for a scene with one hand of the model's side; its poses are still zero."""
    return HoldNet(
        settings,
        hands={model.side: model},
        hand_shapes={model.side: scene.hands[model.side].shape.float()},
        object_server=ObjectServer(
            object_scale=float(scene.object.scale),
            points_canonical=scene.points_canonical,
            normalised_from_sfm=scene.normalised_from_sfm,
        ),
        frames=scene.frame_count,
        generator=generator,
    )


@torch.no_grad()
def set_poses(net: HoldNet, poses: SequencePoses, model: HandModel, placement: ScenePlacement) -> None:
    """Make poses of the camera's frame the learnable ones, and their object scale the net's."""
    hand, thing = placement.hand_to_world(poses.hand, model), placement.object_to_world(poses.object)
    values = {
        f"{model.side}.params.betas": poses.hand_shape[None],
        f"{model.side}.params.global_orient": hand.rotvec[:, 0],
        f"{model.side}.params.pose": hand.rotvec[:, 1:].flatten(1) - model.hands_mean,
        f"{model.side}.params.transl": hand.translation_m,
        "object.params.global_orient": roma.rotmat_to_rotvec(thing.rotation),
        "object.params.transl": thing.translation_m,
    }
    for name, value in values.items():
        net.get_parameter(f"nodes.{name}.weight").copy_(value)
    net.object_node.server.scale.fill_(float(poses.object_scale))


@torch.no_grad()
def poses_of_net(net: HoldNet, model: HandModel, placement: ScenePlacement) -> SequencePoses:
    """The learnt poses in the OpenCV camera's frame, on the CPU: the inverse of `set_poses`."""

    def learnt(name: str) -> Tensor:
        return net.get_parameter(f"nodes.{name}.weight").detach().cpu().clone()

    side = model.side
    shape = learnt(f"{side}.params.betas")[0]
    fingers = (learnt(f"{side}.params.pose") + model.hands_mean).unflatten(1, (15, 3))
    rotvec = torch.cat([learnt(f"{side}.params.global_orient")[:, None], fingers], 1)
    hand = placement.hand_to_cam(HandTrack(rotvec, shape, learnt(f"{side}.params.transl")), model)
    rotation = roma.rotvec_to_rotmat(learnt("object.params.global_orient"))
    scale = net.object_node.server.scale[0].detach().cpu().clone()
    thing = placement.object_to_cam(ObjectTrack(rotation, learnt("object.params.transl"), scale))
    return SequencePoses.of(hand, thing, side)
