"""Grasps: an object laid into the palm, and fingers closed around it until they touch."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from handloom.demo.hands import FINGER_JOINTS, pose_right_hand
from handloom.demo.objects import HeldObject
from handloom.hand.anatomy import FLEXION, RADIAL, TWIST
from handloom.hand.open_hand import open_hand_anatomy

_LEVELS = 16
_FINGER_RADIUS_M = 0.007
_OPEN = np.radians([-5.0, 2.0, 2.0])
_CLOSED = np.radians([75.0, 95.0, 60.0])
_THUMB_OPEN = np.radians([-8.0, 0.0, -5.0])
_THUMB_CLOSED = np.radians([22.0, 40.0, 55.0])
_THUMB_OPPOSITION = np.radians(-25.0)
_THUMB_TWIST = np.radians(25.0)
_ANATOMY = open_hand_anatomy()


@dataclass(frozen=True)
class Grasp:
    """How far each finger (thumb first) is closed, 0 open to 1 a fist, and where the object lies in the wrist frame."""

    closing: Float[np.ndarray, "5"]
    wrist_from_object: Float[np.ndarray, "3 3"]
    centre_m: Float[np.ndarray, "3"]


def closed_fingers(closing: Float[np.ndarray, "poses 5"]) -> Float[np.ndarray, "poses 15 3"]:
    """Pose of a right hand whose fingers (thumb first) are closed by 0 (straight) to 1 (a fist)."""
    angles = np.zeros((len(closing), 15, 3))
    for finger, joints in enumerate(FINGER_JOINTS):
        start, end = (_THUMB_OPEN, _THUMB_CLOSED) if finger == 0 else (_OPEN, _CLOSED)
        columns = [joint - 1 for joint in joints]
        angles[:, columns, FLEXION] = start + closing[:, finger, None] * (end - start)
    thumb = FINGER_JOINTS[0][0] - 1
    angles[:, thumb, RADIAL] = _THUMB_OPPOSITION * closing[:, 0]
    angles[:, thumb, TWIST] = _THUMB_TWIST * closing[:, 0]
    return _ANATOMY.pose_from_angles(torch.from_numpy(angles).float()).double().numpy()


def grasp(generator: np.random.Generator, thing: HeldObject, shape: Float[np.ndarray, " shapes"]) -> Grasp:
    """Lay the object across the palm and close every finger until it touches, for a right hand of this shape."""
    _, rest = pose_right_hand(np.zeros((1, 15, 3)), shape)
    knuckles = rest[0, [5, 9, 13, 17]].mean(0)
    radius = thing.half_extent_m[:2].mean()
    centre = knuckles + np.array([-0.006, -0.016 - thing.half_extent_m[1], 0.004])
    centre += generator.normal(0, 1, 3) * [0.008, 0.002, 0.012]
    if radius < 0.016 and generator.random() < 0.6:
        # Small things are held between thumb and fingertips rather than in the fist.
        centre += np.array([-0.022, -0.018, 0.012])
    tilt = Rotation.from_rotvec(generator.normal(0, 1, 3) * [0.25, 0.35, 0.0])
    turn = generator.normal(0, 0.2) if thing.kind == "box" else generator.uniform(-np.pi, np.pi)
    spin = Rotation.from_euler("z", turn)
    wrist_from_object = (tilt * spin).as_matrix()
    levels = np.linspace(0, 1, _LEVELS)
    _, keypoints = pose_right_hand(closed_fingers(np.repeat(levels[:, None], 5, axis=1)), shape)
    chains = keypoints[:, 1:].reshape(_LEVELS, 5, 4, 3)
    points = np.concatenate([chains[:, :, 1:], (chains[:, :, 1:] + chains[:, :, :-1]) / 2], axis=2)
    distance = thing.distance_m((points - centre) @ wrist_from_object)
    touches = (distance < _FINGER_RADIUS_M).any(-1)
    first = np.where(touches.any(0), touches.argmax(0), int(0.8 * _LEVELS))
    return Grasp(levels[first], wrist_from_object, centre)
