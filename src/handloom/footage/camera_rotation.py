"""The rotation between the cameras of a pair: from both views' poses, and better from their key points' rays."""

import sys
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from handloom.adaptation.pseudo_labels import align_poses
from handloom.adaptation.rotation_start import PairRotation, consensus_rotation
from handloom.footage.hands_file import FootageHands
from handloom.footage.learners import PairPoses
from handloom.geometry.epipolar import epipolar_rotation
from handloom.geometry.rotations import angle_deg
from handloom.hand.joints import JOINT_COUNT, WRIST


@dataclass(frozen=True)
class StartRotation:
    """R12 that adaptation starts from, that of the poses alone, and how sure the former is."""

    rotation_12: Float[Tensor, "3 3"]
    of_poses: PairRotation
    deviation_deg: float | None
    """Its standard deviation by the key points; None where they were not asked."""


def pose_rotation(poses: PairPoses) -> PairRotation:
    """The rotation that most pairs of poses agree on, joints weighted by both views' confidence."""
    aligned = align_poses(poses.joints_1, poses.joints_2, WRIST)
    return consensus_rotation(aligned.view_1, aligned.view_2, poses.confidence_1 * poses.confidence_2)


def keypoint_rotation(
    poses: PairPoses, hands: tuple[FootageHands, FootageHands], rows: tuple[np.ndarray, np.ndarray]
) -> StartRotation:
    """The rotation of least epipolar error of all key points; it starts from the poses' rotation.

    A hand's joints err together, so its key points count as one observation. A network's poses are off in the same
    way while the hand faces the camera alike: on a rendered pair their rotation was 16 degrees off, this one 3.
    """
    of_poses = pose_rotation(poses)
    rays = [hand.rays[index].reshape(-1, 3) for hand, index in zip(hands, rows, strict=True)]
    found = epipolar_rotation(rays[0], rays[1], of_poses.rotation_12.numpy().T, together=JOINT_COUNT)
    rotation_12 = torch.from_numpy(found.second_from_first.T.copy())
    print(
        f"rotation of key points: {float(angle_deg(rotation_12, of_poses.rotation_12)):.1f} degrees from that of the "
        f"poses, standard deviation {found.deviation_deg:.1f}",
        file=sys.stderr,
    )
    return StartRotation(rotation_12, of_poses, found.deviation_deg)
