"""How two hands and a head move during a recording: smooth, within reach, palms towards the work between them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from handloom.demo.appearance import Person
from handloom.demo.grasps import Grasp, closed_fingers, grasp
from handloom.demo.hands import HandTrack, place_hand
from handloom.demo.objects import HeldObject, random_object
from handloom.demo.poses import moving_fingers

_MIRROR = np.array([-1.0, 1.0, 1.0])
_CLEARANCE_M = 0.024


@dataclass(frozen=True)
class ObjectTrack:
    """An object held during some frames: `held[f]` says when; poses elsewhere are meaningless."""

    thing: HeldObject
    held: Bool[np.ndarray, " frames"]
    world_from_object: Float[np.ndarray, "frames 3 3"]
    centre_m: Float[np.ndarray, "frames 3"]


@dataclass(frozen=True)
class Recording:
    """Everything that moves in front of a headset; world z is up, y ahead, the table at z = 0 (metres)."""

    hands: tuple[HandTrack, HandTrack]
    objects: tuple[ObjectTrack, ...]
    head_from_world: Float[np.ndarray, "frames 3 3"]
    head_position_m: Float[np.ndarray, "frames 3"]


def smooth_noise(generator: np.random.Generator, frames: int, *shape: int, frames_apart: float = 1.4) -> np.ndarray:
    """Gaussian noise (frames, *shape) of unit variance that is correlated over about `frames_apart` frames."""
    padded = generator.standard_normal((frames + 32, *shape))
    smooth = gaussian_filter1d(padded, frames_apart, axis=0, mode="reflect")
    scale = np.sqrt(2 * frames_apart * np.sqrt(np.pi))
    return smooth[16 : 16 + frames] * scale


def record(generator: np.random.Generator, frames: int, person: Person) -> Recording:
    """A recording of one person's two hands at work, with a new object every few seconds."""
    grasps, objects = _segments(generator, frames, person.shape)
    centre = np.array([0.0, 0.0, 0.17]) + smooth_noise(generator, frames, 3, frames_apart=3.0) * [0.04, 0.04, 0.03]
    tracks = []
    for side in (0, 1):
        finger_pose = moving_fingers(generator, frames)
        for held, chosen in grasps[side]:
            closing = chosen.closing + 0.03 * smooth_noise(generator, frames, 5)
            finger_pose[held] = closed_fingers(closing)[held]
        tracks.append(_place(generator, finger_pose, centre, person, side == 1))
    hands, rotations = _apart(tracks, objects, grasps)
    held_objects = []
    for side in (0, 1):
        for (held, chosen), thing in zip(grasps[side], objects[side], strict=True):
            held_objects.append(_object_track(hands[side], rotations[side], held, chosen, thing))
    head_from_world, head_position = _head(generator, centre)
    return Recording(hands, tuple(held_objects), head_from_world, head_position)


def _segments(
    generator: np.random.Generator, frames: int, shape: Float[np.ndarray, " shapes"]
) -> tuple[list[list[tuple[np.ndarray, Grasp]]], list[list[HeldObject]]]:
    """When each hand (right, left) holds what, and how."""
    grasps: list[list[tuple[np.ndarray, Grasp]]] = [[], []]
    objects: list[list[HeldObject]] = [[], []]
    start = 0
    while start < frames:
        end = min(frames, start + int(generator.integers(12, 40)))
        held = np.zeros(frames, bool)
        held[start:end] = True
        mode = generator.choice(4, p=[0.15, 0.35, 0.3, 0.2])
        for side in (0, 1):
            if mode == 3 or mode == side + 1:
                thing = random_object(generator)
                objects[side].append(thing)
                grasps[side].append((held, grasp(generator, thing, shape)))
        start = end
    return grasps, objects


def _place(
    generator: np.random.Generator,
    finger_pose: np.ndarray,
    centre: np.ndarray,
    person: Person,
    is_left: bool,
) -> tuple[HandTrack, np.ndarray]:
    """A hand beside the centre of work, fingers ahead and inwards; the left is computed mirrored, as a right hand."""
    frames = len(finger_pose)
    angles = smooth_noise(generator, frames, 3) * [0.38, 0.36, 0.65] + [0.55, -0.15, 0.75]
    # Thumb up, palm to the left, fingers ahead; then pronated, pitched and turned inwards.
    base = np.stack([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], axis=1)
    turn = Rotation.from_euler("ZXY", angles * [1.0, 1.0, -1.0])
    rotation = turn.as_matrix() @ base
    palm = np.where(_MIRROR < 0, -1.0 if is_left else 1.0, 1.0) * centre
    palm = palm + np.array([0.075, 0.0, 0.0]) + smooth_noise(generator, frames, 3) * [0.03, 0.035, 0.03]
    wrist = palm - rotation @ np.array([-0.09, -0.01, 0.0])
    elbow = np.array([0.34, -0.42, 0.04]) + smooth_noise(generator, frames, 3) * 0.03
    elbow = wrist + _limited(elbow - wrist, rotation[:, :, 0], np.radians(48))
    track = place_hand(
        finger_pose=finger_pose,
        shape=person.shape,
        world_from_wrist=rotation,
        wrist_m=wrist,
        elbow_m=elbow,
        is_left=is_left,
        sleeve=person.sleeve,
    )
    return track, rotation


