"""Grasps: an object laid into the palm, and fingers closed around it until they touch."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from handloom.demo._prototype import FINGER_BONES, flexion_axes, skin_right
from handloom.demo.objects import HeldObject

_LEVELS = 16
_FINGER_RADIUS_M = 0.007
_FULL_CURL = np.radians([75.0, 80.0, 50.0])
_FULL_THUMB_CURL = np.radians([15.0, 35.0, 45.0])
_OPPOSITION = np.radians(45.0)


@dataclass(frozen=True)
class Grasp:
    """How far each finger (thumb first) is closed, 0 open to 1 a fist, and where the object lies in the wrist frame."""

    closing: Float[np.ndarray, "5"]
    wrist_from_object: Float[np.ndarray, "3 3"]
    centre_m: Float[np.ndarray, "3"]


def closed_fingers(closing: Float[np.ndarray, "poses 5"]) -> Float[np.ndarray, "poses 15 3"]:
    """Joint rotations (vectors, parents' frames) of a right hand whose fingers close by 0...1 from a flat start."""
    axes = flexion_axes()
    angles = np.zeros((len(closing), 15))
    for finger, bones in enumerate(FINGER_BONES):
        full = _FULL_THUMB_CURL if finger == 0 else _FULL_CURL
        # The rest pose is a relaxed hand: fingers start from 25 degrees straighter.
        start = 0.0 if finger == 0 else -np.radians(12.0)
        for place, joint in enumerate(bones):
            angles[:, joint - 1] = start + closing[:, finger] * (full[place] - start)
    rotvec = angles[..., None] * axes
    thumb = FINGER_BONES[0][0] - 1
    rotvec[:, thumb, 0] += _OPPOSITION * closing[:, 0]
    return rotvec


def grasp(generator: np.random.Generator, thing: HeldObject, shape: Float[np.ndarray, " shapes"]) -> Grasp:
    """Lay the object across the palm and close every finger until it touches, for a right hand of this shape."""
    _, rest = skin_right(np.zeros((1, 15, 3)), shape)
    knuckles = rest[0, [5, 9, 13, 17]].mean(0)
    radius = thing.half_extent_m[:2].mean()
    centre = knuckles + np.array([-0.006, -0.016 - thing.half_extent_m[1], 0.004])
    centre += generator.normal(0, 1, 3) * [0.008, 0.002, 0.012]
    if radius < 0.016 and generator.random() < 0.6:
        # Small things are held between thumb and fingertips rather than in the fist.
        centre += np.array([-0.022, -0.018, 0.012])
    tilt = Rotation.from_rotvec(generator.normal(0, 1, 3) * [0.25, 0.35, 0.0])
    spin = Rotation.from_euler("z", generator.uniform(-np.pi, np.pi) if thing.kind != "box" else generator.normal(0, 0.2))
    wrist_from_object = (tilt * spin).as_matrix()
    levels = np.linspace(0, 1, _LEVELS)
    _, keypoints = skin_right(closed_fingers(np.repeat(levels[:, None], 5, axis=1)), shape)
    chains = keypoints[:, 1:].reshape(_LEVELS, 5, 4, 3)
    points = np.concatenate([chains[:, :, 1:], (chains[:, :, 1:] + chains[:, :, :-1]) / 2], axis=2)
    distance = thing.distance_m((points - centre) @ wrist_from_object)
    touches = (distance < _FINGER_RADIUS_M).any(-1)
    first = np.where(touches.any(0), touches.argmax(0), int(0.8 * _LEVELS))
    return Grasp(levels[first], wrist_from_object, centre)
