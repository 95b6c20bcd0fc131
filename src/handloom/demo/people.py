"""One person's hands: mesh and forearm posed for a whole sequence at once, shape and skin, and how they move.

Everything is computed for a right hand; a left hand is its mirror image in x, so both follow one convention.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy.random import Generator
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from handloom.demo.renderer import Mesh, Topology
from handloom.demo.textures import random_colour
from handloom.geometry.surfaces import hole_cap
from handloom.hand.mano import skin
from handloom.hand.models import open_hand

Track = Float[np.ndarray, "frames 3"]
Turns = Float[np.ndarray, "frames 3 3"]
FingerPoses = Float[np.ndarray, "frames 15 3"]
"""Of a right hand, rotation vectors."""

MODEL = open_hand("right")
SHAPES = MODEL.shape_count
FACES = MODEL.faces.numpy()
FINGER_JOINTS = ((13, 14, 15), (1, 2, 3), (4, 5, 6), (10, 11, 12), (7, 8, 9))
"""The MANO joints of thumb, index, middle, ring and pinky, base first."""
MIRROR = np.array([-1.0, 1.0, 1.0])
PALM_M = np.array([-0.09, -0.01, 0.0])
"""The middle of a right palm in its wrist's frame."""
RINGS = 8
"""Of the forearm's vertices: enough for a wrist that bends over the first three, and for a sleeve's edge."""
_TONES = np.array([[0.87, 0.64, 0.52], [0.78, 0.55, 0.42], [0.66, 0.44, 0.32], [0.48, 0.30, 0.21], [0.29, 0.17, 0.12]])
"""Reflectance of skin in red, green and blue, from light to dark."""
_PERSON, _LEFT_FIRST, _RIGHT_FIRST = 1, 2, 18
"""Labels of RHD's masks: any skin that is no hand, and the first of each hand's sixteen."""


def pose_right_hand(
    finger_pose: FingerPoses, shape: Float[np.ndarray, " shapes"]
) -> tuple[Float[np.ndarray, "frames vertices 3"], Float[np.ndarray, "frames 21 3"]]:
    """Vertices and SNAP key points (metres) of a right hand that has not turned, its wrist at the origin."""
    frames = len(finger_pose)
    pose = torch.zeros(frames, 16, 3)
    pose[:, 1:] = torch.from_numpy(finger_pose)
    with torch.no_grad():
        posed = skin(
            MODEL,
            pose_rotvec=pose,
            shape=torch.from_numpy(shape).float().expand(frames, -1),
            translation_m=torch.zeros(frames, 3),
        )
        wrist = posed.joints_m[:, :1]
        return (posed.vertices_m - wrist).double().numpy(), (posed.keypoints_m - wrist).double().numpy()


def _boundary_loop() -> np.ndarray:
    """Vertices of the open edge at the wrist, in order."""
    fan = hole_cap(MODEL.faces, len(MODEL.v_template)).faces[len(FACES) :]
    following = {a: b for b, a, _ in fan.tolist()}
    loop = [min(following)]
    while len(loop) < len(following):
        loop.append(following[loop[-1]])
    return np.array(loop)


class HandTopology:
    """Triangles of the hand with a capped forearm of `RINGS` rings on its open edge, and labels as in RHD's masks."""

    def __init__(self) -> None:
        self.loop = _boundary_loop()
        hand_vertices = len(MODEL.v_template)
        around = len(self.loop)
        # Ring 0 is the wrist's own edge; the others follow behind the hand's vertices.
        index = np.concatenate([self.loop[None], hand_vertices + np.arange(RINGS * around).reshape(RINGS, around)])
        ahead = np.roll(index, -1, axis=1)
        # The loop runs along the hand's boundary edges, so the forearm uses each of them backwards.
        first = np.stack([ahead[:-1], index[:-1], index[1:]], -1).reshape(-1, 3)
        second = np.stack([ahead[:-1], index[1:], ahead[1:]], -1).reshape(-1, 3)
        apex = np.full(around, hand_vertices + RINGS * around)
        cap = np.stack([ahead[-1], index[-1], apex], -1)
        faces = np.concatenate([FACES, first, second, cap])
        self.vertex_count = hand_vertices + RINGS * around + 1
        bone = MODEL.weights.numpy().argmax(1)[FACES].max(1)
        forearm = np.full(len(first) + len(second) + len(cap), _PERSON)
        self.right, self.left = (
            (Topology(of_side, self.vertex_count), np.concatenate([_rhd_labels(bone, first_label), forearm]))
            for of_side, first_label in ((faces, _RIGHT_FIRST), (faces[:, ::-1], _LEFT_FIRST))
        )


def _rhd_labels(bone: np.ndarray, first: int) -> np.ndarray:
    """Mask labels of RHD: per finger tip to base, thumb first, then the palm."""
    labels = np.full(16, first + 15)
    for finger, bones in enumerate(FINGER_JOINTS):
        for place, joint in enumerate(reversed(bones)):
            labels[joint] = first + 3 * finger + place
    return labels[bone]


