"""Fused poses of a camera pair: a video, before and after adaptation, over both views and in space, and a skeleton."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from handloom.adaptation.fused_poses import FusedPoses
from handloom.datasets.frames import Picture, read_frames
from handloom.estimators.hands.found import FoundHands, camera_turns
from handloom.figures.gltf import animated_glb, rising
from handloom.figures.skeleton import paint_skeleton, paint_text, resized
from handloom.figures.style import ORANGE, SKY, rgb_of
from handloom.figures.video_file import median_rate, write_video
from handloom.runtime.files import write_bytes
from handloom.runtime.images import read_rgb

_BEFORE_RGB, _AFTER_RGB = rgb_of(ORANGE), rgb_of(SKY)
_HEIGHT_PX = 320  # of a panel; three stand side by side
_SIDE_VIEW = Rotation.from_euler("yx", [50, -20], degrees=True)
"""From the left camera to one that looks from aside and a little from above, so that depth shows."""
_REACH = 0.7
"""Half of the space shown, in the farthest joint's distance from the wrist."""
_MARGIN = 0.35
"""Room about the hand's path, as a share of its extent."""


def write_footage_video(
    poses: Path,
    frames: tuple[Path, Path],
    frames_json: tuple[Path, Path],
    hands: tuple[Path, Path],
    video: Path,
    skeleton: Path,
) -> None:
    """Stage: per pair of frames the left and the right picture and the fused pose, and the poses as an animated GLB.

    The MP4 plays at the left view's rate. Fused poses are laid over by the scale and shift that bring them nearest to
    the key points of `hands`: no camera's place is known.
    """
    fused, found = FusedPoses.load(poses), [FoundHands.load(path) for path in hands]
    images = [read_frames(*each).pictures for each in zip(frames, frames_json, strict=True)]
    pictures = overlaid(fused, images, found)
    write_video(video, pictures, frames_per_second=median_rate(fused.times_left_s))
    write_bytes(skeleton, animated_glb(fused.joints_m, rising(fused.times_left_s)))


def overlaid(poses: FusedPoses, images: list[list[Path]], hands: list[FoundHands]) -> Iterator[Picture]:
    """The pictures of the video."""
    reach_m = _REACH * float(np.linalg.norm(poses.joints_m, axis=-1).max())
    views = (
        (poses.index_left, np.eye(3), np.eye(3)),
        (poses.index_right, poses.right_from_left_before, poses.right_from_left),
    )
    windows = [
        hand_window(hand.keypoints_px[index], read_rgb(paths[0]).shape[:2])
        for hand, paths, (index, _, _) in zip(hands, images, views, strict=True)
    ]
    for pair in range(len(poses.joints_m)):
        panels = []
        for view, (index, turn_before, turn) in enumerate(views):
            row = int(index[pair])
            picture = read_rgb(images[view][row])
            left, top, right, bottom = windows[view]
            width = 2 * round(_HEIGHT_PX * picture.shape[1] / picture.shape[0] / 2)
            panel, scale = resized(picture[top:bottom, left:right], width, _HEIGHT_PX)
            for joints, colour in (
                (poses.joints_before_m[pair] @ turn_before.T, _BEFORE_RGB),
                (poses.joints_m[pair] @ turn.T, _AFTER_RGB),
            ):
                pixels = reprojected(joints, hands[view], row) - [left, top]
                paint_skeleton(panel, scale * pixels, colour)
            paint_text(panel, ("left ", "right ")[view] + str((poses.names_left, poses.names_right)[view][pair]))
            paint_text(panel, "before", 1, _BEFORE_RGB)
            paint_text(panel, "after", 2, _AFTER_RGB)
            panels.append(panel)
        yield np.concatenate([*panels, _in_space(poses.joints_m[pair], reach_m)], axis=1)


def hand_window(keypoints_px: Float[np.ndarray, "frames 21 2"], size: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The part (left, top, right, bottom) of a picture of some (height, width) that the hand passes, in its shape."""
    height, width = size
    low, high = keypoints_px.min((0, 1)), keypoints_px.max((0, 1))
    extent = (1 + 2 * _MARGIN) * (high - low)
    share = min(1.0, max(extent[0] / width, extent[1] / height))
    wide, tall = max(2, round(share * width)), max(2, round(share * height))
    left, top = ((low + high - [wide, tall]) / 2).round().astype(int).tolist()
    left, top = min(max(left, 0), width - wide), min(max(top, 0), height - tall)
    return left, top, left + wide, top + tall


def reprojected(joints_m: Float[np.ndarray, "21 3"], hands: FoundHands, row: int) -> Float[np.ndarray, "21 2"]:
    """Pixels of a pose along a view's camera axes: s x' + t, x' as a camera sees it that looks at the hand.

    s and t are the least-squares fit to the view's key points.
    """
    towards = np.eye(3)
    if hands.intrinsics is not None:
        towards = camera_turns(hands.centre_px[[row]], hands.intrinsics, hands.ray_share)[0]
    seen = (joints_m @ towards)[:, :2]
    wanted = hands.keypoints_px[row]
    about, middle = seen - seen.mean(0), wanted.mean(0)
    scale = max((about * (wanted - middle)).sum() / max((about**2).sum(), 1e-12), 1e-6)
    pixels: Float[np.ndarray, "21 2"] = scale * about + middle
    return pixels


def _in_space(joints_m: Float[np.ndarray, "21 3"], reach_m: float) -> Picture:
    panel = np.full((_HEIGHT_PX, _HEIGHT_PX, 3), 245, np.uint8)
    middle = joints_m.mean(0)
    seen = _SIDE_VIEW.apply(joints_m - middle)[:, :2]
    paint_skeleton(panel, _HEIGHT_PX / 2 * (1 + seen / reach_m))
    paint_text(panel, "fused, from the side")
    return panel
