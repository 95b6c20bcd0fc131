"""Squares of pictures that hold one hand each: from masks or boxes to what a network sees, and the way back.

Pixel centres are at whole numbers. A square's `angle_rad` turns directions in the crop to those in the picture, from
x to y: x_picture = centre + side / size R(angle) (x_crop - middle).
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float64, Int, UInt8

from handloom.datasets.frames import Picture
from handloom.datasets.masks import LABEL_OF, OBJECT
from handloom.hand.joints import Side
from handloom.runtime.images import read_grey

FIELD_OF_BOX = 2.0
"""Side of a first square over that of the hand's box, as DetNet is trained."""
_SMALLEST_SIDE_PX = 24
"""Smaller squares hold a few pixels blown up, in which no network finds a hand."""
_BLUR = 0.4
"""Standard deviation of the blur before a reduction, in pixels of the crop, so that nothing aliases."""
_FEWEST_PIXELS = 60
"""A mask with fewer pixels of the hand counts as without one: a fleck of another region."""
_HAND_REACH = 0.45
"""Share of the hand mask's own extent that always counts as hand, however small the object is."""


class Squares(NamedTuple):
    """Square regions of pictures, one per hand; NaN where there is none."""

    centre_px: Float64[np.ndarray, "hands 2"]
    side_px: Float64[np.ndarray, " hands"]
    angle_rad: Float64[np.ndarray, " hands"]

    def at(self, rows: Int[np.ndarray, " some"] | Bool[np.ndarray, " hands"]) -> "Squares":
        """Some of them."""
        return Squares(self.centre_px[rows], self.side_px[rows], self.angle_rad[rows])

    def turned(self, turns: int) -> "Squares":
        """Every square in `turns` evenly spaced directions, one square after the other: for hands of any direction."""
        angles = np.arange(turns) * (2 * math.pi / turns)
        return Squares(
            self.centre_px.repeat(turns, 0), self.side_px.repeat(turns), (self.angle_rad[:, None] + angles).ravel()
        )


def box_squares(boxes_px: Float[np.ndarray, "hands 4"], field_of_box: float = FIELD_OF_BOX) -> Squares:
    """Upright squares about boxes (x0, y0, x1, y1), of `field_of_box` times the longer side; NaN for a box of NaN."""
    low, high = boxes_px[:, :2].astype(np.float64), boxes_px[:, 2:].astype(np.float64)
    side = np.maximum(field_of_box * (high - low).max(1), _SMALLEST_SIDE_PX)
    return Squares((low + high) / 2, side, np.where(np.isfinite(side), 0.0, np.nan))


def mask_boxes(masks: Sequence[Path], side: Side, object_reach: float | None) -> Float64[np.ndarray, "frames 4"]:
    """The box (x0, y0, x1, y1) about the hand's label in each mask; NaN where the hand has too few pixels.

    Hand pixels farther from the object's centre than `object_reach` times its length (the 80th percentile over the
    video) are taken for the forearm, unless the hand itself is so large; with None, or without an object, all count.
    """
    labels = [read_grey(path) for path in masks]
    hands = [np.argwhere(picture == LABEL_OF[side])[:, ::-1] for picture in labels]
    things = [np.argwhere(picture == OBJECT)[:, ::-1] for picture in labels]
    lengths = [np.ptp(np.percentile(pixels, (2, 98), axis=0), axis=0).max() for pixels in things if len(pixels)]
    extents = [np.ptp(pixels, axis=0).max() for pixels in hands if len(pixels) >= _FEWEST_PIXELS]
    reach = np.inf
    if object_reach is not None and lengths and extents:
        reach = max(object_reach * np.percentile(lengths, 80), _HAND_REACH * np.percentile(extents, 80))
    boxes = np.full((len(masks), 4), np.nan)
    for index, (hand, thing) in enumerate(zip(hands, things, strict=True)):
        near = hand[np.linalg.norm(hand - thing.mean(0), axis=1) < reach] if len(thing) else hand
        if len(near) < _FEWEST_PIXELS:
            near = hand
        if len(near) >= _FEWEST_PIXELS:
            boxes[index] = *(near.min(0) - 0.5), *(near.max(0) + 0.5)  # edges of pixels
    return boxes