TOPOLOGY = HandTopology()


@dataclass(frozen=True)
class Person:
    """What stays the same of one person: hand shape, reflectance and shine of skin and cloth, and the sleeve.

    `sleeve` is where on the forearm it begins, from wrist (0) to elbow (1); from 1 on there is none.
    """

    shape: Float[np.ndarray, " shapes"]
    albedo: Float[np.ndarray, "vertices 3"]
    sleeve: float
    gloss: float

    def grey_albedo(self) -> Float[np.ndarray, "vertices 1"]:
        """The skin as a monochrome sensor sees it: it is sensitive into the near infrared, where skin is light."""
        return (self.albedo @ np.array([0.5, 0.3, 0.2])).astype(np.float32)[:, None]


@dataclass(frozen=True)
class HandMotion:
    """A hand over a sequence: `vertices_m` with forearm, `keypoints_m` in SNAP order, both in the world.

    `world_from_wrist` is the rotation of the right hand whose mirror image a left hand is.
    """

    person: Person
    is_left: bool
    world_from_wrist: Turns
    vertices_m: Float[np.ndarray, "frames vertices 3"]
    keypoints_m: Float[np.ndarray, "frames 21 3"]

    def mirrored(self) -> "HandMotion":
        """The left hand that a right one is in a mirror across the world's x."""
        vertices, keypoints = (self.vertices_m * MIRROR).astype(np.float32), self.keypoints_m * MIRROR
        return replace(self, is_left=True, vertices_m=vertices, keypoints_m=keypoints)

    def mesh(self, frame: int, *, grey: bool = False) -> Mesh:
        """The hand of one frame as a mesh of the scene."""
        topology, labels = TOPOLOGY.left if self.is_left else TOPOLOGY.right
        albedo = self.person.grey_albedo() if grey else self.person.albedo
        return Mesh(topology, self.vertices_m[frame], albedo, labels, self.person.gloss)


def place_hand(
    person: Person, *, finger_pose: FingerPoses, world_from_wrist: Turns, wrist_m: Track, elbow_m: Track, is_left: bool
) -> HandMotion:
    """Pose a hand and its forearm.

    Wrist, elbow and rotation are those of a right hand; for a left hand the whole result is mirrored in world x.
    """
    vertices, keypoints = pose_right_hand(finger_pose, person.shape)
    vertices = np.einsum("fij,fvj->fvi", world_from_wrist, vertices) + wrist_m[:, None]
    keypoints = np.einsum("fij,fkj->fki", world_from_wrist, keypoints) + wrist_m[:, None]
    forearm = _forearm(vertices[:, TOPOLOGY.loop], world_from_wrist, elbow_m, person.sleeve)
    vertices = np.concatenate([vertices, forearm], axis=1)
    right = HandMotion(person, False, world_from_wrist, vertices.astype(np.float32), keypoints)
    return right.mirrored() if is_left else right


def _forearm(
    edge: Float[np.ndarray, "frames around 3"], world_from_wrist: Turns, elbow_m: Track, sleeve: float
) -> Float[np.ndarray, "frames forearm 3"]:
    """Rings from the wrist's edge to the elbow; the first ones turn from the hand's direction into the forearm's."""
    centre = edge.mean(1, keepdims=True)
    offset = edge - centre
    along = elbow_m[:, None] - centre
    length = np.linalg.norm(along, axis=-1, keepdims=True)
    direction = (along / length)[:, 0]
    hand_axis = world_from_wrist[:, :, 0]
    turn = np.cross(hand_axis, direction)
    sine = np.linalg.norm(turn, axis=-1, keepdims=True)
    angle = np.arctan2(sine, (hand_axis * direction).sum(-1, keepdims=True))
    rotvec = turn / np.maximum(sine, 1e-9) * angle
    places = ring_places(sleeve)
    rings = []
    for ring, place in enumerate(places, start=1):
        bent = Rotation.from_rotvec(rotvec * min(1.0, ring / 3)).as_matrix()
        widen = 1.0 + 0.45 * place + (0.18 if place >= sleeve else 0.0)
        if ring == RINGS:
            widen *= 0.8
        rings.append(centre + place * along + widen * np.einsum("fij,fvj->fvi", bent, offset))
    return np.concatenate([*rings, centre + 1.08 * along], axis=1)


def ring_places(sleeve: float) -> Float[np.ndarray, " rings"]:
    """Where the forearm's rings lie between wrist (0) and elbow (1); a sleeve begins with two rings side by side."""
    places = (np.arange(1, RINGS + 1) / RINGS) ** 1.6
    covered = places >= sleeve
    if covered.any() and not covered[0]:
        first = int(covered.argmax())
        places[first] = max(sleeve, places[first - 1] + 0.02)
        places[first - 1] = places[first] - 0.015
    return places


