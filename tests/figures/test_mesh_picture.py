"""Pictures of meshes: where surfaces appear, how deep they lie, and what hides what."""

import numpy as np
import pytest
import trimesh

from handloom.figures.mesh_picture import (
    framed_camera,
    laid_over,
    one_colour,
    take_picture,
    turned_about,
    vertex_normals,
)

INTRINSICS = np.array([[100.0, 0, 49.5], [0, 100, 39.5], [0, 0, 1]])


def square(depth_m: float, half_m: float) -> tuple[np.ndarray, np.ndarray]:
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half_m
    return np.column_stack([corners, np.full(4, depth_m)]), np.array([[0, 1, 2], [0, 2, 3]])


def test_a_square_covers_its_pixels_at_its_depth() -> None:
    picture = take_picture([one_colour(*square(2.0, 0.4), (255, 0, 0))], INTRINSICS, 80, 100)
    expected = np.zeros((80, 100), dtype=bool)
    expected[20:60, 30:70] = True
    np.testing.assert_array_equal(picture.covered, expected)
    np.testing.assert_allclose(picture.depth_m[expected], 2.0, rtol=1e-5)
    assert (picture.rgb_u8[expected][:, 0] > 230).all()
    assert (picture.rgb_u8[~expected] == 255).all()


def test_the_nearer_mesh_hides_the_other() -> None:
    far, near = one_colour(*square(2.0, 0.4), (255, 0, 0)), one_colour(*square(1.0, 0.1), (0, 255, 0))
    picture = take_picture([far, near], INTRINSICS, 80, 100)
    assert picture.mesh[40, 50] == 1
    assert picture.mesh[22, 32] == 0
    assert picture.mesh[0, 0] == -1
    assert picture.rgb_u8[40, 50].argmax() == 1


def test_no_mesh_is_background_alone() -> None:
    picture = take_picture([], INTRINSICS, 8, 10, background=(1, 2, 3))
    assert not picture.covered.any()
    assert (picture.rgb_u8 == [1, 2, 3]).all()


def test_overlay_leaves_uncovered_pixels_as_they_are() -> None:
    image = np.full((80, 100, 3), 90, np.uint8)
    picture = take_picture([one_colour(*square(2.0, 0.4), (255, 255, 255))], INTRINSICS, 80, 100)
    over = laid_over(image, picture, opacity=0.5)
    assert (over[~picture.covered] == 90).all()
    assert (over[picture.covered] > 150).all()


def test_turning_keeps_distances_to_the_axis_and_heights() -> None:
    points = np.random.default_rng(0).normal(size=(20, 3))
    centre = np.array([0.1, 0.2, 3.0])
    turned = turned_about(points, centre, np.pi / 2)
    np.testing.assert_allclose(turned[:, 1], points[:, 1])
    np.testing.assert_allclose(turned[:, 0] - centre[0], points[:, 2] - centre[2], atol=1e-12)
    np.testing.assert_allclose(turned_about(turned, centre, -np.pi / 2), points, atol=1e-12)


def test_framed_camera_sees_all_points_with_a_margin() -> None:
    points = np.random.default_rng(1).uniform([2, -3, 5], [4, -1, 7], (50, 3))
    pixels = points @ framed_camera(points, 80, 100, margin=0.1).T
    pixels = pixels[:, :2] / pixels[:, 2:]
    low, high = pixels.min(0), pixels.max(0)
    np.testing.assert_allclose((low + high) / 2, [49.5, 39.5])
    assert (high - low <= np.array([80, 64]) + 1e-6).all()
    assert np.isclose(high - low, [80, 64]).any()


def test_normals_of_a_ball_point_outwards() -> None:
    ball = trimesh.creation.icosphere(subdivisions=3)
    found = vertex_normals(np.asarray(ball.vertices), np.asarray(ball.faces))
    assert (found * ball.vertices).sum(1).min() == pytest.approx(1, abs=1e-2)
