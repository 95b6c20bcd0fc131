"""How two hands and a head move during a recording: smooth, within reach, palms towards the work between them."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.random import Generator
from scipy.spatial.transform import Rotation

from handloom.demo.grasps import Grasp, HeldObject, closed_fingers, grasp, random_object
from handloom.demo.people import MIRROR, PALM_M, FingerPoses, HandMotion, Person, Track, Turns, place_hand, smooth_noise
from handloom.demo.plan import SAMPLED_EVERY
from handloom.hand.pose_prior import smooth_motion

_FRAMES_PER_POSE = 24.0 / SAMPLED_EVERY
"""A free hand takes 0.8 s from one pose to the next."""
_AT_WORK_RAD = np.array([0.55, -0.15, 0.75])
"""A hand at work is turned inwards, lifted and pronated so far from lying ahead, its thumb up."""
_TURNED_RAD = (np.array([-1.0, -1.2, -2.3]), np.array([2.4, 1.0, 1.6]))
"""The range of a hand that is turned by chance: palm down to palm up and beyond, fingers ahead to fingers back."""
_WORK_M = np.array([0.0, 0.0, 0.17])
"""What the hands are busy with is there, above the middle of the table."""
_CLEARANCE_M = 0.024
"""Key points of two hands this far apart leave room for the flesh around both."""


@dataclass(frozen=True)
class Hold:
    """What a hand holds during some frames, and how."""

    held: Bool[np.ndarray, " frames"]
    thing: HeldObject
    grasp: Grasp


@dataclass(frozen=True)
class Recording:
    """Everything that moves in front of a headset; world z is up, y ahead, the table at z = 0 (metres)."""

    hands: tuple[HandMotion, HandMotion]
    holds: tuple[list[Hold], list[Hold]]
    head_from_world: Turns
    head_position_m: Track


def record(generator: Generator, frames: int, person: Person, turned: float = 0.0) -> Recording:
    """A recording of one person's two hands at work, with a new object every few seconds.

    Each hand is turned by chance with probability `turned`.
    """
    holds = _holds(generator, frames, person)
    centre = _WORK_M + smooth_noise(generator, frames, 3, frames_apart=3.0) * [0.04, 0.04, 0.03]
    tracks = []
    for side, is_left in enumerate((False, True)):
        stream = torch.Generator().manual_seed(int(generator.integers(2**62)))
        finger_pose = smooth_motion(stream, frames, _FRAMES_PER_POSE).double().numpy()
        for hold in holds[side]:
            closing = hold.grasp.closing + 0.03 * smooth_noise(generator, frames, 5)
            finger_pose[hold.held] = closed_fingers(closing)[hold.held]
        tracks.append(_place(generator, finger_pose, centre, person, is_left, turned))
    return Recording(_apart((tracks[0], tracks[1]), holds), holds, *_head(generator, centre))


def _holds(generator: Generator, frames: int, person: Person) -> tuple[list[Hold], list[Hold]]:
    """What each hand (right, left) holds when: nothing, something in one of them, or in both."""
    holds: tuple[list[Hold], list[Hold]] = ([], [])
    start = 0
    while start < frames:
        end = min(frames, start + int(generator.integers(12, 40)))
        held = np.zeros(frames, bool)
        held[start:end] = True
        mode = generator.choice(4, p=[0.15, 0.35, 0.3, 0.2])
        for side in (0, 1):
            if mode == 3 or mode == side + 1:
                thing = random_object(generator)
                holds[side].append(Hold(held, thing, grasp(generator, thing, person.shape)))
        start = end
    return holds


def _place(
    generator: Generator, finger_pose: FingerPoses, centre: Track, person: Person, is_left: bool, turned: float
) -> HandMotion:
    """A hand beside the centre of work, fingers ahead and inwards; the left is computed mirrored, as a right hand."""
    frames = len(finger_pose)
    by_chance = turned > 0 and generator.random() < turned
    usual = generator.uniform(*_TURNED_RAD) if by_chance else _AT_WORK_RAD
    angles = smooth_noise(generator, frames, 3) * [0.38, 0.36, 0.65] + usual
    # Thumb up, palm to the left, fingers ahead; then pronated, pitched and turned inwards.
    base = np.stack([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], axis=1)
    turn = Rotation.from_euler("ZXY", angles * [1.0, 1.0, -1.0])
    rotation = turn.as_matrix() @ base
    palm = centre * MIRROR if is_left else centre
    palm = palm + np.array([0.075, 0.0, 0.0]) + smooth_noise(generator, frames, 3) * [0.03, 0.035, 0.03]
    wrist = palm - rotation @ PALM_M
    elbow = np.array([0.34, -0.42, 0.04]) + smooth_noise(generator, frames, 3) * 0.03
    elbow = wrist + _limited(elbow - wrist, rotation[:, :, 0], np.radians(48))
    return place_hand(
        person, finger_pose=finger_pose, world_from_wrist=rotation, wrist_m=wrist, elbow_m=elbow, is_left=is_left
    )


def _limited(direction: Track, axis: Track, largest: float) -> Track:
    """The vectors turned towards their axes until the angle between them is at most `largest`: a wrist's limit."""
    length = np.linalg.norm(direction, axis=-1, keepdims=True)
    unit = direction / length
    cosine = np.clip((unit * axis).sum(-1, keepdims=True), -1, 1)
    across = unit - cosine * axis
    across /= np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-9)
    angle = np.minimum(np.arccos(cosine), largest)
    return length * (np.cos(angle) * axis + np.sin(angle) * across)


