"""Squares about a hand, turned so that the hand stands upright in them: cutting them out, and the way back.

Positions in an image are pixels whose centres are whole numbers; positions in a crop are counted from its upper left
corner, so that its first pixel's centre is at 0.5. Angles turn from x to y: clockwise as one sees an image.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from handloom.hand.joints import MIDDLE_BASE, WRIST

TURNS = 4
STABLE_JOINTS = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)
"""Joints whose box MediaPipe widens: fingertips would make it jump from frame to frame."""
_INDEX_BASE, _RING_BASE = 5, 13
_KEYPOINT_SCALE, _KEYPOINT_SHIFT = 2.0, 0.1
_PALM_SCALE, _PALM_SHIFT = 2.6, 0.5
_BLUR = 0.4
"""Standard deviation of the blur before a reduction, in pixels of the crop."""
_SMALLEST_SIDE_PX = 4.0


class UprightSquares(NamedTuple):
    """Square regions of images, one per hand."""

    centre_px: Float[Tensor, "hands 2"]
    side_px: Float[Tensor, " hands"]
    angle_rad: Float[Tensor, " hands"]
    """How far the hand is turned from upright; 0 where its wrist is straight below its fingers."""

    def chosen(self, rows: Tensor) -> "UprightSquares":
        """Those that an index or a mask picks."""
        return UprightSquares(self.centre_px[rows], self.side_px[rows], self.angle_rad[rows])


def turned(squares: UprightSquares, turns: int = TURNS) -> UprightSquares:
    """Every square in `turns` evenly spaced directions, one square after the other: for hands of any direction."""
    angles = torch.arange(turns, dtype=squares.angle_rad.dtype) * (2 * math.pi / turns)
    return UprightSquares(
        squares.centre_px.repeat_interleave(turns, 0),
        squares.side_px.repeat_interleave(turns),
        (squares.angle_rad[:, None] + angles).flatten(),
    )


def squares_about_keypoints(keypoints_px: Float[Tensor, "hands 21 2"]) -> UprightSquares:
    """MediaPipe's squares for hands whose key points (SNAP) are known.

    Up is the direction from the wrist to the bases of index, middle (counted twice) and ring finger. The square is
    about the upright box of `STABLE_JOINTS`, shifted upwards by 0.1 of the box's height, with twice its longer side.
    """
    keypoints = keypoints_px.double()
    sides = (keypoints[:, _INDEX_BASE] + keypoints[:, _RING_BASE]) / 2
    angle = _angle_from_up((sides + keypoints[:, MIDDLE_BASE]) / 2 - keypoints[:, WRIST])
    turn = _turns(angle)
    upright = keypoints[:, list(STABLE_JOINTS)] @ turn  # rows: turned by minus the angle
    low, high = upright.amin(1), upright.amax(1)
    middle = (((low + high) / 2)[:, None] @ turn.mT)[:, 0]
    return _widened(middle, high - low, angle, _KEYPOINT_SCALE, _KEYPOINT_SHIFT)


def squares_about_palms(
    centre_px: Float[Tensor, "hands 2"],
    size_px: Float[Tensor, "hands 2"],
    wrist_px: Float[Tensor, "hands 2"],
    middle_base_px: Float[Tensor, "hands 2"],
) -> UprightSquares:
    """MediaPipe's squares for palms: up from wrist to middle finger, half a box upwards, 2.6 times its longer side."""
    angle = _angle_from_up((middle_base_px - wrist_px).double())
    return _widened(centre_px.double(), size_px.double(), angle, _PALM_SCALE, _PALM_SHIFT)


def image_from_crop(squares: UprightSquares, size_px: int) -> Float[Tensor, "hands 2 3"]:
    """Affine maps from crops into images: x_image = centre + side / size R(angle) (x_crop - size / 2)."""
    linear = _turns(squares.angle_rad) * (squares.side_px / size_px)[:, None, None]
    shift = squares.centre_px - linear.sum(-1) * (size_px / 2)
    return torch.cat([linear, shift[..., None]], -1)


def in_image(
    points_crop_px: Float[Tensor, "hands points 2"], squares: UprightSquares, size_px: int
) -> Float[Tensor, "hands points 2"]:
    """Points of crops in their images; differentiable."""
    maps = image_from_crop(squares, size_px).to(points_crop_px)
    return points_crop_px @ maps[..., :2].mT + maps[:, None, :, 2]


def in_image_axes(
    joints_crop_m: Float[Tensor, "hands points 3"], squares: UprightSquares
) -> Float[Tensor, "hands points 3"]:
    """Points along a crop's axes, along those of the image: turned about the camera's axis by the square's angle."""
    turn = _turns(squares.angle_rad).to(joints_crop_m)
    return torch.cat([joints_crop_m[..., :2] @ turn.mT, joints_crop_m[..., 2:]], -1)


def square_crops(
    image: UInt8[np.ndarray, "height width 3"], squares: UprightSquares, size_px: int, *, black_outside: bool = False
) -> UInt8[np.ndarray, "hands size size 3"]:
    """Squares of one image as pictures of `size_px` pixels; beyond the image its edge goes on, or all is black.

    The image is blurred before a reduction, so that nothing aliases.
    """
    border = cv2.BORDER_CONSTANT if black_outside else cv2.BORDER_REPLICATE
    maps = image_from_crop(squares, size_px)
    maps[..., 2] += maps[..., :2].sum(-1) / 2  # OpenCV counts from the first pixel's centre
    crops = []
    smooth, smooth_reduction = image, 1.0
    for matrix, side in zip(maps.numpy(), squares.side_px.tolist(), strict=True):
        reduction = side / size_px
        if reduction != smooth_reduction:
            smooth = cv2.GaussianBlur(image, (0, 0), _BLUR * reduction) if reduction > 1.2 else image
            smooth_reduction = reduction
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        crops.append(cv2.warpAffine(smooth, matrix, (size_px, size_px), flags=flags, borderMode=border))
    return np.stack(crops) if crops else np.zeros((0, size_px, size_px, 3), np.uint8)


def _angle_from_up(direction: Float[Tensor, "hands 2"]) -> Float[Tensor, " hands"]:
    return torch.atan2(direction[:, 0], -direction[:, 1])


def _turns(angle_rad: Float[Tensor, " hands"]) -> Float[Tensor, "hands 2 2"]:
    """Rotations from x to y, for columns."""
    cosine, sine = angle_rad.cos(), angle_rad.sin()
    return torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)


def _widened(
    centre_px: Float[Tensor, "hands 2"],
    size_px: Float[Tensor, "hands 2"],
    angle_rad: Float[Tensor, " hands"],
    scale: float,
    shift_up: float,
) -> UprightSquares:
    """Squares of `scale` times the longer side of upright boxes, shifted to the fingers by a share of the height."""
    up = torch.stack([angle_rad.sin(), -angle_rad.cos()], -1)
    centre = centre_px + shift_up * size_px[:, 1:] * up
    return UprightSquares(centre, (scale * size_px.amax(1)).clamp_min(_SMALLEST_SIDE_PX), angle_rad)