def random_person(generator: Generator) -> Person:
    """A person with a random hand shape, skin tone, nails and sleeve."""
    shape = np.clip(generator.normal(0, 0.9, SHAPES), -2, 2)
    sleeve = float(generator.uniform(0.15, 1.2))
    tone = _tone(generator)
    albedo = np.broadcast_to(tone, (TOPOLOGY.vertex_count, 3)).copy()
    hand = len(MODEL.v_template)
    albedo[:hand] *= _skin_pattern(generator)
    around = len(TOPOLOGY.loop)
    cloth = random_colour(generator)
    covered = np.repeat(ring_places(sleeve) >= sleeve, around)
    albedo[hand:-1][covered] = cloth
    albedo[-1] = albedo[-2]
    return Person(shape, np.clip(albedo, 0.02, 0.95).astype(np.float32), sleeve, float(generator.uniform(0.02, 0.12)))


def _tone(generator: Generator) -> Float[np.ndarray, "3"]:
    place = generator.uniform(0, len(_TONES) - 1)
    below = min(int(place), len(_TONES) - 2)
    tone = _TONES[below] + (place - below) * (_TONES[below + 1] - _TONES[below])
    return tone * generator.uniform(0.9, 1.1) * generator.uniform(0.95, 1.05, 3)


def _rest_geometry() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    vertices, keypoints = pose_right_hand(np.zeros((1, 15, 3)), np.zeros(SHAPES))
    hand = vertices[0]
    faces = TOPOLOGY.right[0].faces
    normals = Topology(faces[(faces < len(hand)).all(1)], len(hand)).normals(hand)
    return hand, keypoints[0], normals


_HAND, _KEYPOINTS, _NORMALS = _rest_geometry()


def _nails() -> Float[np.ndarray, " vertices"]:
    """One on the nails: on the outer half of each finger's last bone, on the side that looks away from the palm."""
    chains = _KEYPOINTS[1:].reshape(5, 4, 3)
    last = chains[:, 3] - chains[:, 2]
    length = np.linalg.norm(last, axis=-1)
    along = last / length[:, None]
    # A curled finger's first bone points towards the back of its tip.
    first = chains[:, 1] - chains[:, 0]
    dorsal = first - (first * along).sum(-1, keepdims=True) * along
    dorsal /= np.linalg.norm(dorsal, axis=-1, keepdims=True)
    nails = np.zeros(len(_HAND))
    for finger in range(5):
        offset = _HAND - chains[finger, 2]
        place = offset @ along[finger] / length[finger]
        near = np.linalg.norm(offset, axis=1) < 1.4 * length[finger]
        upper = _NORMALS @ dorsal[finger] > 0.45
        centred = np.abs(offset @ np.cross(along[finger], dorsal[finger])) < 0.0065
        nails[near & upper & centred & (place > 0.42) & (place < 1.05)] = 1.0
    return nails


# How much each vertex is nail, palm, back of a knuckle (key points that are no tip and not the wrist), and crease:
# skin that two bones move alike.
_NAIL = _nails()
_PALMAR = np.clip(-_NORMALS[:, 1], 0, 1) ** 0.7
_BENDING = [2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19]
_TO_KNUCKLES_M = np.linalg.norm(_HAND[:, None] - _KEYPOINTS[None, _BENDING], axis=-1).min(1)
_KNUCKLE = np.exp(-((_TO_KNUCKLES_M / 0.011) ** 2)) * np.clip(_NORMALS[:, 1], 0, 1)
_CREASE = np.exp(-(((np.abs(np.partition(MODEL.weights.numpy(), -2, axis=1)[:, -1] - 0.5)) / 0.06) ** 2))


def _skin_pattern(generator: Generator) -> Float[np.ndarray, "vertices 3"]:
    """Factors on the skin tone: pale palm, red knuckles, dark creases at joints, light nails, and mottling."""
    waves = generator.normal(0, 1, (12, 3)) * generator.uniform(40, 400, (12, 1))
    mottle = np.sin(_HAND @ waves.T + generator.uniform(0, 6.28, 12)).mean(1)[:, None]
    factor = 1 + generator.uniform(0.04, 0.14) * mottle * np.array([0.7, 1.0, 1.1])
    factor *= 1 + _PALMAR[:, None] * generator.uniform(0.05, 0.25) * np.array([1.0, 0.95, 0.95])
    factor *= 1 - _KNUCKLE[:, None] * generator.uniform(0.05, 0.25) * np.array([0.5, 1.1, 1.0])
    factor *= 1 - _CREASE[:, None] * generator.uniform(0.0, 0.18)
    nail = np.array([1.1, 1.12, 1.15]) * generator.uniform(1.0, 1.2)
    return factor * (1 + _NAIL[:, None] * (nail - 1))


def smooth_noise(generator: Generator, frames: int, *shape: int, frames_apart: float = 1.4) -> np.ndarray:
    """Gaussian noise (frames, *shape) of unit variance that is correlated over about `frames_apart` frames."""
    # 16 frames more at either end, where the filter's own ends would show.
    padded = generator.standard_normal((frames + 32, *shape))
    smooth = gaussian_filter1d(padded, frames_apart, axis=0, mode="reflect")
    scale = np.sqrt(2 * frames_apart * np.sqrt(np.pi))
    return smooth[16 : 16 + frames] * scale
