"""How a hand turns what it holds before a static camera: all numbers of a HOLD demo sequence, before any picture."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from handloom.demo.appearance import Person
from handloom.demo.hands import HandTrack, place_hand
from handloom.demo.held_objects import ObjectKind
from handloom.demo.hold_grasp import HoldGrasp, HoldPlan
from handloom.demo.motion import smooth_noise
from handloom.hand.anatomy import FLEXION
from handloom.hand.limits import within_limits
from handloom.hand.mano import rest_joints_m
from handloom.hand.open_hand import open_hand, open_hand_anatomy
from handloom.runtime.config.sequences import DemoSequence

_AHEAD = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""Columns are the object's x, y and z in the wrist's frame: x points away from the palm, z to the thumb's side."""
_CAMERA_FROM_HAND = np.stack([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], axis=1)
"""Forearm downwards, palm towards the camera."""
_FINGER_PLAY_RAD = 0.015


@dataclass(frozen=True)
class HoldPerformance:
    """What is held how, and how it is turned: angles in degrees from the first to the last frame.

    `turn` is about the forearm (0: the palm faces the camera), `nod` and `lean` swing about the camera's x and z.
    """

    kind: ObjectKind
    object_name: str
    object_label: int
    grasp: HoldPlan
    turn_deg: tuple[float, float]
    nod_deg: float
    lean_deg: tuple[float, float]
    distance_m: float


PERFORMANCES: dict[DemoSequence, HoldPerformance] = {
    "jug1": HoldPerformance(
        "jug",
        "101_jug",
        101,
        HoldPlan("thick cylinder", _AHEAD, np.array([-0.098, -0.048, 0.022])),
        turn_deg=(-125.0, 130.0),
        nod_deg=26.0,
        lean_deg=(-24.0, 14.0),
        distance_m=0.315,
    ),
    "carton1": HoldPerformance(
        "carton",
        "102_carton",
        102,
        HoldPlan("cylinder", np.eye(3), np.array([-0.092, -0.036, 0.030])),
        turn_deg=(135.0, -120.0),
        nod_deg=28.0,
        lean_deg=(22.0, -12.0),
        distance_m=0.31,
    ),
    "lamp1": HoldPerformance(
        "lamp",
        "103_lamp",
        103,
        HoldPlan("cylinder", _AHEAD, np.array([-0.094, -0.036, 0.020])),
        turn_deg=(-130.0, 130.0),
        nod_deg=28.0,
        lean_deg=(-18.0, 18.0),
        distance_m=0.33,
    ),
}


@dataclass(frozen=True)
class HoldMotion:
    """Hand and object in the camera's frame (OpenCV axes, metres); the hand in MANO's parameters and as a track."""

    pose_rotvec: Float[np.ndarray, "frames 16 3"]
    hand_translation_m: Float[np.ndarray, "frames 3"]
    hand: HandTrack
    object_rotation: Float[np.ndarray, "frames 3 3"]
    object_translation_m: Float[np.ndarray, "frames 3"]


def perform(
    generator: np.random.Generator, frames: int, performance: HoldPerformance, grasp: HoldGrasp, person: Person
) -> HoldMotion:
    """Turn the object about the forearm while nodding and leaning; the grasp stays but for slight finger movements."""
    camera_from_hand = _turning(generator, frames, performance)
    position = np.array([0.0, 0.0, performance.distance_m]) + smooth_noise(
        generator, frames, 3, frames_apart=8.0
    ) * [0.010, 0.007, 0.010]
    wrist = position - camera_from_hand @ grasp.translation_m
    play = np.zeros((frames, 15, 3))
    play[..., FLEXION] = _FINGER_PLAY_RAD * smooth_noise(generator, frames, 15, frames_apart=8.0)
    angles = within_limits(torch.from_numpy(grasp.angles_rad + play).float())
    fingers = open_hand_anatomy().pose_from_angles(angles).double().numpy()
    bend = Rotation.from_rotvec(0.10 * smooth_noise(generator, frames, 3, frames_apart=10.0)).as_matrix()
    elbow = wrist + 0.26 * (bend @ camera_from_hand[:, :, :1])[..., 0]
    track = place_hand(
        finger_pose=fingers.astype(np.float32),
        shape=person.shape,
        world_from_wrist=camera_from_hand,
        wrist_m=wrist,
        elbow_m=elbow,
        is_left=False,
        sleeve=person.sleeve,
    )
    root = Rotation.from_matrix(camera_from_hand).as_rotvec()
    rest_wrist = rest_joints_m(open_hand(), torch.from_numpy(person.shape).float())[0].double().numpy()
    return HoldMotion(
        np.concatenate([root[:, None], fingers], axis=1),
        wrist - rest_wrist,
        track,
        camera_from_hand @ grasp.rotation,
        position,
    )


def _turning(
    generator: np.random.Generator, frames: int, performance: HoldPerformance
) -> Float[np.ndarray, "frames 3 3"]:
    time = np.linspace(0, 1, frames)
    # Nearly even, a little slower at both ends.
    eased = time - 0.07 * np.sin(2 * np.pi * time)
    first, last = performance.turn_deg
    turn = first + (last - first) * eased + 3.0 * smooth_noise(generator, frames, frames_apart=6.0)
    nod = performance.nod_deg * np.sin(2 * np.pi * (1.75 * time + 0.1))
    lean = performance.lean_deg[0] + performance.lean_deg[1] * np.cos(2 * np.pi * 1.2 * time)
    swing = Rotation.from_euler("zx", np.stack([lean, nod], -1), degrees=True)
    spin = Rotation.from_euler("y", turn[:, None], degrees=True)
    return (swing * spin).as_matrix() @ _CAMERA_FROM_HAND
