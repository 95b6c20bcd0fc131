"""Rooms behind the hands, and their light: six textured sides with a cluttered table, met analytically by every ray."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from handloom.demo.renderer import Environment, Extrinsics, Matrix, Vector, ray_directions
from handloom.demo.textures import cluttered, photograph_patch, surface_texture
from handloom.geometry.surfaces import sphere_directions

_TABLE = 6
_SKY_LIGHTS, _SKY_LIGHT = 240, 0.65
"""Directions of a studio's sky, and a white surface's light from all of it; few would be edges within a hollow."""
_SOFTBOX_COSINE, _SOFTBOX_LIGHT = 0.88, 0.4
"""The cosine of the lamp's half width (28 degrees), and a white surface's light from it."""


@dataclass(frozen=True)
class Room:
    """Lit textures of the six sides (x low, x high, y low, ... in world axes) and of the table at z = 0."""

    low_m: Vector
    high_m: Vector
    table_low_m: Float[np.ndarray, "2"]
    table_high_m: Float[np.ndarray, "2"]
    radiance: Float[np.ndarray, "7 size size channels"]

    def view(
        self, camera_from_world: Extrinsics, intrinsics: Matrix, width: int, height: int, coarser: int = 2
    ) -> Float[np.ndarray, "height width channels"]:
        """Radiance of the room at every pixel, computed on a grid `coarser` times as wide and interpolated."""
        # Blocks of coarser x coarser pixels: their centres lie (coarser - 1) / 2 pixels after their first pixel.
        scaled = intrinsics.copy()
        scaled[:2] /= coarser
        scaled[:2, 2] -= (coarser - 1) / (2 * coarser)
        rows, columns = -(-height // coarser), -(-width // coarser)
        rotation = camera_from_world[:, :3]
        centre = (-rotation.T @ camera_from_world[:, 3]).astype(np.float32)
        direction = ray_directions(rotation, scaled, slice(0, rows), slice(0, columns)).reshape(-1, 3)
        direction = np.where(np.abs(direction) < 1e-6, np.float32(1e-6), direction)
        radiance = self._met(centre, direction).reshape(rows, columns, -1)
        if coarser == 1:
            return radiance
        large = cv2.resize(radiance, (columns * coarser, rows * coarser), interpolation=cv2.INTER_LINEAR)
        return large.reshape(rows * coarser, columns * coarser, -1)[:height, :width]

    def _met(self, centre: np.ndarray, direction: np.ndarray) -> np.ndarray:
        bound = np.where(direction > 0, self.high_m, self.low_m).astype(np.float32)
        distances = (bound - centre) / direction
        axis = distances.argmin(1)
        distance = np.take_along_axis(distances, axis[:, None], 1)[:, 0]
        rows = np.arange(len(direction))
        side = 2 * axis + (direction[rows, axis] > 0)
        point = centre + distance[:, None] * direction
        unit = (point - self.low_m) / (self.high_m - self.low_m)
        u = unit[rows, (axis + 1) % 3]
        v = unit[rows, (axis + 2) % 3]
        to_table = -centre[2] / direction[:, 2]
        on_table = (centre[:2] + to_table[:, None] * direction[:, :2] - self.table_low_m) / (
            self.table_high_m - self.table_low_m
        )
        table = (to_table > 0) & (to_table < distance) & ((on_table > 0) & (on_table < 1)).all(1)
        side = np.where(table, _TABLE, side)
        u, v = np.where(table, on_table[:, 0], u), np.where(table, on_table[:, 1], v)
        size = self.radiance.shape[1]
        column = np.clip((u * size).astype(np.int32), 0, size - 1)
        row = np.clip((v * size).astype(np.int32), 0, size - 1)
        return self.radiance[side, row, column]


def random_room(generator: Generator, *, grey: bool) -> Room:
    """A room of 3 to 6 metres around a table of about a metre, each surface with its own paint and brightness."""
    half = generator.uniform(1.4, 2.8, 2)
    low = np.array([-half[0], -half[1], -0.75])
    high = np.array([half[0], half[1], 1.9])
    sides = [surface_texture(generator) for _ in range(6)]
    for index in (0, 1, 2, 3):
        sides[index] = cluttered(generator, sides[index], int(generator.integers(4, 14)))
    table = surface_texture(generator, 512, photographs=False)
    table = cluttered(generator, table, int(generator.integers(6, 22)))
    small = [cv2.resize(side, (512, 512), interpolation=cv2.INTER_LINEAR) for side in sides]
    brightness = generator.uniform(0.25, 0.9, 7)[:, None, None, None]
    radiance = np.stack([*small, table]) * brightness
    if grey:
        radiance = radiance.mean(-1, keepdims=True)
    extent = generator.uniform(0.45, 0.9, 2)
    return Room(low, high, -extent, extent + generator.uniform(0, 0.2, 2), radiance.astype(np.float32))


def with_photographs(generator: Generator, room: Room) -> Room:
    """The room with photographs hung on its walls and lying on its table: something to see at every place."""
    radiance = room.radiance.copy()
    size = radiance.shape[1]
    for side in radiance:
        for _ in range(12):
            height, width = generator.integers(size // 12, size // 5, 2)
            row, column = generator.integers(size - height), generator.integers(size - width)
            patch = photograph_patch(generator, int(height), int(width)) * generator.uniform(0.35, 0.9)
            side[row : row + height, column : column + width] = patch
    return replace(room, radiance=radiance)


def random_environment(generator: Generator, *, up: Vector, channels: int) -> Environment:
    """A soft sky of twelve directions and one or two lamps of three close directions each.

    `up` is where the sky is brighter; radiance is scaled so that a white surface facing the light is about 1.
    """
    directions = sphere_directions(12)
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


def studio_environment(*, up: Vector, softbox: Vector, channels: int) -> Environment:
    """Light as a photographer sets it up for a hollow thing: a smooth sky and a large soft lamp in one direction."""
    directions = sphere_directions(_SKY_LIGHTS)
    sky = 1 + directions @ up
    lamp = (directions @ (softbox / np.linalg.norm(softbox)) > _SOFTBOX_COSINE).astype(float)
    # Half of a sphere's directions light a surface, at a mean cosine of 1/2.
    radiance = 4 * _SKY_LIGHT * sky / sky.sum() + _SOFTBOX_LIGHT * lamp / lamp.sum()
    return Environment(directions, np.tile(radiance[:, None], (1, channels)))
