"""Hand skeletons: drawn over crops in a figure, or painted into pictures, with words beside them."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from handloom.datasets.box_crops import CROP_PX
from handloom.datasets.frames import Picture
from handloom.figures.style import FINGER_COLOURS, Rgb, hide_frame, rgb_of
from handloom.hand.joints import FINGERS, SNAP_BONES

_WRIST_COLOUR = "#F2F2F2"
_BONE_COLOURS = [FINGER_COLOURS[finger] for finger in FINGERS for _ in range(4)]
BONE_RGB: tuple[Rgb, ...] = tuple(map(rgb_of, _BONE_COLOURS))
"""The colours of the 20 bones, which are those of their fingers."""
_DIMMED = 0.6
"""Brightness of a crop behind a skeleton, so that the bones stand out."""
_SHOWN_PERCENTILES = (1, 99.5)
"""Grey values that are shown black and white: a few glints and dead pixels would take all the contrast."""
_ZOOM = 1.5
"""Side of what is shown over the larger side of the hand's box."""
_SMALLEST_HALF_PX = 64.0
"""A hand seen from its fingertips is not enlarged beyond a half of the crop."""
_SHIFT = 4
"""Fractional bits of OpenCV's coordinates, so that skeletons do not jump by whole pixels."""


def show_crop(axes: Axes, image_u8: UInt8[np.ndarray, "px px"], *, is_left: bool, dimmed: bool) -> None:
    """The network's input as the camera saw it: a left hand is mirrored back; axes are pixels of the 256-pixel crop."""
    upright = (image_u8[:, ::-1] if is_left else image_u8).astype(np.float64)
    dark, bright = np.percentile(upright, _SHOWN_PERCENTILES)
    contrast = np.clip((upright - dark) / max(bright - dark, 1.0), 0, 1) * (_DIMMED if dimmed else 1.0)
    edges = (-0.5, CROP_PX - 0.5, CROP_PX - 0.5, -0.5)
    axes.imshow(contrast, cmap="gray", vmin=0, vmax=1, extent=edges, interpolation="bicubic")
    axes.set_facecolor("black")
    hide_frame(axes)


def look_at(axes: Axes, keypoints_px: Float[np.ndarray, "21 2"]) -> None:
    """Zoom into the square around some key points."""
    low, high = keypoints_px.min(axis=0), keypoints_px.max(axis=0)
    half_px = min(max(_ZOOM * float((high - low).max()) / 2, _SMALLEST_HALF_PX), CROP_PX / 2)
    x, y = np.clip((low + high) / 2, half_px - 0.5, CROP_PX - 0.5 - half_px)
    axes.set_xlim(x - half_px, x + half_px)
    axes.set_ylim(y + half_px, y - half_px)


def draw_skeleton(
    axes: Axes, keypoints_px: Float[np.ndarray, "21 2"], valid: Float[np.ndarray, "21"] | None = None
) -> None:
    """Bones and joints in the colours of their fingers; joints that do not count (`valid` 0) are hollow."""
    draw_bones(axes, keypoints_px, "black", 3.0)  # an outline, for contrast on any skin
    draw_bones(axes, keypoints_px, _BONE_COLOURS, 1.9)
    filled = np.ones(len(keypoints_px), dtype=bool) if valid is None else valid > 0
    colours = [_WRIST_COLOUR, *_BONE_COLOURS]
    faces = [colour if full else "black" for colour, full in zip(colours, filled, strict=True)]
    edges = ["black" if full else "white" for full in filled]
    x, y = keypoints_px.T
    axes.scatter(x, y, s=9, c=faces, edgecolors=edges, linewidths=0.5, zorder=3)


def draw_bones(axes: Axes, keypoints_px: Float[np.ndarray, "21 2"], colours: str | list[str], width: float) -> None:
    """Lines from joint to joint, in one colour or each in its own."""
    lines = keypoints_px[np.array(SNAP_BONES)]
    axes.add_collection(LineCollection(list(lines), colors=colours, linewidths=width, capstyle="round", zorder=2))


def paint_skeleton(
    picture: Picture, keypoints_px: Float[np.ndarray, "21 2"], colours: tuple[Rgb, ...] | Rgb = BONE_RGB
) -> None:
    """Paint the bones of a skeleton into an RGB picture, dark lines below for contrast."""
    each = colours if isinstance(colours[0], tuple) else (colours,) * len(SNAP_BONES)
    # Coordinates stay within OpenCV's 32 bits, whatever lies far outside the picture.
    points = np.clip(np.rint(keypoints_px * 2**_SHIFT), -(2**28), 2**28).astype(int).tolist()
    for thickness, dark in ((3, True), (2, False)):
        for (parent, child), colour in zip(SNAP_BONES, each, strict=True):
            shade = (20, 20, 20) if dark else colour
            cv2.line(picture, points[parent], points[child], shade, thickness, cv2.LINE_AA, _SHIFT)


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
    """A picture at another size, which can be painted into, and the horizontal scale."""
    scale = width_px / picture.shape[1]
    small = cv2.resize(picture, (width_px, height_px), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return np.ascontiguousarray(small), scale