def _limited(
    direction: Float[np.ndarray, "frames 3"], axis: Float[np.ndarray, "frames 3"], largest: float
) -> Float[np.ndarray, "frames 3"]:
    """The vectors turned towards their axes until the angle between them is at most `largest`: a wrist's limit."""
    length = np.linalg.norm(direction, axis=-1, keepdims=True)
    unit = direction / length
    cosine = np.clip((unit * axis).sum(-1, keepdims=True), -1, 1)
    across = unit - cosine * axis
    across /= np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-9)
    angle = np.minimum(np.arccos(cosine), largest)
    return length * (np.cos(angle) * axis + np.sin(angle) * across)


def _apart(
    tracks: list[tuple[HandTrack, np.ndarray]],
    objects: list[list[HeldObject]],
    grasps: list[list[tuple[np.ndarray, Grasp]]],
) -> tuple[tuple[HandTrack, HandTrack], tuple[np.ndarray, np.ndarray]]:
    """Both hands moved sideways, frame by frame, until neither runs through the other or the other's object."""
    (right, right_rotation), (left, left_rotation) = tracks
    shift = np.zeros(len(right.keypoints_m))
    for _ in range(12):
        moved = [_shifted(right, shift), _shifted(left, -shift)]
        gap = np.linalg.norm(moved[0].keypoints_m[:, :, None] - moved[1].keypoints_m[:, None], axis=-1).min((1, 2))
        for side, rotation in ((0, right_rotation), (1, left_rotation)):
            for (held, chosen), thing in zip(grasps[side], objects[side], strict=True):
                track = _object_track(moved[side], rotation, held, chosen, thing)
                points = moved[1 - side].keypoints_m - track.centre_m[:, None]
                local = np.einsum("fki,fij->fkj", points, track.world_from_object)
                to_object = thing.distance_m(local).min(1) + _CLEARANCE_M - 0.012
                gap = np.where(held, np.minimum(gap, to_object), gap)
        close = gap < _CLEARANCE_M
        if not close.any():
            break
        shift = shift + np.where(close, 0.008, 0.0)
    return (_shifted(right, shift), _shifted(left, -shift)), (right_rotation, left_rotation)


def _shifted(track: HandTrack, shift_m: Float[np.ndarray, " frames"]) -> HandTrack:
    offset = np.stack([shift_m, np.zeros_like(shift_m), np.zeros_like(shift_m)], axis=-1)[:, None]
    return HandTrack(track.is_left, (track.vertices_m + offset).astype(np.float32), track.keypoints_m + offset)


def _object_track(
    hand: HandTrack, rotation: np.ndarray, held: np.ndarray, chosen: Grasp, thing: HeldObject
) -> ObjectTrack:
    """The object fixed to its hand; for a left hand the right hand's grasp is mirrored."""
    world_from_object = rotation @ chosen.wrist_from_object
    offset = rotation @ chosen.centre_m
    if hand.is_left:
        world_from_object = _MIRROR[:, None] * world_from_object * _MIRROR
        offset = offset * _MIRROR
    return ObjectTrack(thing, held, world_from_object, hand.keypoints_m[:, 0] + offset)


def _head(
    generator: np.random.Generator, centre: Float[np.ndarray, "frames 3"]
) -> tuple[Float[np.ndarray, "frames 3 3"], Float[np.ndarray, "frames 3"]]:
    """A head 30 to 48 cm from the work that looks down at it, a little askew."""
    frames = len(centre)
    noise = smooth_noise(generator, frames, 8, frames_apart=3.0)
    distance = np.clip(generator.uniform(0.32, 0.40) + 0.03 * noise[:, 0], 0.30, 0.48)
    elevation = np.radians(generator.uniform(45, 60) + 5 * noise[:, 1])
    azimuth = np.radians(generator.uniform(-6, 6) + 7 * noise[:, 2])
    back = np.stack(
        [np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)], axis=-1
    )
    position = np.array([0.0, 0.0, 0.17]) + 0.5 * (centre - [0.0, 0.0, 0.17]) + distance[:, None] * back
    ahead = centre + 0.025 * noise[:, 3:6] - position
    ahead /= np.linalg.norm(ahead, axis=-1, keepdims=True)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    level = np.stack([right, np.cross(ahead, right), ahead], axis=1)
    roll = Rotation.from_euler("z", 0.09 * noise[:, 6:7]).as_matrix()
    return roll @ level, position
