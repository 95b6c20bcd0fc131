"""Video of a camera pair: the fused pose, before and after adaptation, over both views and in space."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from handloom.figures.hold_videos import median_rate
from handloom.figures.painted_skeleton import FINGER_RGB, Picture, paint_skeleton, paint_text, resized, rgb_of
from handloom.figures.style import ORANGE, SKY
from handloom.figures.video_file import write_video
from handloom.footage.hands_file import FootageHands, read_hands
from handloom.footage.poses_file import FootagePoses, read_poses
from handloom.runtime.images import read_rgb

BEFORE_RGB, AFTER_RGB = rgb_of(ORANGE), rgb_of(SKY)
_HEIGHT_PX = 320
_SIDE_VIEW = Rotation.from_euler("yx", [50, -20], degrees=True)
_REACH = 0.7
"""Half of the space shown, in the farthest joint's distance from the wrist."""
_MARGIN = 0.35
"""Room about the hand's path, as a share of its extent."""


def write_footage_video(poses_npz: Path, frames: tuple[Path, Path], hands: tuple[Path, Path], output: Path) -> None:
    """Stage: per pair of frames the left and the right picture and the fused pose; MP4 at the left view's rate.

    Fused poses are laid over by the scale and shift that bring them nearest to the key points of hands.npz: no
    camera's place is known.
    """
    poses, seen = read_poses(poses_npz), [read_hands(path) for path in hands]
    mirrored = [header.extra["side"] == "left" and header.extra["backend"] == "detnet" for _, header in seen]
    pictures = overlaid(poses, [sorted(folder.glob("*.png")) for folder in frames], [h for h, _ in seen], mirrored)
    write_video(output, pictures, frames_per_second=median_rate(poses.times_left_s))


def overlaid(
    poses: FootagePoses, images: list[list[Path]], hands: list[FootageHands], mirrored: list[bool]
) -> Iterator[Picture]:
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
            panel = np.ascontiguousarray(panel)
            for joints, colour in (
                (poses.joints_before_m[pair] @ turn_before.T, BEFORE_RGB),
                (poses.joints_m[pair] @ turn.T, AFTER_RGB),
            ):
                pixels = reprojected(joints, hands[view], row, mirrored[view]) - [left, top]
                paint_skeleton(panel, scale * pixels, colour)
            paint_text(panel, ("left ", "right ")[view] + str((poses.names_left, poses.names_right)[view][pair]))
            paint_text(panel, "before", 1, BEFORE_RGB)
            paint_text(panel, "after", 2, AFTER_RGB)
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


def reprojected(
    joints_m: Float[np.ndarray, "21 3"], hands: FootageHands, row: int, mirrored: bool
) -> Float[np.ndarray, "21 2"]:
    """Pixels of a pose along a view's camera axes: s x' + t, x' as a camera sees it that looks at the hand.

    s and t are the least-squares fit to the view's key points.
    """
    about_axis = Rotation.from_euler("z", hands.angle_rad[row]).as_matrix()
    mirror = np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0])
    towards = hands.cam_from_crop[row] @ mirror @ about_axis.T
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
    paint_skeleton(panel, _HEIGHT_PX / 2 * (1 + seen / reach_m), FINGER_RGB)
    paint_text(panel, "fused, from the side")
    return panel
