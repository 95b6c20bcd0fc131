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
_AWAY_FROM_PALM = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
_ON_FINGERTIPS = _AWAY_FROM_PALM @ Rotation.from_euler("z", -15, degrees=True).as_matrix()
"""z points away from the palm, x over the wrist."""
_BETWEEN_FINGERTIPS = _AWAY_FROM_PALM @ Rotation.from_euler("z", 133, degrees=True).as_matrix()
"""z points away from the palm, y from the thumb's tip to the other tips."""
_FOREARM_UPRIGHT = np.stack([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], axis=1)
"""camera_from_hand: forearm downwards, palm towards the camera."""
_PALM_DOWN = np.stack([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]], axis=1)
"""camera_from_hand: palm downwards, the forearm behind the hand."""
_PALM_UP = np.stack([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]], axis=1)
"""camera_from_hand: palm upwards, the forearm behind the hand."""
_FINGER_PLAY_RAD = 0.015
_FOREARM_M = 0.34


@dataclass(frozen=True)
class HoldPerformance:
    """What is held how, and how it is turned: angles in degrees from the first to the last frame.

    `turn` is about the vertical, from where `camera_from_hand` places the hand; `nod` (x) and `lean` (z) swing about
    the camera's axes: a middle and an amplitude.
    """

    kind: ObjectKind
    object_label: int
    grasp: HoldPlan
    camera_from_hand: Float[np.ndarray, "3 3"]
    turn_deg: tuple[float, float]
    nod_deg: tuple[float, float]
    elbow_down: float
    """How much the elbow hangs (negative: is raised), as a share of the forearm."""
    lean_deg: tuple[float, float]
    place_m: tuple[float, float, float]
    """Where the object's origin hovers in the camera's frame."""


PERFORMANCES: dict[DemoSequence, HoldPerformance] = {
    "jug1": HoldPerformance(
        "jug",
        101,
        HoldPlan("sphere", _ON_FINGERTIPS, np.array([-0.108, -0.085, 0.002]), palm=False),
        _PALM_UP,
        turn_deg=(-118.0, 122.0),
        nod_deg=(3.0, -28.0),
        elbow_down=0.4,
        lean_deg=(4.0, 12.0),
        place_m=(0.0, -0.005, 0.29),
    ),
    "carton1": HoldPerformance(
        "carton",
        102,
        HoldPlan("box grip", _BETWEEN_FINGERTIPS, np.array([-0.100, -0.100, 0.012]), palm=False),
        _PALM_DOWN,
        turn_deg=(128.0, -128.0),
        nod_deg=(1.0, 29.0),
        elbow_down=-0.4,
        lean_deg=(-6.0, 14.0),
        place_m=(0.0, 0.022, 0.29),
    ),
    "lamp1": HoldPerformance(
        "lamp",
        103,
        HoldPlan("cylinder", _AHEAD, np.array([-0.094, -0.036, 0.020])),
        _FOREARM_UPRIGHT,
        turn_deg=(-140.0, 140.0),
        nod_deg=(0.0, 30.0),
        elbow_down=0.1,
        lean_deg=(-18.0, 18.0),
        place_m=(0.0, -0.010, 0.31),
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
    position = np.array(performance.place_m) + smooth_noise(generator, frames, 3, frames_apart=8.0) * [
        0.010,
        0.007,
        0.010,
    ]
    wrist = position - camera_from_hand @ grasp.translation_m
    play = np.zeros((frames, 15, 3))
    play[..., FLEXION] = _FINGER_PLAY_RAD * smooth_noise(generator, frames, 15, frames_apart=8.0)
    angles = within_limits(torch.from_numpy(grasp.angles_rad + play).float())
    fingers = open_hand_anatomy().pose_from_angles(angles).double().numpy()
    bend = Rotation.from_rotvec(0.10 * smooth_noise(generator, frames, 3, frames_apart=10.0)).as_matrix()
    # The wrist bends towards where the elbow is: above or below the hand, so that the forearm leaves the picture.
    along = camera_from_hand[:, :, 0] + [0.0, performance.elbow_down, 0.0]
    along /= np.linalg.norm(along, axis=-1, keepdims=True)
    elbow = wrist + _FOREARM_M * np.einsum("fij,fj->fi", bend, along)
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
    eased = time - 0.03 * np.sin(2 * np.pi * time)
    first, last = performance.turn_deg
    turn = first + (last - first) * eased + 2.0 * smooth_noise(generator, frames, frames_apart=6.0)
    nod = performance.nod_deg[0] + performance.nod_deg[1] * np.cos(2 * np.pi * 1.15 * (time - 0.47))
    lean = performance.lean_deg[0] + performance.lean_deg[1] * np.cos(2 * np.pi * 0.9 * time)
    swing = Rotation.from_euler("zx", np.stack([lean, nod], -1), degrees=True)
    spin = Rotation.from_euler("y", turn[:, None], degrees=True)
    return (swing * spin).as_matrix() @ performance.camera_from_hand
