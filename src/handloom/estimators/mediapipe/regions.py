"""Squares in which a hand stands upright, as MediaPipe lays them about key points; about palms see `palm_detector`.

The files that are named here lie in mediapipe/modules/hand_landmark of MediaPipe's public repository.
"""

import numpy as np
from jaxtyping import Float, Float64

from handloom.estimators.hands.squares import Squares, rotations_2d
from handloom.hand.joints import MIDDLE_BASE, WRIST

STABLE_JOINTS = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)
"""Joints whose box MediaPipe widens: fingertips would make it jump from frame to frame."""
_INDEX_BASE, _RING_BASE = 5, 13
_KEYPOINT_SCALE, _KEYPOINT_SHIFT = 2.0, 0.1
"""Of hand_landmark_landmarks_to_roi.pbtxt."""
_SMALLEST_SIDE_PX = 4.0
"""For key points that all fall on one place, whose square would have no size."""


def squares_about_keypoints(keypoints_px: Float[np.ndarray, "hands 21 2"]) -> Squares:
    """MediaPipe's squares for hands whose key points (SNAP) are known.

    Up is the direction from the wrist to the bases of index, middle (counted twice) and ring finger, as in
    calculators/hand_landmarks_to_rect_calculator.cc. The square is about the upright box of `STABLE_JOINTS`, shifted
    upwards by 0.1 of the box's height, with twice its longer side.
    """
    keypoints = keypoints_px.astype(np.float64)
    sides = (keypoints[:, _INDEX_BASE] + keypoints[:, _RING_BASE]) / 2
    angle = angle_from_up((sides + keypoints[:, MIDDLE_BASE]) / 2 - keypoints[:, WRIST])
    turn = rotations_2d(angle)
    upright = keypoints[:, list(STABLE_JOINTS)] @ turn  # rows: turned by minus the angle
    low, high = upright.min(1), upright.max(1)
    middle = (((low + high) / 2)[:, None] @ turn.swapaxes(1, 2))[:, 0]
    return widened(middle, high - low, angle, _KEYPOINT_SCALE, _KEYPOINT_SHIFT)


def angle_from_up(direction: Float64[np.ndarray, "hands 2"]) -> Float64[np.ndarray, " hands"]:
    """How far a hand is turned from upright, from x to y; 0 where its wrist is straight below its fingers."""
    return np.arctan2(direction[:, 0], -direction[:, 1])


def widened(
    centre_px: Float64[np.ndarray, "hands 2"],
    size_px: Float64[np.ndarray, "hands 2"],
    angle_rad: Float64[np.ndarray, " hands"],
    scale: float,
    shift_up: float,
) -> Squares:
    """Squares of `scale` times the longer side of upright boxes, shifted to the fingers by a share of the height."""
    up = np.stack([np.sin(angle_rad), -np.cos(angle_rad)], -1)
    centre = centre_px + shift_up * size_px[:, 1:] * up
    return Squares(centre, np.maximum(scale * size_px.max(1), _SMALLEST_SIDE_PX), angle_rad)
