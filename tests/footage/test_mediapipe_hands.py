"""Hands of footage by MediaPipe's networks, with stand-ins that see coloured spots: palms, lost hands, and sides."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from handloom.estimators.mediapipe.palm_detector import PalmDetector
from handloom.footage.mediapipe_hands import MediaPipeFinder
from handloom.hand.joints import Side

from ..estimators.mediapipe.coloured_hand import SpotNetwork, palms_at, spots_picture  # noqa: TID252 (no package)

CENTRE = np.array([80.0, 60.0])
NOTHING = np.zeros((120, 160, 3), np.uint8)


def hand_at(angle: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Wrist and finger tip of a hand that is turned by an angle about the picture's middle."""
    up = 20.0 * np.array([math.sin(angle), -math.cos(angle)])
    return tuple(CENTRE - up), tuple(CENTRE + up)


def finder(folder: Path, palms: PalmDetector) -> MediaPipeFinder:
    return MediaPipeFinder(SpotNetwork(folder), palms, least_presence=0.5)


def written(folder: Path, pictures: list[np.ndarray]) -> list[Path]:
    paths = [folder / f"{row:04d}.png" for row in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        cv2.imwrite(str(path), picture[..., ::-1])
    return paths


def test_palms_lead_to_hands_and_frames_without_are_listed(tmp_path: Path) -> None:
    """Protects footage in which the hand leaves and comes back: it is searched for anew."""
    pictures = [spots_picture(*hand_at(0.2)), NOTHING, spots_picture(*hand_at(-0.3))]
    seen = finder(tmp_path, palms_at(tmp_path, (80.0, 75.0)))(written(tmp_path, pictures), None, "right")
    assert seen.found.tolist() == [True, False, True]
    assert np.isnan(seen.keypoints_px[1]).all()
    for row, angle in ((0, 0.2), (2, -0.3)):
        np.testing.assert_allclose(seen.keypoints_px[row, [0, 20]], np.array(hand_at(angle)), atol=0.3)


def test_no_palm_anywhere(tmp_path: Path) -> None:
    seen = finder(tmp_path, palms_at(tmp_path))(written(tmp_path, [NOTHING] * 2), None, "right")
    assert seen.found.tolist() == [False, False]
    assert np.isnan(seen.joints).all()


@pytest.mark.parametrize(("side", "x"), [("right", 40.0), ("left", 120.0)])
def test_of_two_hands_the_side_decides(tmp_path: Path, side: Side, x: float) -> None:
    """Two equally sure hands, the left one blue."""
    right = spots_picture((40.0, 80.0), (40.0, 50.0))
    left = spots_picture((120.0, 80.0), (120.0, 50.0), left=True)
    palms = palms_at(tmp_path, (40.0, 65.0), (120.0, 65.0))
    seen = finder(tmp_path, palms)(written(tmp_path, [right + left]), None, side)
    np.testing.assert_allclose(seen.keypoints_px[0, 0], [x, 80.0], atol=0.3)
