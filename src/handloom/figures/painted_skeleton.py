"""Hand skeletons painted into pictures."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.colors import to_rgb

from handloom.figures.style import FINGER_COLOURS
from handloom.hand.joints import FINGERS, SNAP_BONES

Picture = UInt8[np.ndarray, "height width 3"]
Rgb = tuple[int, int, int]
_SHIFT = 4
"""Fractional bits of OpenCV's coordinates, so that skeletons do not jump by whole pixels."""


def rgb_of(name: str) -> Rgb:
    """A colour's name or #RRGGBB as bytes."""
    red, green, blue = (round(255 * value) for value in to_rgb(name))
    return red, green, blue


FINGER_RGB: tuple[Rgb, ...] = tuple(rgb_of(FINGER_COLOURS[finger]) for finger in FINGERS for _ in range(4))
"""The colours of the 20 bones."""


def paint_skeleton(
    picture: Picture,
    keypoints_px: Float[np.ndarray, "21 2"],
    colours: tuple[Rgb, ...] | Rgb = FINGER_RGB,
    thickness: int = 2,
) -> None:
    """Paint the bones of a skeleton into an RGB picture, dark lines below for contrast."""
    each = colours if isinstance(colours[0], tuple) else (colours,) * len(SNAP_BONES)
    points = np.clip(np.rint(keypoints_px * 2**_SHIFT), -(2**28), 2**28).astype(int)
    for extra, dark in ((1, True), (0, False)):
        for (parent, child), colour in zip(SNAP_BONES, each, strict=True):
            cv2.line(
                picture,
                (int(points[parent, 0]), int(points[parent, 1])),
                (int(points[child, 0]), int(points[child, 1])),
                (20, 20, 20) if dark else colour,
                thickness + extra,
                cv2.LINE_AA,
                _SHIFT,
            )


def paint_text(picture: Picture, text: str, row: int = 0, colour: Rgb = (255, 255, 255)) -> None:
    """Write a short line into the upper left corner, on a dark strip."""
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.42
    (width, height), _ = cv2.getTextSize(text, font, size, 1)
    left, base = 4, 15 + 17 * row
    cv2.rectangle(picture, (left - 3, base - height - 3), (left + width + 3, base + 4), (40, 40, 40), cv2.FILLED)
    cv2.putText(picture, text, (left, base), font, size, colour, 1, cv2.LINE_AA)


def resized(
    picture: Picture, width_px: int, height_px: int
) -> tuple[UInt8[np.ndarray, "new_height new_width 3"], float]:
    """A picture at another size, and the horizontal scale."""
    scale = width_px / picture.shape[1]
    small = cv2.resize(picture, (width_px, height_px), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return small, scale
