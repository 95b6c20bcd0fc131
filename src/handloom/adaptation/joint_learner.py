"""S2DHand for a network without heat maps, which answers a crop with joints, key points and one score.

The labels are the published ones, from poses turned into the cameras' axes, as crops may be turned. What differs is the
loss, the published distance of joints taken on the joints themselves, and the confidence, the network's own score of
the crop, the same for all joints. Key points in the crop, which the user needs and no label speaks of, are taught to
stay the teacher's, as the published loss does with heat maps.
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from handloom.adaptation.adapt import adaptation_stage
from handloom.adaptation.learner import Asked, Learner, Lesson, source_prediction
from handloom.adaptation.s2dhand import S2DHand
from handloom.adaptation.student_augmentation import augment_images, augment_joints, augment_keypoints
from handloom.estimators.mediapipe.landmark_network import LandmarkNetwork
from handloom.estimators.mediapipe.tflite_network import network_input
from handloom.hand.joints import BONE, JOINT_COUNT, WRIST
from handloom.runtime.artifacts import Header, read_weights, write_weights
from handloom.runtime.errors import InputError

KIND = "mediapipe_hand_landmarks"
Joints = Float[Tensor, "batch 21 3"]
KeyPoints = Float[Tensor, "batch 21 2"]


def relative_to_wrist(joints: Joints) -> Joints:
    """Joints from the wrist on."""
    return joints - joints[:, WRIST, None]


def joint_loss(joints: Joints, taught: Joints, bone: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Mean over hands and joints of |(p_j - p_wrist) - (y_j - y_wrist)|^2 / bone^2.

    `bone` is the length of the teacher's bone 0-9: dividing by the student's own would leave its size untaught.
    """
    error = (relative_to_wrist(joints) - relative_to_wrist(taught)) / bone[:, None, None]
    return error.square().sum(-1).mean()


def keypoint_loss(keypoints_px: KeyPoints, taught_px: KeyPoints, side_px: int) -> Float[Tensor, ""]:
    """Mean over hands and key points of the squared distance, in squares of a quarter of the crop's side."""
    return ((keypoints_px - taught_px) * (4 / side_px)).square().sum(-1).mean()


class JointLearner(Learner):
    """MediaPipe's landmark network: RGB crops in [0, 1], never mirrored."""

    root_joint, metric = WRIST, True

    def load(self, path: Path, source: Path | None = None) -> LandmarkNetwork:
        """A .tflite file, or adapted weights for the network of one; raises InputError for others'."""
        if source is None:
            return LandmarkNetwork.of(path)
        network, (state, _) = LandmarkNetwork.of(source), read_weights(path, KIND)
        expected, found = ({name: v.shape for name, v in each.items()} for each in (network.state_dict(), state))
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        if wrong:
            raise InputError(f"{path}: does not fit the network of {source} ({', '.join(wrong[:4])}); adapt again")
        network.load_state_dict(state)
        return network.eval()

    def save(self, path: Path, network: Any, *, seed: int | None, code: str) -> None:
        """As safetensors of its names and values."""
        write_weights(path, network.state_dict(), Header(KIND, "m, px", "crop", "SNAP", seed=seed, code=code))

    def ask(self, network: nn.Module, image_u8: UInt8[Tensor, "crops px px channels"]) -> Asked:
        """Joints relative to the wrist, the score, and the key points in the crop."""
        with torch.no_grad():
            seen = network(network_input(image_u8))
        confidence = seen.presence[:, None].expand(-1, JOINT_COUNT)
        return Asked(relative_to_wrist(seen.joints_m), confidence, seen.keypoints_crop_px[..., :2])

    def losses(self, network: nn.Module, lesson: Lesson, generator: torch.Generator) -> dict[str, Tensor]:
        """The loss of joints, and of key points, which are taught to stay the teacher's."""
        images, taught, keypoints = network_input(lesson.image_u8), lesson.taught, lesson.asked.kept
        if lesson.augmentation is not None:
            images = augment_images(images - 0.5, lesson.augmentation, generator) + 0.5
            taught = augment_joints(taught, lesson.augmentation)
            keypoints = augment_keypoints(keypoints, lesson.augmentation, images.shape[-1])
        answer, teacher = network(images), lesson.asked.joints
        bone = torch.linalg.vector_norm(teacher[:, BONE[1]] - teacher[:, BONE[0]], dim=-1)
        joints = joint_loss(answer.joints_m, taught, bone)
        points = keypoint_loss(answer.keypoints_crop_px[..., :2], keypoints, images.shape[-1])
        return {"total": joints + points, "joint": joints, "keypoint": points}


predict_source = source_prediction(JointLearner)
adapt = adaptation_stage(JointLearner, S2DHand)
