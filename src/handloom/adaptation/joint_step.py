"""One iteration of S2DHand for a network without heat maps, which answers a crop with joints and one score.

The labels are the published ones (`make_pseudo_labels`), from poses turned into the cameras' axes, as crops may be
turned. What differs is the loss, the published distance of joints taken on the joints themselves, and the confidence,
the network's own score of the crop, the same for all joints. Key points in the crop, which the user needs and no label
speaks of, are taught to stay the teacher's, as the published loss does with heat maps.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from handloom.adaptation.augmentation import (
    Augmentation,
    augment_images,
    augment_joints,
    augment_keypoints,
    draw_augmentation,
)
from handloom.adaptation.pseudo_labels import PseudoLabels, make_pseudo_labels
from handloom.adaptation.teacher import update_teacher
from handloom.hand.joints import BONE, WRIST
from handloom.runtime.config.footage import FootageAdaptationSettings


@runtime_checkable
class JointAnswer(Protocol):
    """What such a network says about a batch of crops, in the crops' axes."""

    @property
    def keypoints_crop_px(self) -> Float[Tensor, "batch 21 coordinates"]:
        """x and y from the crop's upper left corner; what follows is not looked at."""

    @property
    def presence(self) -> Float[Tensor, " batch"]:
        """Score that the crop shows a hand, from 0 to 1."""

    @property
    def joints_m(self) -> Float[Tensor, "batch 21 3"]:
        """SNAP."""


class JointPairs(NamedTuple):
    """Crops of both views in [0, 1], and what turns columns from the network's axes into the cameras'."""

    images_1: Float[Tensor, "batch 3 px px"]
    images_2: Float[Tensor, "batch 3 px px"]
    cam_from_crop_1: Float[Tensor, "batch 3 3"]
    cam_from_crop_2: Float[Tensor, "batch 3 3"]


@dataclass(frozen=True)
class JointStepResult:
    """The loss's terms, and the teacher's poses along the cameras' axes with its scores."""

    joint_loss: float
    keypoint_loss: float
    poses_1: Float[Tensor, "batch 21 3"]
    poses_2: Float[Tensor, "batch 21 3"]
    presence_1: Float[Tensor, " batch"]
    presence_2: Float[Tensor, " batch"]
    labels: PseudoLabels


def relative_to_wrist(joints: Float[Tensor, "batch 21 3"]) -> Float[Tensor, "batch 21 3"]:
    """Joints from the wrist on."""
    return joints - joints[:, WRIST, None]


def joint_loss(
    joints: Float[Tensor, "batch 21 3"], taught: Float[Tensor, "batch 21 3"], bone: Float[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """Mean over hands and joints of |(p_j - p_wrist) - (y_j - y_wrist)|^2 / bone^2.

    `bone` is the length of the teacher's bone 0-9: dividing by the student's own would leave its size untaught.
    """
    error = (relative_to_wrist(joints) - relative_to_wrist(taught)) / bone[:, None, None]
    return error.square().sum(-1).mean()


def keypoint_loss(
    keypoints_px: Float[Tensor, "batch 21 2"], taught_px: Float[Tensor, "batch 21 2"], side_px: int
) -> Float[Tensor, ""]:
    """Mean over hands and key points of the squared distance, in squares of a quarter of the crop's side."""
    return ((keypoints_px - taught_px) * (4 / side_px)).square().sum(-1).mean()


def adapt_joints_once(
    student: nn.Module,
    teacher: nn.Module,
    optimiser: torch.optim.Optimizer,
    pairs: JointPairs,
    rotation_12: Float[Tensor, "3 3"],
    settings: FootageAdaptationSettings,
    *,
    momentum: float,
    generator: torch.Generator,
) -> JointStepResult:
    """Label the batch by the teacher, move the student by one optimiser step, then the teacher by `momentum`."""
    images = torch.cat([pairs.images_1, pairs.images_2])
    cam_from_crop = torch.cat([pairs.cam_from_crop_1, pairs.cam_from_crop_2]).to(images)
    with torch.no_grad():
        asked: JointAnswer = teacher(images)
    # Rows turn by the transpose: p_cam = p_crop C^T, and back by C, as C is orthogonal.
    poses_1, poses_2 = (relative_to_wrist(asked.joints_m) @ cam_from_crop.mT).chunk(2)
    presence_1, presence_2 = asked.presence.chunk(2)
    every = torch.ones_like(poses_1[..., 0], dtype=torch.bool)
    confidence_1, confidence_2 = (score[:, None].expand_as(every) for score in (presence_1, presence_2))
    labels = make_pseudo_labels(
        poses_1,
        poses_2,
        confidence_1,
        confidence_2,
        every,
        every,
        rotation_12.to(images),
        root_joint=WRIST,
        consensus_weight=settings.consensus_weight,
        merge=settings.merge,
        sharpness=settings.attention_sharpness,
    )
    taught = torch.cat([labels.view_1, labels.view_2]) @ cam_from_crop
    keypoints = asked.keypoints_crop_px[..., :2]
    if settings.augmentation is not None:
        drawn: Augmentation = draw_augmentation(len(images), settings.augmentation, generator)
        images = augment_images(images - 0.5, drawn, generator) + 0.5
        taught, keypoints = augment_joints(taught, drawn), augment_keypoints(keypoints, drawn, images.shape[-1])
    answer: JointAnswer = student(images)
    bone = torch.linalg.vector_norm(asked.joints_m[:, BONE[1]] - asked.joints_m[:, BONE[0]], dim=-1)
    joint_term = joint_loss(answer.joints_m, taught, bone)
    keypoint_term = keypoint_loss(answer.keypoints_crop_px[..., :2], keypoints, images.shape[-1])
    optimiser.zero_grad()
    (joint_term + settings.keypoint_weight * keypoint_term).backward()
    optimiser.step()
    update_teacher(teacher, student, momentum)
    terms = float(joint_term.detach()), float(keypoint_term.detach())
    return JointStepResult(*terms, poses_1, poses_2, presence_1, presence_2, labels)
