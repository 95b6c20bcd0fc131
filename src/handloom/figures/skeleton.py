"""Hand skeletons drawn over crops."""

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from handloom.datasets.crops import CROP_PX, project
from handloom.figures.style import FINGER_COLOURS, hide_frame
from handloom.hand.joints import FINGERS, SNAP_BONES

_COLOURS = ["#F2F2F2", *(FINGER_COLOURS[finger] for finger in FINGERS for _ in range(4))]
"""One colour a joint; the wrist is light grey."""
_DIMMED = 0.6
_ZOOM = 1.5
_SMALLEST_HALF_PX = 64.0


def placed_in_crop(
    poses_mm: Float[np.ndarray, "21 3"],
    true_root_m: Float[np.ndarray, "3"],
    focal_px: Float[np.ndarray, "2"],
    principal_point_px: Float[np.ndarray, "2"],
) -> Float[np.ndarray, "21 2"]:
    """Key points in the 256-pixel crop of a root-relative pose that is put at the true root joint."""
    return project(poses_mm / 1000 + true_root_m, focal_px, principal_point_px)


def show_crop(axes: Axes, image_u8: UInt8[np.ndarray, "px px"], *, is_left: bool, dimmed: bool) -> None:
    """The network's input as the camera saw it: a left hand is mirrored back; axes are pixels of the 256-pixel crop."""
    upright = (image_u8[:, ::-1] if is_left else image_u8).astype(np.float64)
    dark, bright = np.percentile(upright, [1, 99.5])
    contrast = np.clip((upright - dark) / max(bright - dark, 1.0), 0, 1) * (_DIMMED if dimmed else 1.0)
    edges = (-0.5, CROP_PX - 0.5, CROP_PX - 0.5, -0.5)
    axes.imshow(contrast, cmap="gray", vmin=0, vmax=1, extent=edges, interpolation="bicubic")
    axes.set_facecolor("black")
    hide_frame(axes)


def look_at(axes: Axes, keypoints_px: Float[np.ndarray, "21 2"]) -> None:
    """Zoom into the square around some key points."""
    low, high = keypoints_px.min(axis=0), keypoints_px.max(axis=0)
    half_px = max(_ZOOM * float((high - low).max()) / 2, _SMALLEST_HALF_PX)
    x, y = (
        np.clip((low + high) / 2, half_px - 0.5, CROP_PX - 0.5 - half_px) if 2 * half_px < CROP_PX else (127.5, 127.5)
    )
    half_px = min(half_px, CROP_PX / 2)
    axes.set_xlim(x - half_px, x + half_px)
    axes.set_ylim(y + half_px, y - half_px)


def draw_skeleton(
    axes: Axes, keypoints_px: Float[np.ndarray, "21 2"], valid: Float[np.ndarray, "21"] | None = None
) -> None:
    """Bones and joints in the colours of their fingers; joints that do not count (`valid` 0) are hollow."""
    _bones(axes, keypoints_px, "black", 3.0)  # an outline, for contrast on any skin
    _bones(axes, keypoints_px, [_COLOURS[child] for _, child in SNAP_BONES], 1.9)
    filled = np.ones(len(keypoints_px), dtype=bool) if valid is None else valid > 0
    faces = [colour if full else "black" for colour, full in zip(_COLOURS, filled, strict=True)]
    x, y = keypoints_px.T
    axes.scatter(x, y, s=9, c=faces, edgecolors=["black" if full else "white" for full in filled],
                 linewidths=0.5, zorder=3)  # fmt: skip


def draw_ghost(axes: Axes, keypoints_px: Float[np.ndarray, "21 2"]) -> None:
    """A thin white skeleton to compare with."""
    _bones(axes, keypoints_px, "white", 0.8)


def _bones(axes: Axes, keypoints_px: np.ndarray, colours: str | list[str], width: float) -> None:
    lines = keypoints_px[np.array(SNAP_BONES)]
    axes.add_collection(LineCollection(list(lines), colors=colours, linewidths=width, capstyle="round", zorder=2))
