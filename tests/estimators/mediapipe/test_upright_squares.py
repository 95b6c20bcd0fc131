"""Turned squares: where they lie, what is cut out, and that the way back ends where it began."""

import math

import numpy as np
import pytest
import torch

from handloom.estimators.mediapipe.upright_squares import (
    STABLE_JOINTS,
    UprightSquares,
    image_from_crop,
    in_image,
    in_image_axes,
    square_crops,
    squares_about_keypoints,
    squares_about_palms,
    turned,
)

ANGLES = torch.linspace(-3.0, 3.0, 7, dtype=torch.float64)


def squares(angle: float, centre: tuple[float, float] = (70.0, 50.0), side: float = 40.0) -> UprightSquares:
    return UprightSquares(*(torch.tensor([value], dtype=torch.float64) for value in (centre, side, angle)))


def upright_hand() -> torch.Tensor:
    """Key points of a hand that points up, 80 wide and 100 high without its finger tips; its wrist at (50, 120)."""
    points = torch.full((21, 2), 50.0, dtype=torch.float64)
    points[:, 1] = 70.0
    points[0], points[9] = torch.tensor([50.0, 120.0]), torch.tensor([50.0, 60.0])
    points[5], points[13] = torch.tensor([35.0, 60.0]), torch.tensor([65.0, 60.0])
    points[2], points[18], points[10] = (
        torch.tensor([10.0, 90.0]),
        torch.tensor([90.0, 65.0]),
        torch.tensor([50.0, 20.0]),
    )
    points[12] = torch.tensor([50.0, -70.0])  # a finger tip, which does not count
    return points


def turn_about(points: torch.Tensor, angle: torch.Tensor | float, centre: tuple[float, float]) -> torch.Tensor:
    """Points turned from x to y about a centre."""
    angle = torch.as_tensor(angle, dtype=torch.float64)
    matrix = torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]], dtype=torch.float64)
    middle = torch.tensor(centre, dtype=torch.float64)
    return (points - middle) @ matrix.T + middle


def test_the_square_about_an_upright_hand() -> None:
    """Twice the longer side of the box from (10, 20) to (90, 120), moved up by a tenth of its height."""
    found = squares_about_keypoints(upright_hand()[None])
    assert found.centre_px[0].tolist() == [50.0, 60.0]
    assert found.side_px.tolist() == [200.0]
    assert found.angle_rad.tolist() == [0.0]
    assert 12 not in STABLE_JOINTS


@pytest.mark.parametrize("angle", ANGLES.tolist())
def test_the_square_turns_with_the_hand(angle: float) -> None:
    hand = turn_about(upright_hand(), angle, (80.0, 90.0))
    found = squares_about_keypoints(hand[None])
    assert found.angle_rad[0].item() == pytest.approx(angle, abs=1e-9)
    assert found.side_px[0].item() == pytest.approx(200.0)
    expected = turn_about(torch.tensor([50.0, 60.0], dtype=torch.float64), angle, (80.0, 90.0))
    torch.testing.assert_close(found.centre_px[0], expected)


def test_the_square_about_a_palm() -> None:
    """A palm that points right: half a box towards the fingers, 2.6 times its longer side."""
    values = ([[100.0, 80.0]], [[40.0, 50.0]], [[80.0, 80.0]], [[120.0, 80.0]])
    found = squares_about_palms(*(torch.tensor(value) for value in values))
    torch.testing.assert_close(found.centre_px, torch.tensor([[125.0, 80.0]], dtype=torch.float64))
    torch.testing.assert_close(found.side_px, torch.tensor([130.0], dtype=torch.float64))
    torch.testing.assert_close(found.angle_rad, torch.tensor([math.pi / 2], dtype=torch.float64))


def test_four_directions_of_each_square() -> None:
    found = turned(UprightSquares(torch.eye(2).double(), torch.tensor([3.0, 4.0]).double(), torch.zeros(2).double()))
    assert found.side_px.tolist() == [3.0] * 4 + [4.0] * 4
    assert found.centre_px[:5].tolist() == [[1.0, 0.0]] * 4 + [[0.0, 1.0]]
    torch.testing.assert_close(found.angle_rad[4:], torch.arange(4).double() * math.pi / 2)


@pytest.mark.parametrize("angle", ANGLES.tolist())
def test_a_spot_of_the_picture_is_found_again(angle: float) -> None:
    """From the picture into the crop by OpenCV, and from the crop back by our map, to a tenth of a pixel."""
    spot = np.array([78.0, 42.0])
    y, x = np.mgrid[:100, :140]
    light = 255 * np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / 18)
    picture = np.repeat(light[..., None], 3, 2).astype(np.uint8)
    here = squares(angle)
    crop = square_crops(picture, here, 64)[0, ..., 0].astype(float) ** 2
    cells = np.arange(64) + 0.5
    centre = np.array([(crop.sum(0) * cells).sum(), (crop.sum(1) * cells).sum()]) / crop.sum()
    found = in_image(torch.from_numpy(centre).reshape(1, 1, 2), here, 64)[0, 0]
    np.testing.assert_allclose(found, spot, atol=0.1)


def test_corners_of_a_crop_are_the_squares_corners() -> None:
    maps = image_from_crop(squares(0.0), 80)[0]
    torch.testing.assert_close(maps, torch.tensor([[0.5, 0.0, 50.0], [0.0, 0.5, 30.0]], dtype=torch.float64))
    crop = square_crops(np.zeros((10, 10, 3), np.uint8) + 9, squares(0.0, (4.5, 4.5), 20.0), 20, black_outside=True)[0]
    expected = np.zeros((20, 20), np.uint8)
    expected[5:15, 5:15] = 9
    np.testing.assert_array_equal(crop[..., 0], expected)
    assert (square_crops(np.zeros((10, 10, 3), np.uint8) + 9, squares(0.4, (4.5, 4.5), 20.0), 20) == 9).all()


def test_joints_turn_about_the_cameras_axis_as_the_picture_does() -> None:
    joints = torch.from_numpy(np.random.default_rng(0).normal(size=(7, 21, 3)))
    here = UprightSquares(torch.zeros(7, 2).double(), torch.ones(7).double(), ANGLES)
    found = in_image_axes(joints, here)
    flat = in_image(joints[..., :2] + 0.5, here, 1)  # unit squares about 0: turned, and nothing else
    torch.testing.assert_close(found[..., :2], flat)
    torch.testing.assert_close(found[..., 2], joints[..., 2])
    torch.testing.assert_close(torch.cdist(found, found), torch.cdist(joints, joints))


def test_gradients_flow_back_into_the_crop() -> None:
    points = torch.rand(2, 3, 2, dtype=torch.float64, requires_grad=True)
    here = UprightSquares(torch.ones(2, 2).double(), torch.ones(2).double() * 8, torch.tensor([0.3, -2.0]).double())
    assert torch.autograd.gradcheck(lambda each: in_image(each, here, 16), (points,))


def test_a_reduced_crop_does_not_alias() -> None:
    """Stripes of one pixel become grey, not stripes of another width."""
    stripes = np.zeros((800, 800, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = square_crops(stripes, squares(0.2, (400.0, 400.0), 330.0), 100)
    assert 120 < crop.mean() < 135
    assert crop.std() < 12
