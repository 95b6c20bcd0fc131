"""From a build folder to HOLD-Net and its poses, and from learnt poses back to the camera's frame (facts 1.9, 2.6)."""

from dataclasses import dataclass, fields
from pathlib import Path

import roma
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from handloom.datasets.mask_labels import MASK_LABELS
from handloom.hand.joints import Side
from handloom.hand.mano import HandModel, rest_joints_m
from handloom.reconstruction.build_folder import read_pictures
from handloom.reconstruction.build_scene import BuildScene
from handloom.reconstruction.cameras import LEFT, OBJECT, RIGHT
from handloom.reconstruction.compact.scene_poses import PoseArrays
from handloom.reconstruction.holdnet.model import HoldNet
from handloom.reconstruction.holdnet.servers import ObjectModel
from handloom.reconstruction.scene_placement import (
    HandInFrame,
    ObjectInFrame,
    ScenePlacement,
    hand_to_cam,
    hand_to_world,
    object_to_cam,
    object_to_world,
)
from handloom.runtime.config.holdnet import HoldNetSettings
from handloom.runtime.errors import InputError


@dataclass(frozen=True)
class Video:
    """A whole video in memory, and its cameras in the scaled world."""

    image_u8: UInt8[Tensor, "frames rows columns 3"]
    label_u8: UInt8[Tensor, "frames rows columns"]
    intrinsics: Float[Tensor, "frames 3 3"]
    world_from_cam: Float[Tensor, "frames 4 4"]

    @classmethod
    def of(cls, scene: BuildScene, side: Side) -> "Video":
        """Read the pictures; raises InputError when the object or the hand is in no frame."""
        images, labels = (torch.from_numpy(pictures) for pictures in read_pictures(scene))
        video = cls(images, labels, scene.cameras.intrinsics.float(), scene.cameras.world_from_cam.float())
        for what, there in video.seen(side).items():
            if not bool(there.any()):
                raise InputError(
                    f"masks: no pixel of any of the {len(labels)} frames is labelled {what}; "
                    "look at the masks' picture and correct the prompt or the label convention"
                )
        return video

    def seen(self, side: Side) -> dict[str, Bool[Tensor, " frames"]]:
        """In which frames object and hand are."""
        hand = RIGHT if side == "right" else LEFT
        labels = {"object": MASK_LABELS[OBJECT], "hand": MASK_LABELS[hand]}
        return {name: (self.label_u8 == label).flatten(1).any(1) for name, label in labels.items()}

    def to(self, device: torch.device | str) -> "Video":
        """The same video on another device."""
        return Video(*(getattr(self, part.name).to(device) for part in fields(self)))


def net_of_scene(scene: BuildScene, model: HandModel, settings: HoldNetSettings, generator: torch.Generator) -> HoldNet:
    """A fresh HOLD-Net for a scene with one hand of the model's side; its poses are still zero."""
    thing = scene.object
    return HoldNet(
        settings,
        hands={model.side: model},
        hand_shapes={model.side: scene.hands[model.side].shape.float()},
        object_model=ObjectModel(
            object_scale=thing.scale,
            points_canonical=thing.points_canonical,
            normalised_from_sfm=thing.normalised_from_sfm,
        ),
        frames=scene.frame_count,
        generator=generator,
    )


@torch.no_grad()
def set_poses(net: HoldNet, poses: PoseArrays, model: HandModel, placement: ScenePlacement) -> None:
    """Make poses of the camera's frame the learnable ones, and their object scale the net's."""
    root = rest_joints_m(model, poses.hand_shape)[0]
    hand = hand_to_world(HandInFrame(poses.hand_rotvec, poses.hand_translation_m), root, placement)
    rotation = roma.rotvec_to_rotmat(poses.object_rotvec)
    thing = object_to_world(ObjectInFrame(rotation, poses.object_translation_m), placement)
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
    net.object_node.server.object_model.obj_scale.fill_(float(poses.object_scale))


@torch.no_grad()
def poses_of_net(net: HoldNet, model: HandModel, placement: ScenePlacement) -> PoseArrays:
    """The learnt poses in the OpenCV camera's frame, on the CPU: the inverse of `set_poses`."""

    def learnt(name: str) -> Tensor:
        return net.get_parameter(f"nodes.{name}.weight").detach().cpu().clone()

    side = model.side
    shape = learnt(f"{side}.params.betas")[0]
    fingers = (learnt(f"{side}.params.pose") + model.hands_mean).unflatten(1, (15, 3))
    rotvec = torch.cat([learnt(f"{side}.params.global_orient")[:, None], fingers], 1)
    root = rest_joints_m(model, shape)[0]
    hand = hand_to_cam(HandInFrame(rotvec, learnt(f"{side}.params.transl")), root, placement)
    rotation = roma.rotvec_to_rotmat(learnt("object.params.global_orient"))
    thing = object_to_cam(ObjectInFrame(rotation, learnt("object.params.transl")), placement)
    return PoseArrays(
        hand.rotvec,
        shape,
        hand.translation_m,
        roma.rotmat_to_rotvec(thing.rotation),
        thing.translation_m,
        net.object_node.server.object_model.obj_scale[0].detach().cpu().clone(),
    )


def picture_files(build: Path) -> list[Path]:
    """All files of a build folder that a training depends on."""
    return [build / "data.npy", *sorted([*(build / "image").glob("*"), *(build / "mask").glob("*")])]
