"""Crops look as the camera saw them, and every finger has its colour."""

import numpy as np
from matplotlib.figure import Figure

from handloom.figures.skeleton import draw_skeleton, look_at, show_crop


def test_left_hands_are_mirrored_back() -> None:
    image = np.zeros((16, 16), dtype=np.uint8)
    image[:, :4] = 255
    axes = Figure().add_subplot()
    show_crop(axes, image, is_left=True, dimmed=False)
    shown = np.asarray(axes.images[0].get_array())
    assert shown[:, -4:].min() == 1
    assert shown[:, :-4].max() == 0


def test_a_uniform_crop_can_be_shown() -> None:
    axes = Figure().add_subplot()
    show_crop(axes, np.full((8, 8), 90, dtype=np.uint8), is_left=False, dimmed=True)
    assert np.isfinite(np.asarray(axes.images[0].get_array())).all()


def test_the_zoom_is_square_upright_and_stays_inside_the_crop() -> None:
    axes = Figure().add_subplot()
    keypoints = np.full((21, 2), 10.0)
    keypoints[3] = [90, 30]
    look_at(axes, keypoints)
    (x_low, x_high), (y_bottom, y_top) = axes.get_xlim(), axes.get_ylim()
    assert x_high - x_low == y_bottom - y_top
    assert x_low >= -0.5
    assert y_top >= -0.5
    assert x_low <= 10 <= 90 <= x_high
    look_at(axes, np.array([[-900.0, 0]] * 20 + [[900.0, 0]]))
    assert axes.get_xlim() == (-0.5, 255.5)


def test_every_bone_has_its_fingers_colour_and_invalid_joints_are_hollow() -> None:
    axes = Figure().add_subplot()
    valid = np.ones(21)
    valid[4] = 0
    draw_skeleton(axes, np.random.default_rng(0).normal(size=(21, 2)), valid)
    bones = axes.collections[1]
    colours = np.asarray(bones.get_edgecolor())
    assert len(bones.get_segments()) == 20  # type: ignore[attr-defined]  # a LineCollection
    assert len(np.unique(colours, axis=0)) == 5
    faces = np.asarray(axes.collections[2].get_facecolor())
    assert faces[4, :3].tolist() == [0, 0, 0]
    assert faces[3, :3].tolist() != [0, 0, 0]
