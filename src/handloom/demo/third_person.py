"""One picture of one or two hands by an ordinary colour camera: any direction, any person, any place."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from handloom.demo.appearance import Person, random_environment
from handloom.demo.grasps import closed_fingers, grasp
from handloom.demo.hands import HandTrack, place_hand
from handloom.demo.objects import random_object
from handloom.demo.poses import still_fingers
from handloom.demo.renderer import Mesh, Scene, View
from handloom.demo.sensor import random_colour_sensor
from handloom.demo.textures import photograph_patch, surface_texture

CAMERA_FROM_WORLD = np.eye(3, 4)
"""A single picture needs no world of its own: its world is the camera's frame."""


OWNERS_SIDE = np.array([0.65, -0.05, 0.76])
"""Where a hand is mostly seen from, in its wrist's frame: from behind (x) and from the thumb's side (z)."""


@dataclass(frozen=True)
class PosedHand:
    """A hand in the camera's frame with what it holds."""

    track: HandTrack
    mesh: Mesh
    held: tuple[Mesh, ...]


def pose_hand(
    generator: np.random.Generator,
    person: Person,
    *,
    seed: int,
    is_left: bool,
    palm_m: Float[np.ndarray, "3"],
    holds: bool,
) -> PosedHand:
    """A hand whose palm lies at `palm_m` (camera frame), turned by chance, free or around an object.

    `seed` is the data set's; it names the bank of poses.
    """
    fingers = still_fingers(generator, seed)
    rotation = _camera_from_wrist(generator)
    mirror = np.array([-1.0, 1.0, 1.0]) if is_left else np.ones(3)
    wrist = palm_m * mirror - rotation @ np.array([-0.09, -0.01, 0.0])
    bend = Rotation.from_rotvec(generator.normal(0, 0.3, 3)).as_matrix()
    elbow = wrist + 0.3 * (bend @ rotation[:, 0])
    # A forearm that comes from behind the camera would fill the picture.
    elbow[2] = max(elbow[2], 0.65 * wrist[2])
    held: tuple[Mesh, ...] = ()
    if holds:
        thing = random_object(generator)
        chosen = grasp(generator, thing, person.shape)
        fingers = closed_fingers(np.clip(chosen.closing + generator.normal(0, 0.03, 5), -0.1, 1)[None])
        turn = mirror[:, None] * (rotation @ chosen.wrist_from_object) * mirror
        held = (thing.mesh(turn, (wrist + rotation @ chosen.centre_m) * mirror, grey=False),)
    track = place_hand(
        finger_pose=fingers,
        shape=person.shape,
        world_from_wrist=rotation[None],
        wrist_m=wrist[None],
        elbow_m=elbow[None],
        is_left=is_left,
        sleeve=person.sleeve,
    )
    return PosedHand(track, track.mesh(0, person.albedo, person.gloss), held)


def _camera_from_wrist(generator: np.random.Generator) -> Float[np.ndarray, "3 3"]:
    """A turn of the hand: any roll, seen from anywhere, but oftener from its owner's side and the thumb's.

    The viewing direction is a normal vector moved by one along that side: half lie within 55 degrees of it. People see
    and photograph hands that way, and all directions alike would take far more pictures to learn.
    """
    towards_camera = generator.normal(size=3) + OWNERS_SIDE
    roll = Rotation.from_rotvec([0.0, 0.0, generator.uniform(-np.pi, np.pi)])
    to_camera, _ = Rotation.align_vectors(np.array([[0.0, 0.0, -1.0]]), towards_camera[None])
    return np.asarray((roll * to_camera).as_matrix())


def photograph_hands(
    generator: np.random.Generator,
    hands: list[PosedHand],
    intrinsics: Float[np.ndarray, "3 3"],
    size: int,
) -> tuple[np.ndarray, View]:
    """The picture (size, size, 3) in red, green, blue, and what the renderer knows about it."""
    up = generator.normal(size=3) * 0.5 + [0.0, -1.0, -0.4]
    environment = random_environment(generator, up=up / np.linalg.norm(up), channels=3)
    meshes = [mesh for hand in hands for mesh in (hand.mesh, *hand.held)]
    view = Scene(meshes, environment).view(CAMERA_FROM_WORLD, intrinsics, size, size)
    picture = _background(generator, size)
    window = picture[view.rows, view.columns]
    window[view.mask] = view.radiance[view.mask]
    return random_colour_sensor(generator).expose(picture, generator), view


def _background(generator: np.random.Generator, size: int) -> Float[np.ndarray, "size size 3"]:
    """A photograph or a surface, out of focus to a random degree."""
    if generator.random() < 0.75:
        picture = photograph_patch(generator, size, size)
    else:
        picture = cv2.resize(surface_texture(generator, 128), (size, size), interpolation=cv2.INTER_LINEAR)
    blur = float(generator.uniform(0.0, 3.0))
    if blur > 0.5:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    return picture.astype(np.float32) * np.float32(generator.uniform(0.3, 1.1))
