"""Things to hold (boxes, cylinders, ellipsoids, bottles), and fingers closed around them until they touch."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.random import Generator
from scipy.spatial.transform import Rotation

from handloom.demo.people import FINGER_JOINTS, MIRROR, HandMotion, Track, Turns, pose_right_hand
from handloom.demo.renderer import Matrix, PaintedSurface, Topology, Vector
from handloom.demo.textures import object_texture
from handloom.hand.anatomy import FLEXION, RADIAL, TWIST
from handloom.hand.models import open_hand_anatomy

Kind = Literal["box", "cylinder", "ellipsoid", "bottle"]
_LEVELS = 16
"""So many steps from an open finger to a closed one are tried."""
_FINGER_RADIUS_M = 0.007  # from a finger's axis to its skin
# Flexion of a finger's three joints, base first, at closing 0 and 1; by eye, within the limits of hand.anatomy.
_OPEN = np.radians([-5.0, 2.0, 2.0])
_CLOSED = np.radians([75.0, 95.0, 60.0])
_THUMB_OPEN = np.radians([-8.0, 0.0, -5.0])
_THUMB_CLOSED = np.radians([22.0, 40.0, 55.0])
_THUMB_OPPOSITION = np.radians(-25.0)
_THUMB_TWIST = np.radians(25.0)
_ANATOMY = open_hand_anatomy()


@dataclass(frozen=True)
class HeldObject(PaintedSurface):
    """An object whose long axis is z, and its half extents."""

    kind: Kind
    half_extent_m: Vector

    def distance_m(self, points_m: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch"]:
        """Signed distance of points to the surface, negative inside (an approximation for ellipsoids)."""
        if self.kind == "box":
            beyond = np.abs(points_m) - self.half_extent_m
            outside = np.linalg.norm(np.maximum(beyond, 0), axis=-1)
            return outside + np.minimum(beyond.max(-1), 0)
        if self.kind == "ellipsoid":
            unit = np.linalg.norm(points_m / self.half_extent_m, axis=-1)
            steep = np.linalg.norm(points_m / self.half_extent_m**2, axis=-1)
            return unit * (unit - 1) / np.maximum(steep, 1e-6)
        radial = np.linalg.norm(points_m[..., :2], axis=-1) - self.half_extent_m[0]
        axial = np.abs(points_m[..., 2]) - self.half_extent_m[2]
        outside = np.hypot(np.maximum(radial, 0), np.maximum(axial, 0))
        return outside + np.minimum(np.maximum(radial, axial), 0)


def random_object(generator: Generator) -> HeldObject:
    """An object that a hand can close around: 1 to 4 cm in radius, mostly longer along z."""
    kinds: tuple[Kind, ...] = get_args(Kind)
    kind = kinds[int(generator.integers(len(kinds)))]
    radius = generator.uniform(0.010, 0.04)
    length = generator.uniform(max(0.025, 0.8 * radius), 0.10)
    if kind == "box":
        half = np.array([radius, radius * generator.uniform(0.5, 1.4), length])
        vertices, faces, uv = _box(half)
    elif kind == "ellipsoid":
        half = np.array([radius, radius * generator.uniform(0.7, 1.3), max(radius, 0.7 * length)])
        profile = np.linspace(0, np.pi, 13)
        vertices, faces, uv = _revolved(np.sin(profile), -np.cos(profile), half)
    else:
        half = np.array([radius, radius, length])
        if kind == "cylinder":
            radii, heights = np.array([0, 0.95, 1, 1, 1, 0.95, 0]), np.array([-1, -1, -0.97, 0, 0.97, 1, 1.0])
        else:
            radii = np.array([0, 0.9, 1, 1, 0.95, 0.6, 0.35, 0.33, 0.4, 0.4, 0])
            heights = np.array([-1, -1, -0.95, 0.2, 0.4, 0.6, 0.72, 0.82, 0.83, 1, 1.0])
        vertices, faces, uv = _revolved(radii, heights, half)
    return HeldObject(
        kind=kind,
        half_extent_m=half,
        vertices_m=vertices,
        topology=Topology(faces, len(vertices)),
        texture_uv=uv.astype(np.float32),
        texture=object_texture(generator),
        gloss=float(generator.uniform(0.02, 0.25)),
    )


def _revolved(
    radii: np.ndarray, heights: np.ndarray, half: np.ndarray, around: int = 20
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"], Float[np.ndarray, "f 3 2"]]:
    """A surface of revolution about z, scaled by `half`; its caps are rings of radius zero."""
    turn = 2 * np.pi * np.arange(around) / around
    ring = np.stack([np.cos(turn), np.sin(turn)], -1)
    vertices = np.concatenate(
        [radii[:, None, None] * ring, np.broadcast_to(heights[:, None, None], (len(radii), around, 1))], axis=-1
    )
    low = np.arange(len(radii) - 1)[:, None] * around
    here, ahead = np.arange(around)[None], (np.arange(around)[None] + 1) % around
    squares = np.broadcast_arrays(low + here, low + ahead, low + around + ahead, low + around + here)
    square = np.stack(squares, -1).reshape(-1, 4)
    u, v_rings = np.tile(np.arange(around) / around, len(radii) - 1), np.repeat((heights + 1) / 2, around)
    u_right, v, v_up = u + 1 / around, v_rings[:-around], v_rings[around:]
    corners = np.stack([np.stack(each, -1) for each in ((u, v), (u_right, v), (u_right, v_up), (u, v_up))], 1)
    halves = ([0, 1, 2], [0, 2, 3])
    faces = np.concatenate([square[:, three] for three in halves])
    uv = np.concatenate([corners[:, three] for three in halves])
    return vertices.reshape(-1, 3) * half, faces, np.clip(uv, 0, 0.999)


def _box(half: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A box whose six sides have their own vertices, so that its edges stay sharp, each cut into 4 x 4 squares."""
    grid = np.linspace(-1, 1, 5)
    first, second = (axis.reshape(-1) for axis in np.meshgrid(grid, grid, indexing="ij"))
    cell = (np.arange(4)[:, None] * 5 + np.arange(4)[None]).reshape(-1)
    square = np.concatenate([np.stack([cell, cell + 5, cell + 6], -1), np.stack([cell, cell + 6, cell + 1], -1)])
    flat = np.clip(np.stack([first + 1, second + 1], -1) / 2, 0, 0.999)
    vertices: list[np.ndarray] = []
    faces: list[np.ndarray] = []
    uvs: list[np.ndarray] = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            side = np.zeros((25, 3))
            side[:, axis], side[:, (axis + 1) % 3], side[:, (axis + 2) % 3] = sign, first, second
            outwards = square if sign > 0 else square[:, ::-1]
            faces.append(outwards + 25 * len(vertices))
            vertices.append(side * half)
            uvs.append(flat[outwards])
    return np.concatenate(vertices), np.concatenate(faces), np.concatenate(uvs)


@dataclass(frozen=True)
class Grasp:
    """How far each finger (thumb first) is closed, 0 open to 1 a fist, and where the object lies in a right hand."""

    closing: Float[np.ndarray, "5"]
    wrist_from_object: Matrix
    centre_m: Vector

    def placed(self, hand: HandMotion) -> tuple[Turns, Track]:
        """world_from_object and the object's centre in the world, in a hand of either side."""
        mirror = MIRROR if hand.is_left else np.ones(3)
        rotation = mirror[:, None] * (hand.world_from_wrist @ self.wrist_from_object) * mirror
        return rotation, hand.keypoints_m[:, 0] + (hand.world_from_wrist @ self.centre_m) * mirror


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


def grasp(generator: Generator, thing: HeldObject, shape: Float[np.ndarray, " shapes"]) -> Grasp:
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
