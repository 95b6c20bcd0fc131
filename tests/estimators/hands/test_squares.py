"""Squares: where they lie about boxes and masks, what is cut out of them, and that the way back ends where it began."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from handloom.estimators.hands.squares import (
    Squares,
    box_squares,
    corners_of,
    crop_from_picture,
    crops_of,
    in_picture,
    mask_boxes,
    picture_axes_from_crop,
)
from handloom.hand.joints import Side

ANGLES = np.linspace(-3.0, 3.0, 7)


def squares(*angles: float, centre: tuple[float, float] = (70.0, 50.0), side: float = 40.0) -> Squares:
    count = len(angles)
    return Squares(np.tile(centre, (count, 1)), np.full(count, side), np.array(angles))


def test_a_square_is_about_its_box_and_not_too_small() -> None:
    boxes = np.array([[10.0, 20, 30, 60], [5, 5, 6, 6], [np.nan] * 4])
    found = box_squares(boxes, 1.5)
    assert found.centre_px[:2].tolist() == [[20, 40], [5.5, 5.5]]
    assert found.side_px[:2].tolist() == [60, 24]
    assert found.angle_rad[:2].tolist() == [0, 0]
    assert all(np.isnan(values[2]).all() for values in found)


def test_every_square_in_four_directions() -> None:
    found = Squares(np.eye(2), np.array([3.0, 4.0]), np.array([0.0, 0.1])).turned(4)
    assert found.side_px.tolist() == [3.0] * 4 + [4.0] * 4
    assert found.centre_px[:5].tolist() == [[1.0, 0.0]] * 4 + [[0.0, 1.0]]
    np.testing.assert_allclose(found.angle_rad[4:], 0.1 + np.arange(4) * math.pi / 2)


def test_a_spot_of_the_picture_is_found_again() -> None:
    """From the picture into turned crops by OpenCV, and from the crops back by our map, to a tenth of a pixel."""
    spot = np.array([78.0, 42.0])
    y, x = np.mgrid[:100, :140]
    light = 255 * np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / 18)
    here = squares(*ANGLES)
    crops = crops_of(np.repeat(light[..., None], 3, 2).astype(np.uint8), here, 64)[..., 0].astype(float) ** 2
    pixels, total = np.arange(64), crops.sum((1, 2))
    centres = np.stack([(crops.sum(1) * pixels).sum(1), (crops.sum(2) * pixels).sum(1)], 1) / total[:, None]
    np.testing.assert_allclose(in_picture(centres[:, None], here, 64)[:, 0], np.tile(spot, (7, 1)), atol=0.1)
    maps = crop_from_picture(here, 64)
    np.testing.assert_allclose(maps[..., :2] @ spot + maps[..., 2], centres, atol=0.2)


def test_edges_of_a_crop_are_the_squares_edges_and_beyond_the_picture_is_a_level_or_its_edge() -> None:
    picture = np.full((10, 10, 3), 9, np.uint8)
    expected = np.zeros((20, 20), np.uint8)
    expected[5:15, 5:15] = 9
    np.testing.assert_array_equal(
        crops_of(picture, squares(0.0, centre=(4.5, 4.5), side=20), 20, border=0)[0, ..., 0], expected
    )
    assert (crops_of(picture, squares(0.4, centre=(4.5, 4.5), side=20), 20) == 9).all()


@pytest.mark.parametrize("smooth_for_px", [None, 330.0])
def test_a_reduced_crop_does_not_alias(smooth_for_px: float | None) -> None:
    """Stripes of one pixel become grey, not stripes of another width."""
    stripes = np.zeros((800, 800, 3), np.uint8)
    stripes[:, ::2] = 255
    here = squares(0.2, centre=(400.0, 400.0), side=330.0)
    crop = crops_of(stripes, here, 100, smooth_for_px=smooth_for_px)
    assert 120 < crop.mean() < 135
    assert crop.std() < 12


def test_joints_turn_about_the_cameras_axis_as_the_picture_does_and_a_mirror_is_undone() -> None:
    joints = np.random.default_rng(0).normal(size=(7, 21, 3))
    here = Squares(np.zeros((7, 2)), np.ones(7), ANGLES)
    turned = joints @ picture_axes_from_crop(here).swapaxes(1, 2)
    np.testing.assert_allclose(turned[..., :2], in_picture(joints[..., :2], here, 1), atol=1e-12)
    np.testing.assert_array_equal(turned[..., 2], joints[..., 2])
    mirrored = (joints * [-1, 1, 1]) @ picture_axes_from_crop(here, mirrored=True).swapaxes(1, 2)
    np.testing.assert_allclose(mirrored, turned)


def test_a_square_is_turned_from_x_to_y() -> None:
    corners = corners_of(squares(math.pi / 2, centre=(10.0, 20.0), side=4.0))
    np.testing.assert_allclose(corners, [[[12, 18], [12, 22], [8, 22], [8, 18]]])


def mask(path: Path, hand: tuple[slice, slice] | None, thing: bool = True, label: int = 150) -> Path:
    """An arm that reaches from a thing down to the picture's edge; `hand` is the hand itself."""
    labels = np.zeros((200, 200), np.uint8)
    if thing:
        labels[20:60, 80:110] = 50
    if hand is not None:
        labels[hand] = label
        labels[80:200, 85:105] = label
    cv2.imwrite(str(path), labels)
    return path


def test_the_forearm_is_left_out_unless_there_is_no_thing_to_tell_it_by(tmp_path: Path) -> None:
    path = mask(tmp_path / "0.png", np.s_[40:80, 70:120])
    whole, cut = (mask_boxes([path], "right", reach)[0] for reach in (None, 0.75))
    assert whole.tolist() == [69.5, 39.5, 119.5, 199.5]  # edges of pixels
    assert cut[:3].tolist() == [69.5, 39.5, 119.5]
    assert cut[3] < 130
    alone = mask(tmp_path / "1.png", np.s_[40:80, 70:120], thing=False)
    np.testing.assert_array_equal(mask_boxes([alone], "right", 0.75)[0], whole)


@pytest.mark.parametrize(("side", "label"), [("right", 150), ("left", 250)])
def test_only_the_hands_own_label_counts_and_flecks_do_not(tmp_path: Path, side: Side, label: int) -> None:
    other = mask(tmp_path / "other.png", np.s_[40:80, 70:120], label=400 - label)
    none = mask(tmp_path / "none.png", None)
    fleck = np.zeros((50, 50), np.uint8)
    fleck[:6, :6] = label
    cv2.imwrite(str(tmp_path / "fleck.png"), fleck)
    own = mask(tmp_path / "own.png", np.s_[40:80, 70:120], label=label)
    boxes = mask_boxes([other, none, tmp_path / "fleck.png", own], side, None)
    assert np.isfinite(boxes).all(1).tolist() == [False, False, False, True]
