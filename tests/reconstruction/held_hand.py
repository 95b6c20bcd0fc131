"""A synthetic video of the embedded hand holding an object, with the noisy estimates that a network would give."""

import math
from dataclasses import dataclass, replace

import roma
import torch
from torch import Tensor

from handloom.estimators.hands.found import FoundHands
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.geometry.camera import project
from handloom.hand.anatomy import pose_for_side
from handloom.hand.joints import Side
from handloom.hand.mano import HandModel
from handloom.hand.models import open_hand, open_hand_anatomy
from handloom.hand.pose_prior import key_pose_angles
from handloom.reconstruction.tracks import HandTrack

from ..stage_files import found_hands, object_poses

INTRINSICS = torch.tensor([[500.0, 0.0, 240.0], [0.0, 500.0, 180.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
METRES_PER_UNIT = 0.137
_GRASP_POINTS = [4, 8, 12, 16, 20, 5, 9, 13, 17]


@dataclass(frozen=True)
class HeldHand:
    """The truth, in metres in the camera's frame, and what was estimated of it."""

    model: HandModel
    track: HandTrack
    joints_cam_m: Tensor
    estimates: FoundHands
    object_poses: ObjectPoses


def held_hand(
    frames: int = 40, *, noise: float = 1.0, side: Side = "right", seed: int = 0, drift_rad: float = 0.0
) -> HeldHand:
    """At `noise` 1: wrists turned by 23 degrees, joints off by 2 cm, key points by a tenth of the hand.

    `drift_rad` is how far the hand turns on the object over the video.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    model, time = open_hand(side), torch.linspace(0, 1, frames, dtype=torch.float64)
    angles = key_pose_angles("cylinder").expand(frames, -1, -1)
    fingers = pose_for_side(open_hand_anatomy().pose_from_angles(angles), side).double()
    axis = torch.stack([torch.sin(2.1 * time), torch.cos(1.3 * time), 0.6 * torch.sin(3 * time)], 1)
    axis = axis / axis.norm(dim=1, keepdim=True)
    object_rotation = roma.rotvec_to_rotmat(axis * (2 * math.pi * time)[:, None])
    object_m = torch.stack([0.05 * torch.sin(5 * time), 0.04 * torch.cos(4 * time), 0.5 + 0.05 * time], 1)
    slip = roma.rotvec_to_rotmat(torch.stack([0 * time, 0 * time, drift_rad * time], 1))
    carrier = object_rotation @ slip
    wrist = carrier @ roma.rotvec_to_rotmat(0.8 * normal(3))
    pose = torch.cat([roma.rotmat_to_rotvec(wrist)[:, None], fingers], 1).float()
    still = HandTrack(pose, torch.zeros(model.shape_count), torch.zeros(frames, 3))
    joints = still.skinned(model).keypoints_m.double()
    grasp = (joints @ carrier)[:, _GRASP_POINTS].mean((0, 1))
    translation = object_m - carrier @ grasp
    joints = joints + translation[:, None]
    pixels = project(joints, INTRINSICS)
    extent = (pixels.amax(1) - pixels.amin(1)).amax(1)[:, None, None]
    mistaken = roma.rotvec_to_rotmat(noise * 0.25 * normal(frames, 3))
    seen = (joints - joints[:, :1]) @ mistaken.mT + noise * 0.02 / 3**0.5 * normal(frames, 21, 3)
    keypoints = pixels + noise * 0.1 / 2**0.5 * extent * normal(frames, 21, 2)
    relative = (seen - seen[:, :1]).float().numpy()
    estimates = found_hands(relative, keypoints.float().numpy(), side=side)
    cam_from_object = torch.eye(4, dtype=torch.float64).repeat(frames, 1, 1)
    cam_from_object[:, :3, :3] = object_rotation
    cam_from_object[:, :3, 3] = object_m / METRES_PER_UNIT
    points = normal(300, 3)
    points = points / points.norm(dim=1, keepdim=True) * torch.tensor([0.03, 0.03, 0.06]) / METRES_PER_UNIT
    thing = object_poses(cam_from_object.numpy(), points.numpy(), intrinsics=INTRINSICS.numpy())
    track = replace(still, translation_m=translation.float())
    return HeldHand(model, track, joints, estimates, thing)


def error_mm(found_m: Tensor, expected_m: Tensor) -> float:
    """Mean joint error relative to the wrist."""
    difference = (found_m - found_m[:, :1]) - (expected_m - expected_m[:, :1])
    return 1000 * float(difference.norm(dim=-1).mean())
