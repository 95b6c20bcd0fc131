"""Skin as reflectance per vertex, and the light it stands in."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from handloom.demo.hands import MODEL, SHAPES, TOPOLOGY, pose_right_hand, ring_places
from handloom.demo.renderer import Environment, Topology
from handloom.demo.textures import random_colour

_TONES = np.array([[0.87, 0.64, 0.52], [0.78, 0.55, 0.42], [0.66, 0.44, 0.32], [0.48, 0.30, 0.21], [0.29, 0.17, 0.12]])


@dataclass(frozen=True)
class Person:
    """What stays the same of one person: hand shape, skin and sleeve (red, green, blue), shine of the skin."""

    shape: Float[np.ndarray, " shapes"]
    albedo: Float[np.ndarray, "vertices 3"]
    sleeve: float
    gloss: float

    def grey_albedo(self) -> Float[np.ndarray, "vertices 1"]:
        """The skin as a monochrome sensor sees it: it is sensitive into the near infrared, where skin is light."""
        return (self.albedo @ np.array([0.5, 0.3, 0.2])).astype(np.float32)[:, None]


def random_person(generator: np.random.Generator) -> Person:
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


def _tone(generator: np.random.Generator) -> Float[np.ndarray, "3"]:
    place = generator.uniform(0, len(_TONES) - 1)
    below = min(int(place), len(_TONES) - 2)
    tone = _TONES[below] + (place - below) * (_TONES[below + 1] - _TONES[below])
    return tone * generator.uniform(0.9, 1.1) * generator.uniform(0.95, 1.05, 3)


def _rest_geometry() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    vertices, keypoints = pose_right_hand(np.zeros((1, 15, 3)), np.zeros(SHAPES))
    hand = vertices[0]
    faces = TOPOLOGY.right.faces
    normals = Topology(faces[(faces < len(hand)).all(1)], len(hand)).normals(hand)
    return hand, keypoints[0], normals


_HAND, _KEYPOINTS, _NORMALS = _rest_geometry()


def _finger_dorsal() -> Float[np.ndarray, "5 3"]:
    """The direction away from the palm at each fingertip: normal to the last bone, in the finger's bending plane."""
    chains = _KEYPOINTS[1:].reshape(5, 4, 3)
    last = chains[:, 3] - chains[:, 2]
    last /= np.linalg.norm(last, axis=-1, keepdims=True)
    first = chains[:, 1] - chains[:, 0]
    # A curled finger's first bone points towards the back of its tip.
    dorsal = first - (first * last).sum(-1, keepdims=True) * last
    return dorsal / np.linalg.norm(dorsal, axis=-1, keepdims=True)


def _nail_weight() -> Float[np.ndarray, " vertices"]:
    chains = _KEYPOINTS[1:].reshape(5, 4, 3)
    dorsal = _finger_dorsal()
    weight = np.zeros(len(_HAND))
    for finger in range(5):
        bone = chains[finger, 3] - chains[finger, 2]
        length = np.linalg.norm(bone)
        along = bone / length
        offset = _HAND - chains[finger, 2]
        place = offset @ along / length
        side = np.cross(along, dorsal[finger])
        near = np.linalg.norm(offset, axis=1) < 1.4 * length
        upper = _NORMALS @ dorsal[finger] > 0.45
        centred = np.abs(offset @ side) < 0.0065
        weight[near & upper & centred & (place > 0.42) & (place < 1.05)] = 1.0
    return weight


_NAIL = _nail_weight()
_PALMAR = np.clip(-_NORMALS[:, 1], 0, 1) ** 0.7
_BENDING = [2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19]
_TO_KNUCKLES_M = np.linalg.norm(_HAND[:, None] - _KEYPOINTS[None, _BENDING], axis=-1).min(1)
_KNUCKLE = np.exp(-((_TO_KNUCKLES_M / 0.011) ** 2)) * np.clip(_NORMALS[:, 1], 0, 1)
_CREASE = np.exp(-(((np.abs(np.partition(MODEL.weights.numpy(), -2, axis=1)[:, -1] - 0.5)) / 0.06) ** 2))


def _skin_pattern(generator: np.random.Generator) -> Float[np.ndarray, "vertices 3"]:
    """Factors on the skin tone: pale palm, red knuckles, dark creases at joints, light nails, and mottling."""
    waves = generator.normal(0, 1, (12, 3)) * generator.uniform(40, 400, (12, 1))
    mottle = np.sin(_HAND @ waves.T + generator.uniform(0, 6.28, 12)).mean(1)[:, None]
    factor = 1 + generator.uniform(0.04, 0.14) * mottle * np.array([0.7, 1.0, 1.1])
    factor *= 1 + _PALMAR[:, None] * generator.uniform(0.05, 0.25) * np.array([1.0, 0.95, 0.95])
    factor *= 1 - _KNUCKLE[:, None] * generator.uniform(0.05, 0.25) * np.array([0.5, 1.1, 1.0])
    factor *= 1 - _CREASE[:, None] * generator.uniform(0.0, 0.18)
    nail = np.array([1.1, 1.12, 1.15]) * generator.uniform(1.0, 1.2)
    return factor * (1 + _NAIL[:, None] * (nail - 1))


def random_environment(generator: np.random.Generator, *, up: Float[np.ndarray, "3"], channels: int) -> Environment:
    """A soft sky of twelve directions and one or two lamps of three close directions each.

    `up` is where the sky is brighter; radiance is scaled so that a white surface facing the light is about 1.
    """
    directions = _sphere_directions(12)
    height = directions @ up
    sky = (0.06 + 0.06 * height) * generator.uniform(0.5, 1.5, len(directions))
    tint = 1 + generator.uniform(-0.12, 0.12, (2, channels)) if channels > 1 else np.ones((2, 1))
    parts, radiance = [directions], [np.clip(sky, 0.01, None)[:, None] * tint[0]]
    for _ in range(int(generator.integers(1, 3))):
        lamp = generator.normal(size=3) + 1.2 * up
        lamp /= np.linalg.norm(lamp)
        spread = lamp + generator.normal(0, 0.12, (3, 3))
        parts.append(spread / np.linalg.norm(spread, axis=1, keepdims=True))
        radiance.append(np.full((3, channels), generator.uniform(0.08, 0.3)) * tint[1])
    return Environment(np.concatenate(parts), np.concatenate(radiance))


def _sphere_directions(count: int) -> Float[np.ndarray, "count 3"]:
    """Evenly spread directions (a Fibonacci spiral)."""
    index = np.arange(count) + 0.5
    height = 1 - 2 * index / count
    turn = np.pi * (1 + 5**0.5) * index
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), height], axis=-1)
