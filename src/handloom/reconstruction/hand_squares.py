"""Where the hand is in each frame: squares from masks or boxes, what they show, and the rays through their centres."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import roma
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from handloom.hand.joints import Side
from handloom.runtime.images import read_grey

MASK_LABELS: dict[Side, int] = {"right": 150, "left": 250}
FIELD_OF_BOX = 2.0
"""Side of the crop over that of the hand's box, as DetNet is trained."""
SMALLEST_CROP_PX = 24


class HandSquares(NamedTuple):
    """Square regions that hold the hand, one per frame; NaN where there is none."""

    centre_px: Float64[np.ndarray, "frames 2"]
    side_px: Float64[np.ndarray, " frames"]


def square_crop(
    image: UInt8[np.ndarray, "height width 3"], centre_px: np.ndarray, side_px: float, size: int
) -> UInt8[np.ndarray, "size size 3"]:
    """A square of an image, zero outside it, resampled to `size`; pixel centres are whole numbers in the image.

    Reductions average areas, so that nothing aliases.
    """
    side = max(round(side_px), 2)
    corner = np.floor(centre_px + 0.5 - side_px / 2).astype(int)
    square = np.zeros((side, side, 3), np.uint8)
    height, width = image.shape[:2]
    left, top = int(corner[0]), int(corner[1])
    rows = slice(max(top, 0), min(top + side, height))
    columns = slice(max(left, 0), min(left + side, width))
    if rows.start < rows.stop and columns.start < columns.stop:
        part = image[rows, columns]
        square[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = part
    return cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_LINEAR)


def mask_squares(masks: Sequence[Path], side: Side, smallest_mask_px: int) -> HandSquares:
    """A square about the hand's label in each mask; NaN where the hand has too few pixels."""
    centre, extent = np.full((len(masks), 2), np.nan), np.full(len(masks), np.nan)
    for index, path in enumerate(masks):
        rows, columns = np.nonzero(read_grey(path) == MASK_LABELS[side])
        if len(rows) < smallest_mask_px:
            continue
        low, high = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()])
        centre[index], extent[index] = (low + high) / 2, (high - low).max() + 1
    return HandSquares(centre, np.maximum(FIELD_OF_BOX * extent, SMALLEST_CROP_PX))


def box_squares(boxes_px: Float[np.ndarray, "frames 4"]) -> HandSquares:
    """The squares about given boxes (x0, y0, x1, y1); a row of NaN says that there is no hand."""
    low, high = boxes_px[:, :2].astype(np.float64), boxes_px[:, 2:].astype(np.float64)
    return HandSquares((low + high) / 2, np.maximum(FIELD_OF_BOX * (high - low).max(1), SMALLEST_CROP_PX))


def ray_rotations(
    centre_px: Float64[np.ndarray, "frames 2"], intrinsics: Float64[np.ndarray, "3 3"]
) -> Float[Tensor, "frames 3 3"]:
    """The least rotation that carries the optical axis onto the ray through each square's centre.

    A network that sees only the square knows the hand as a camera would that looks straight at it. On 240 rendered
    images with squares 14 degrees off the axis on average, this lowers DetNet's error from 24.8 to 23.9 mm, and the
    opposite rotation raises it to 28.3 mm.
    """
    rays = np.concatenate([centre_px, np.ones((len(centre_px), 1))], 1) @ np.linalg.inv(intrinsics).T
    across = np.stack([-rays[:, 1], rays[:, 0], np.zeros(len(rays))], 1)
    sine = np.linalg.norm(rays[:, :2], axis=1)
    axis = across / np.maximum(sine, 1e-12)[:, None]
    angle = np.arctan2(sine, rays[:, 2])
    rotation: Tensor = roma.rotvec_to_rotmat(torch.from_numpy(axis * angle[:, None]))
    return rotation