def _apart(hands: tuple[HandMotion, HandMotion], holds: tuple[list[Hold], list[Hold]]) -> tuple[HandMotion, HandMotion]:
    """Both hands moved sideways, frame by frame, until neither runs through the other or the other's object."""
    right, left = hands
    shift = np.zeros(len(right.keypoints_m))
    for _ in range(12):
        moved = (_shifted(right, shift), _shifted(left, -shift))
        gap = np.linalg.norm(moved[0].keypoints_m[:, :, None] - moved[1].keypoints_m[:, None], axis=-1).min((1, 2))
        for side in (0, 1):
            for hold in holds[side]:
                world_from_object, centre_m = hold.grasp.placed(moved[side])
                points = moved[1 - side].keypoints_m - centre_m[:, None]
                local = np.einsum("fki,fij->fkj", points, world_from_object)
                to_object = hold.thing.distance_m(local).min(1) + _CLEARANCE_M / 2
                gap = np.where(hold.held, np.minimum(gap, to_object), gap)
        close = gap < _CLEARANCE_M
        if not close.any():
            break
        shift = shift + np.where(close, 0.008, 0.0)
    return _shifted(right, shift), _shifted(left, -shift)


def _shifted(track: HandMotion, shift_m: Float[np.ndarray, " frames"]) -> HandMotion:
    offset = np.stack([shift_m, np.zeros_like(shift_m), np.zeros_like(shift_m)], axis=-1)[:, None]
    vertices = (track.vertices_m + offset).astype(np.float32)
    return replace(track, vertices_m=vertices, keypoints_m=track.keypoints_m + offset)


def _head(generator: Generator, centre: Track) -> tuple[Turns, Track]:
    """A head 30 to 48 cm from the work that looks down at it, a little askew."""
    frames = len(centre)
    noise = smooth_noise(generator, frames, 8, frames_apart=3.0)
    distance = np.clip(generator.uniform(0.32, 0.40) + 0.03 * noise[:, 0], 0.30, 0.48)
    elevation = np.radians(generator.uniform(45, 60) + 5 * noise[:, 1])
    azimuth = np.radians(generator.uniform(-6, 6) + 7 * noise[:, 2])
    back = np.stack(
        [np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)], axis=-1
    )
    position = _WORK_M + 0.5 * (centre - _WORK_M) + distance[:, None] * back
    ahead = centre + 0.025 * noise[:, 3:6] - position
    ahead /= np.linalg.norm(ahead, axis=-1, keepdims=True)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    level = np.stack([right, np.cross(ahead, right), ahead], axis=1)
    roll = Rotation.from_euler("z", 0.09 * noise[:, 6:7]).as_matrix()
    return roll @ level, position
