"""Poses that hands take: grasps, pinches, gestures; the angles in whole degrees, written by hand and checked by eye.

A row per finger: flexion of the base, radial deviation of the base, flexion of the middle joint (the last joint
follows with two thirds). The thumb has flexion, radial deviation (away from the palm) and twist of its base, then the
flexion of its two other joints.
"""

from dataclasses import dataclass
from math import pi

import torch
from jaxtyping import Float
from torch import Tensor

from handloom.hand.anatomy import FLEXION, RADIAL
from handloom.hand.limits import BASES, COUPLING, DISTALS, MIDDLES

Finger = tuple[int, int, int]
Thumb = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class KeyPose:
    """One pose: index, middle, ring and pinky finger (base flexion, base deviation, middle flexion), and the thumb."""

    index: Finger
    middle: Finger
    ring: Finger
    pinky: Finger
    thumb: Thumb


KEY_POSES = {
    "relaxed": KeyPose((22, 8, 22), (28, 0, 26), (32, -5, 28), (35, -10, 26), (5, 0, 0, 12, 15)),
    "flat": KeyPose((2, 4, 2), (2, 0, 2), (2, -3, 2), (2, -6, 2), (-8, -22, -10, 4, 2)),
    "spread": KeyPose((-4, 23, 2), (-4, 2, 2), (-4, -17, 2), (-4, -30, 2), (-20, 4, -10, -4, -8)),
    "stretched back": KeyPose((-16, 8, 4), (-16, 0, 4), (-16, -6, 4), (-16, -14, 4), (-18, -10, -10, -4, -10)),
    "fist": KeyPose((72, 0, 96), (75, 0, 98), (77, -1, 98), (77, -2, 96), (40, -2, -14, 28, 21)),
    "loose fist": KeyPose((58, 2, 80), (62, 0, 84), (66, -2, 84), (68, -4, 80), (28, -4, -8, 20, 20)),
    "thumb up": KeyPose((72, 0, 96), (75, 0, 98), (77, -1, 98), (77, -2, 96), (-18, -14, -10, -2, -10)),
    "pointing": KeyPose((6, 2, 6), (72, 0, 92), (74, -2, 95), (74, -4, 90), (40, -8, -14, 22, 12)),
    "victory": KeyPose((4, 16, 4), (4, -8, 4), (74, -2, 95), (74, -4, 90), (41, -4, -8, 48, -8)),
    "gun": KeyPose((4, 4, 4), (8, 0, 6), (74, -2, 92), (74, -4, 88), (-14, -10, -8, 0, 0)),
    "index pinch": KeyPose((56, -4, 42), (40, 0, 40), (34, -5, 34), (28, -10, 28), (39, -1, -2, 9, -12)),
    "open pinch": KeyPose((56, -4, 42), (12, 0, 10), (8, -8, 8), (6, -16, 8), (39, -1, -2, 9, -12)),
    "middle pinch": KeyPose((44, 8, 42), (65, -5, 54), (42, -5, 40), (36, -10, 34), (40, 14, 11, 27, -12)),
    "tripod": KeyPose((58, 0, 44), (62, -3, 50), (60, -3, 58), (60, -6, 58), (40, 5, 3, 16, -6)),
    "key grip": KeyPose((50, 2, 62), (56, 0, 68), (60, -2, 70), (62, -4, 68), (22, -18, -10, 14, 4)),
    "thick cylinder": KeyPose((28, 12, 36), (30, 2, 38), (32, -6, 38), (34, -14, 36), (6, 18, 10, 12, 18)),
    "cylinder": KeyPose((46, 6, 52), (48, 0, 54), (50, -4, 54), (52, -8, 50), (18, 18, 14, 18, 28)),
    "thin cylinder": KeyPose((62, 2, 78), (66, 0, 80), (68, -2, 80), (70, -4, 76), (28, 16, 16, 25, 35)),
    "sphere": KeyPose((24, 18, 34), (26, 2, 36), (28, -12, 36), (30, -22, 34), (6, 16, 8, 10, 16)),
    "small sphere": KeyPose((44, 10, 44), (46, 2, 46), (46, -7, 46), (46, -14, 44), (22, 16, 12, 14, 22)),
    "box grip": KeyPose((58, 6, 10), (60, 0, 10), (60, -4, 10), (58, -9, 10), (14, 20, 10, 6, 8)),
    "hook": KeyPose((8, 4, 78), (8, 0, 82), (8, -3, 82), (8, -6, 78), (-2, -8, 0, 10, 15)),
    "pinky out": KeyPose((40, 4, 46), (60, -6, 58), (40, -4, 44), (6, -18, 10), (40, 12, 8, 28, -10)),
}


def key_pose_angles() -> Float[Tensor, "pose 15 3"]:
    """All key poses as joint angles in radians, in MANO's order of joints."""
    fingers = torch.tensor([[p.index, p.middle, p.pinky, p.ring] for p in KEY_POSES.values()], dtype=torch.float32)
    thumbs = torch.tensor([p.thumb for p in KEY_POSES.values()], dtype=torch.float32)
    angles = torch.zeros(len(KEY_POSES), 15, 3)
    angles[:, BASES, FLEXION], angles[:, BASES, RADIAL], angles[:, MIDDLES, FLEXION] = fingers.unbind(-1)
    angles[:, DISTALS, FLEXION] = COUPLING * angles[:, MIDDLES, FLEXION]
    angles[:, 12] = thumbs[:, :3]
    angles[:, [13, 14], FLEXION] = thumbs[:, 3:]
    return angles * (pi / 180.0)
