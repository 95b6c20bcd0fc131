"""Crops: closed-form squares, zero padding, mirroring, and the camera of a crop."""

import numpy as np
import pytest

from handloom.datasets.box_crops import (
    crop_intrinsics,
    mirrored_keypoints,
    network_image,
    project_in_crop,
    seen_in_crop,
    squares_around,
    warp_crop,
)
from handloom.runtime.errors import InputError


def test_square_is_1_75_times_the_longer_side_truncated() -> None:
    squares = squares_around(np.array([[100.0, 50, 200, 110]]))
    assert squares.side_px.tolist() == [175]
    assert squares.corner_px.tolist() == [[62, -7]]  # 150 - 87.5 and 80 - 87.5, truncated toward zero


def test_small_boxes_get_at_least_100_pixels() -> None:
    squares = squares_around(np.array([[10.0, 10, 20, 20], [5, 5, 5, 5]]))
    assert squares.side_px.tolist() == [100, 100]


def test_an_impossible_box_is_refused() -> None:
    with pytest.raises(InputError, match="would need a crop of"):
        squares_around(np.array([[0.0, 0, 1e9, 5]]))


def test_crop_of_256_pixels_is_the_image_itself_with_zeros_outside() -> None:
    image = np.random.default_rng(0).integers(1, 256, size=(300, 300), dtype=np.uint8)
    crop = warp_crop(image, np.array([-20, 100]), 256)
    assert not crop[:, :20].any()
    assert not crop[200:].any()
    difference = image[100:300, :236].astype(int) - crop[:200, 20:]
    assert set(np.unique(difference)) <= {0, 1}  # truncation may lose one grey level


def test_square_outside_the_image_is_black() -> None:
    image = np.full((50, 50), 200, dtype=np.uint8)
    assert not warp_crop(image, np.array([500, -900]), 120).any()


def test_left_hands_are_mirrored_and_every_second_pixel_is_taken() -> None:
    crop = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    right = network_image(crop, is_left=False, input_px=128)
    left = network_image(crop, is_left=True, input_px=128)
    assert right[0].tolist() == list(range(1, 256, 2))
    assert left[0].tolist() == list(range(254, -1, -2))


@pytest.mark.parametrize("input_px", [64, 96, 256])
def test_other_sizes_average_areas(input_px: int) -> None:
    crop = np.random.default_rng(1).integers(0, 256, size=(256, 256), dtype=np.uint8)
    small = network_image(crop, is_left=False, input_px=input_px)
    assert small.shape == (input_px, input_px)
    assert abs(float(small.mean()) - float(crop.mean())) < 1
    if input_px == 64:
        blocks = crop.reshape(64, 4, 64, 4).mean(axis=(1, 3))
        assert np.abs(small - blocks).max() <= 0.5 + 1e-6


def test_an_input_larger_than_the_crop_is_refused() -> None:
    with pytest.raises(InputError, match=r"detnet.input_px is 320"):
        network_image(np.zeros((256, 256), dtype=np.uint8), is_left=False, input_px=320)


def test_crop_camera_sees_points_where_the_full_camera_does() -> None:
    """Projecting with the crop's intrinsics equals projecting and then cropping."""
    generator = np.random.default_rng(2)
    squares = squares_around(np.array([[100.0, 50, 260, 150]]))
    intrinsics = np.array([[[400.0, 0, 310], [0, 410, 230], [0, 0, 1]]])
    points = generator.normal(size=(1, 21, 3)) * 0.1 + [0, 0, 0.6]
    focal_px, principal_point_px = crop_intrinsics(intrinsics, squares)
    full_px = points @ intrinsics[0].T
    full_px = full_px[..., :2] / full_px[..., 2:]
    expected = (full_px - squares.corner_px) * 256 / squares.side_px
    np.testing.assert_allclose(project_in_crop(points, focal_px, principal_point_px), expected, atol=1e-9)


def test_a_joint_in_the_camera_plane_projects_to_a_number() -> None:
    pixels = project_in_crop(np.zeros((1, 21, 3)), np.ones((1, 2)), np.zeros((1, 2)))
    assert np.isfinite(pixels).all()


def test_validity_needs_annotation_crop_and_depth() -> None:
    annotated = np.ones((1, 21))
    annotated[0, 1] = 0
    pixels = np.full((1, 21, 2), 128.0)
    pixels[0, 2] = [256.0, 10]  # the crop is [0, 256)
    pixels[0, 3] = [0.0, 0.0]
    joints_m = np.zeros((1, 21, 3))
    joints_m[0, 4, 2], joints_m[0, 5, 2], joints_m[0, 6, 2] = 0.2, -0.2, -0.201
    expected = np.ones(21)
    expected[[1, 2, 4, 6]] = 0
    assert seen_in_crop(annotated, pixels, joints_m)[0].tolist() == expected.tolist()


def test_key_points_of_left_hands_become_256_minus_x() -> None:
    pixels = np.full((2, 21, 2), 100.0)
    mirrored = mirrored_keypoints(pixels, np.array([False, True]))
    assert mirrored[0, 0].tolist() == [100, 100]
    assert mirrored[1, 0].tolist() == [156, 100]
    assert pixels[1, 0, 0] == 100, "the argument stays as it was"