def crops_of(
    picture: Picture, squares: Squares, size_px: int, *, border: int | None = None, smooth_for_px: float | None = None
) -> UInt8[np.ndarray, "hands size size 3"]:
    """Squares of one picture at `size_px` pixels, bilinear; beyond it a grey level, or (None) its edge goes on.

    Before a reduction the picture is smoothed: once for all squares as for one of `smooth_for_px`, or for each alone.
    """
    mode = cv2.BORDER_REPLICATE if border is None else cv2.BORDER_CONSTANT
    fill = (border or 0,) * 3
    crops = np.empty((len(squares.side_px), size_px, size_px, 3), np.uint8)
    smooth, smooth_reduction = picture, 1.0
    for row, (matrix, side) in enumerate(zip(crop_from_picture(squares, size_px), squares.side_px, strict=True)):
        reduction = float(side if smooth_for_px is None else smooth_for_px) / size_px
        if reduction != smooth_reduction:
            smooth = cv2.GaussianBlur(picture, (0, 0), _BLUR * reduction) if reduction > 1.2 else picture
            smooth_reduction = reduction
        crops[row] = cv2.warpAffine(
            smooth, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR, borderMode=mode, borderValue=fill
        )
    return crops


def crop_of_each(
    pictures: Iterable[Picture], squares: Squares, size_px: int, *, border: int | None = None
) -> UInt8[np.ndarray, "hands size size 3"]:
    """One square of each picture, as `crops_of` cuts it."""
    rows = enumerate(pictures)
    return np.concatenate([crops_of(each, squares.at(np.array([row])), size_px, border=border) for row, each in rows])


def crop_from_picture(squares: Squares, size_px: int) -> Float64[np.ndarray, "hands 2 3"]:
    """Affine maps into crops: x_crop = size / side R(-angle) (x_picture - centre) + (size - 1) / 2."""
    linear = (1.0 / (squares.side_px / size_px))[:, None, None] * rotations_2d(-squares.angle_rad)
    shift = (size_px - 1) / 2 - (linear @ squares.centre_px[..., None])[..., 0]
    return np.concatenate([linear, shift[..., None]], -1)


def in_picture(
    points_crop_px: Float[np.ndarray, "hands points 2"], squares: Squares, size_px: int
) -> Float[np.ndarray, "hands points 2"]:
    """Points of crops in their pictures."""
    maps = crop_from_picture(squares, size_px)
    return np.asarray((points_crop_px - maps[:, None, :, 2]) @ np.linalg.inv(maps[..., :2]).swapaxes(1, 2))


def picture_axes_from_crop(squares: Squares, *, mirrored: bool = False) -> Float64[np.ndarray, "hands 3 3"]:
    """Rz(angle) M: from a crop's axes (x right, y down, z forward) to the picture's; M undoes a mirrored crop."""
    axes = np.zeros((len(squares.angle_rad), 3, 3))
    axes[:, :2, :2], axes[:, 2, 2] = rotations_2d(squares.angle_rad), 1.0
    return axes * np.array([-1.0 if mirrored else 1.0, 1.0, 1.0])


def corners_of(squares: Squares) -> Float64[np.ndarray, "hands 4 2"]:
    """The corners of squares in their pictures, in order."""
    unit = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    offsets = squares.side_px[:, None, None] * unit @ rotations_2d(squares.angle_rad).swapaxes(1, 2)
    return squares.centre_px[:, None] + offsets


def rotations_2d(angle_rad: Float64[np.ndarray, " hands"]) -> Float64[np.ndarray, "hands 2 2"]:
    """Rotations from x to y, for columns."""
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    return np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)
