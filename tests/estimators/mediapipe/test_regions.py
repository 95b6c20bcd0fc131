"""Squares in which a hand stands upright: about its key points, and about a palm, as MediaPipe lays them."""

import math

import numpy as np
import pytest

from handloom.estimators.mediapipe.palm_detector import Palms
from handloom.estimators.mediapipe.regions import STABLE_JOINTS, squares_about_keypoints


def upright_hand() -> np.ndarray:
    """Key points of a hand that points up, 80 wide and 100 high without its finger tips; its wrist at (50, 120)."""
    points = np.full((21, 2), 50.0)
    points[:, 1] = 70.0
    points[0], points[9], points[5], points[13] = [50.0, 120.0], [50.0, 60.0], [35.0, 60.0], [65.0, 60.0]
    points[2], points[18], points[10] = [10.0, 90.0], [90.0, 65.0], [50.0, 20.0]
    points[12] = [50.0, -70.0]  # a finger tip, which does not count
    return points


def turn_about(points: np.ndarray, angle: float, centre: tuple[float, float]) -> np.ndarray:
    """Points turned from x to y about a centre."""
    matrix = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return (points - centre) @ matrix.T + centre


def test_the_square_about_an_upright_hand() -> None:
    """Twice the longer side of the box from (10, 20) to (90, 120), moved up by a tenth of its height."""
    found = squares_about_keypoints(upright_hand()[None])
    assert found.centre_px[0].tolist() == [50.0, 60.0]
    assert (found.side_px.tolist(), found.angle_rad.tolist()) == ([200.0], [0.0])
    assert 12 not in STABLE_JOINTS


@pytest.mark.parametrize("angle", np.linspace(-3.0, 3.0, 7).tolist())
def test_the_square_turns_with_the_hand(angle: float) -> None:
    found = squares_about_keypoints(turn_about(upright_hand(), angle, (80.0, 90.0))[None])
    assert found.angle_rad[0] == pytest.approx(angle, abs=1e-9)
    assert found.side_px[0] == pytest.approx(200.0)
    np.testing.assert_allclose(found.centre_px[0], turn_about(np.array([50.0, 60.0]), angle, (80.0, 90.0)))


def test_the_square_about_a_palm() -> None:
    """A palm that points right: half a box towards the fingers, 2.6 times its longer side."""
    points = np.zeros((1, 7, 2))
    points[0, [0, 2]] = [80.0, 80.0], [120.0, 80.0]  # wrist and base of the middle finger
    found = Palms(np.ones(1), np.array([[100.0, 80.0]]), np.array([[40.0, 50.0]]), points).squares()
    np.testing.assert_allclose(found.centre_px, [[125.0, 80.0]])
    assert found.side_px.tolist() == [130.0]
    assert found.angle_rad.tolist() == [math.pi / 2]


def test_key_points_on_one_place_have_a_square_nevertheless() -> None:
    assert (squares_about_keypoints(np.full((1, 21, 2), 7.0)).side_px > 0).all()
