"""The student's augmentation: image, heat maps and joints turn together, and nothing changes when all is off."""

import math

import torch

from handloom.adaptation.student_augmentation import (
    StudentAugmentation,
    augment_images,
    augment_joints,
    augment_keypoints,
    augment_maps,
    draw_augmentation,
)
from handloom.runtime.config.adaptation import AugmentationSettings


def turn(degrees: float, scale: float = 1.0) -> StudentAugmentation:
    one = torch.ones(1)
    return StudentAugmentation(math.radians(degrees) * one, scale * one, one, 0 * one, 0 * one)


def spot(row: int, column: int) -> torch.Tensor:
    maps = torch.zeros(1, 21, 33, 33)
    maps[..., row, column] = 1
    return maps


def test_a_quarter_turn_moves_heat_and_joints_to_the_same_side() -> None:
    """Something right of the centre comes to lie below it: x right, y down."""
    heat = augment_maps(spot(16, 26), turn(90))
    assert divmod(int(heat[0, 0].argmax()), 33) == (26, 16)
    joints = torch.zeros(1, 21, 3)
    joints[..., 0] = 2
    joints[..., 2] = 1
    expected = torch.tensor([0.0, 2.0, 1.0]).expand(1, 21, 3)
    torch.testing.assert_close(augment_joints(joints, turn(90)), expected, atol=1e-6, rtol=0)


def test_zoom_moves_heat_outwards() -> None:
    heat = augment_maps(spot(16, 21), turn(0, scale=2.0))
    assert divmod(int(heat[0, 0].argmax()), 33) == (16, 26)


def test_key_points_move_as_the_heat_does() -> None:
    heat = augment_maps(spot(16, 21), turn(90, scale=2.0))
    row, column = divmod(int(heat[0, 0].argmax()), 33)
    points = torch.tensor([21.5, 16.5]).expand(1, 21, 2)  # of the spot, from the corner
    moved = augment_keypoints(points, turn(90, scale=2.0), 33)
    torch.testing.assert_close(moved[0, 0], torch.tensor([column + 0.5, row + 0.5]))


def test_images_turn_as_heat_maps_do_and_outside_is_black() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(1, 3, 33, 33, generator=generator) - 0.5
    turned = augment_images(images, turn(90), generator)
    torch.testing.assert_close(turned, images.rot90(-1, (2, 3)), atol=1e-5, rtol=0)
    small = augment_images(torch.full((1, 3, 33, 33), 0.3), turn(0, scale=0.5), generator)
    assert float(small[0, 0, 0, 0]) == -0.5
    torch.testing.assert_close(small[0, :, 16, 16], torch.full((3,), 0.3))


def test_neutral_settings_change_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 16, 16, generator=generator) - 0.5
    neutral = draw_augmentation(2, AugmentationSettings(), generator)
    torch.testing.assert_close(augment_images(images, neutral, generator), images, atol=1e-6, rtol=0)
    joints = torch.randn(2, 21, 3, generator=generator)
    torch.testing.assert_close(augment_joints(joints, neutral), joints)


def test_draws_stay_in_range_and_repeat_with_the_seed() -> None:
    settings = AugmentationSettings(rotation_deg=30, scale=0.2, brightness=0.1, contrast=0.3, noise=0.05)
    draws = [draw_augmentation(500, settings, torch.Generator().manual_seed(3)) for _ in range(2)]
    torch.testing.assert_close(draws[0].angle_rad, draws[1].angle_rad)
    assert 0.4 < float(draws[0].angle_rad.abs().max()) <= math.radians(30)
    assert 0.15 < float((draws[0].scale - 1).abs().max()) <= 0.2
    assert 0.08 < float(draws[0].offset.abs().max()) <= 0.1
    assert 0.25 < float((draws[0].gain - 1).abs().max()) <= 0.3
    assert 0 <= float(draws[0].noise.min()) < 0.005
    assert 0.045 < float(draws[0].noise.max()) <= 0.05
