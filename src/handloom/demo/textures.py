"""Small procedural textures, and the photographs that scikit-image ships, for objects, tables and rooms."""

from functools import cache
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float
from numpy.random import Generator

SIZE: Final = 128  # texels a side of an object's paint
_PHOTOGRAPHS: Final = ("coffee", "chelsea", "rocket", "astronaut", "stereo_motorcycle", "retina", "hubble_deep_field")
_SURFACES: Final = ("brick", "grass", "gravel", "coins", "page", "text", "moon", "camera")

Texture = Float[np.ndarray, "size size 3"]


def smooth_noise_map(generator: Generator, size: int, cells: int) -> Float[np.ndarray, "size size"]:
    """Noise in 0...1 made of octaves from `cells` cells upwards, the finer the weaker."""
    total = np.zeros((size, size), np.float32)
    weight = 1.0
    while cells <= size // 2:
        coarse = generator.random((cells, cells), dtype=np.float32)
        total += weight * cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
        weight, cells = weight * 0.55, cells * 2
    low, high = total.min(), total.max()
    return (total - low) / max(high - low, 1e-6)


def random_colour(generator: Generator, saturation: float = 0.7) -> Float[np.ndarray, "3"]:
    """A reflectance of random hue; saturation 0 is grey."""
    hue, level = generator.random(), generator.uniform(0.08, 0.8)
    wave = 0.5 + 0.5 * np.cos(2 * np.pi * (hue + np.array([0.0, 1 / 3, 2 / 3])))
    return (level * (1 - saturation * generator.random() * (1 - wave))).astype(np.float32)


def object_texture(generator: Generator, size: int = SIZE) -> Texture:
    """Paint of an object: noise, stripes, checks, a label with print, spots, or a piece of a photograph."""
    first, second = random_colour(generator), random_colour(generator)
    kind = generator.integers(6)
    row, column = np.mgrid[0:size, 0:size].astype(np.float32) / size
    if kind == 0:
        mix = smooth_noise_map(generator, size, int(generator.integers(2, 8)))
    elif kind == 1:
        angle, count = generator.uniform(0, np.pi), int(generator.integers(3, 12))
        mix = (np.sin(2 * np.pi * count * (np.cos(angle) * row + np.sin(angle) * column)) > 0).astype(np.float32)
    elif kind == 2:
        count = int(generator.integers(2, 8))
        mix = ((np.floor(row * count) + np.floor(column * count)) % 2).astype(np.float32)
    elif kind == 3:
        mix = _print(generator, size)
    elif kind == 4:
        mix = (smooth_noise_map(generator, size, int(generator.integers(4, 12))) > 0.55).astype(np.float32)
    else:
        return photograph_patch(generator, size, size)
    texture = first + mix[..., None] * (second - first)
    texture *= 0.85 + 0.3 * smooth_noise_map(generator, size, 8)[..., None]
    return cv2.GaussianBlur(np.clip(texture, 0, 1).astype(np.float32), (3, 3), 0)


def _print(generator: Generator, size: int) -> Float[np.ndarray, "size size"]:
    """Bars and blocks in rows, like the print on a package."""
    image = np.zeros((size, size), np.float32)
    row = 0
    while row < size:
        height = int(generator.integers(3, size // 5))
        if generator.random() < 0.7:
            column = 0
            while column < size:
                width = int(generator.integers(3, size // 3))
                image[row : row + height, column : column + width] = generator.choice([0.0, 0.5, 1.0])
                column += width + int(generator.integers(1, 8))
        row += height + int(generator.integers(1, 10))
    return image


def surface_texture(generator: Generator, size: int = 256, *, photographs: bool = True) -> Texture:
    """A table, wall or floor, tinted: wood, plaster, tiles, cloth, or (where allowed) a photographed material."""
    kind = generator.integers(5 if photographs else 4)
    row, column = np.mgrid[0:size, 0:size].astype(np.float32) / size
    if kind == 0:
        warp = smooth_noise_map(generator, size, 3)
        value = 0.5 + 0.5 * np.sin(2 * np.pi * (generator.uniform(6, 16) * row + 2.5 * warp))
        value = 0.55 + 0.25 * value + 0.2 * smooth_noise_map(generator, size, 16)
    elif kind == 1:
        value = 0.7 + 0.3 * smooth_noise_map(generator, size, 4)
    elif kind == 2:
        count = generator.integers(3, 10)
        joint = ((row * count) % 1 < 0.06) | ((column * count) % 1 < 0.06)
        value = np.where(joint, 0.5, 0.85 + 0.15 * smooth_noise_map(generator, size, 8))
    elif kind == 3:
        weave = np.sin(row * size * 0.8) * np.sin(column * size * 0.8)
        value = 0.7 + 0.15 * weave + 0.15 * smooth_noise_map(generator, size, 6)
    else:
        grey = _photograph(str(generator.choice(_SURFACES))).mean(-1)
        value = cv2.resize(grey, (size, size), interpolation=cv2.INTER_AREA) * 0.8 + 0.2
    colour = random_colour(generator, 0.5)
    return np.clip(value[..., None] * (0.25 + 0.75 * colour), 0, 1).astype(np.float32)


def cluttered(generator: Generator, texture: Texture, pieces: int) -> Texture:
    """The surface with papers, tools and parts lying on it: turned rectangles and discs of other paint."""
    image = texture.copy()
    size = image.shape[0]
    for _ in range(pieces):
        colour = tuple(float(value) for value in random_colour(generator, 0.6))
        centre = generator.uniform(0, size, 2)
        if generator.random() < 0.6:
            extent = generator.uniform(0.03, 0.22, 2) * size
            corners = cv2.boxPoints((tuple(centre), tuple(extent), float(generator.uniform(0, 180))))
            cv2.fillPoly(image, [corners.astype(np.int32)], colour, cv2.LINE_AA)
        else:
            radius = int(generator.uniform(0.02, 0.1) * size)
            cv2.circle(image, tuple(int(value) for value in centre), radius, colour, -1, cv2.LINE_AA)
    return image


def photograph_patch(generator: Generator, height: int, width: int) -> Float[np.ndarray, "height width 3"]:
    """A random, flipped and tinted piece of a photograph, as linear reflectance."""
    photograph = _photograph(str(generator.choice(_PHOTOGRAPHS + _SURFACES)))
    rows, columns = photograph.shape[:2]
    zoom = generator.uniform(0.25, 0.95)
    patch_rows = max(8, int(min(rows, columns * height / width) * zoom))
    patch_columns = max(8, min(columns, int(patch_rows * width / height)))
    top, left = generator.integers(rows - patch_rows + 1), generator.integers(columns - patch_columns + 1)
    patch = photograph[top : top + patch_rows, left : left + patch_columns]
    if generator.random() < 0.5:
        patch = patch[:, ::-1]
    if generator.random() < 0.3:
        patch = patch[::-1]
    resized = cv2.resize(np.ascontiguousarray(patch), (width, height), interpolation=cv2.INTER_AREA)
    tint = generator.uniform(0.7, 1.2, 3).astype(np.float32)
    return np.clip(resized**2.0 * tint, 0, 1)


@cache
def _photograph(name: str) -> Float[np.ndarray, "height width 3"]:
    """One of scikit-image's bundled pictures, in 0...1, at most 512 pixels wide."""
    import skimage.data

    loaded = getattr(skimage.data, name)()
    image = loaded[0] if isinstance(loaded, tuple) else loaded
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=-1)
    scale = min(1.0, 512 / image.shape[1])
    small = cv2.resize(image[..., :3], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return (small / 255.0).astype(np.float32)
