"""Spots of the object followed by optical flow from picture to picture, through those that a sequence skips.

Shi and Tomasi's corners, Lucas and Kanade's pyramids, each step checked by going back (OpenCV). A feature is looked for
anew in every frame; a track says where the same spot went, which helps most where the object turns fast.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from handloom.datasets.frames import Picture
from handloom.datasets.masks import BACKGROUND, labels_at
from handloom.estimators.sfm.matches import Matches, of_tracks

# The object is looked at so large that its longest side has about so many pixels, at most twice as large as it is.
_OBJECT_SIDE_PX, _MOST_ENLARGED = 480, 2.0
_MOST_TRACKS = 900
_CORNER_QUALITY, _CORNER_DISTANCE_PX = 0.003, 7
_MASK_EROSION_PX = 2
_BACK_WITHIN_PX = 1.2
_WINDOW_PX, _PYRAMID_LEVELS, _STEPS, _STEP_PX = 25, 4, 30, 0.01
_CONTRAST_LIMIT, _CONTRAST_TILES = 3.0, (8, 8)

Masks = Mapping[int, Bool[np.ndarray, "height width"]]
"""Of numbers of pictures: where they show the object."""


def enlargement(masks: Iterable[Bool[np.ndarray, "height width"]]) -> float:
    """How many times as large pictures are made so that small objects have features and large ones not too many."""
    sides = [max(cv2.boundingRect(mask.astype(np.uint8))[2:]) for mask in masks if mask.any()]
    return min(_MOST_ENLARGED, _OBJECT_SIDE_PX / float(np.median(sides))) if sides else 1.0


def followed(
    pictures: Iterable[tuple[int, Picture]], masks: Masks, position: Mapping[int, float], reach: float
) -> Matches:
    """Matches of the pictures that have a mask, in the order of their numbers, at most `reach` in `position` apart.

    `pictures` are numbered and follow each other without gaps. A track ends where it leaves the mask.
    """
    scale = enlargement(masks.values())
    contrast = cv2.createCLAHE(_CONTRAST_LIMIT, _CONTRAST_TILES)
    row_of = {number: row for row, number in enumerate(sorted(masks))}
    before: UInt8[np.ndarray, "height width"] | None = None
    pixels, tracks = np.zeros((0, 2), np.float32), np.zeros(0, int)
    begun = 0
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for number, picture in pictures:
        grey = contrast.apply(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        if before is not None and len(pixels):
            pixels, kept = _step(before, grey, pixels)
            pixels, tracks = pixels[kept], tracks[kept]
        if number in row_of:
            size = grey.shape[::-1]
            mask = cv2.resize(masks[number].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
            kept = labels_at(mask, pixels) > BACKGROUND
            pixels, tracks = pixels[kept], tracks[kept]
            new = _corners(grey, mask, pixels)
            pixels = np.concatenate([pixels, new])
            tracks = np.concatenate([tracks, begun + np.arange(len(new))])
            begun += len(new)
            in_picture = (pixels.astype(float) + 0.5) / scale - 0.5
            found.append((np.full(len(tracks), row_of[number]), tracks, in_picture))
        before = grey
    frame, track, pixel = (np.concatenate(each) for each in zip(*found, strict=True))
    seen = np.bincount(track, minlength=begun) >= 2
    kept = seen[track]
    positions = np.array([position[number] for number in sorted(masks)], float)
    return of_tracks(frame[kept], track[kept], pixel[kept], positions, reach)


def _step(
    before: UInt8[np.ndarray, "h w"], after: UInt8[np.ndarray, "h w"], pixels: Float[np.ndarray, "spots 2"]
) -> tuple[Float[np.ndarray, "spots 2"], Bool[np.ndarray, " spots"]]:
    """Where spots went, and for which the way back leads to where they were."""
    options: Any = {
        "winSize": (_WINDOW_PX, _WINDOW_PX),
        "maxLevel": _PYRAMID_LEVELS,
        "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _STEPS, _STEP_PX),
    }
    start = np.ascontiguousarray(pixels, np.float32)[:, None]
    flow: Any = cv2.calcOpticalFlowPyrLK
    moved, there, _ = flow(before, after, start, None, **options)
    back, back_there, _ = flow(after, before, moved, None, **options)
    height, width = after.shape
    inside = ((moved[:, 0] > 2) & (moved[:, 0] < [width - 3, height - 3])).all(1)
    returned = np.linalg.norm(back - start, axis=2)[:, 0] < _BACK_WITHIN_PX
    return moved[:, 0], (there[:, 0] == 1) & (back_there[:, 0] == 1) & inside & returned


def _corners(
    grey: UInt8[np.ndarray, "h w"], mask: UInt8[np.ndarray, "h w"], taken: Float[np.ndarray, "spots 2"]
) -> Float[np.ndarray, "new 2"]:
    """New corners on the mask, away from the spots that are followed already."""
    wanted = _MOST_TRACKS - len(taken)
    if wanted <= 0 or not mask.any():
        return np.zeros((0, 2), np.float32)
    side = 2 * _MASK_EROSION_PX + 1
    free = cv2.erode(mask, np.ones((side, side), np.uint8))
    for column, row in taken.astype(int).tolist():
        cv2.circle(free, (column, row), _CORNER_DISTANCE_PX, 0, -1)
    new = cv2.goodFeaturesToTrack(grey, wanted, _CORNER_QUALITY, _CORNER_DISTANCE_PX, mask=free)
    return np.zeros((0, 2), np.float32) if new is None else new[:, 0]
