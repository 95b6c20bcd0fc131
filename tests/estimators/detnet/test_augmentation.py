"""Augmentation: image, key points and joints move together; colours do what their names say."""

import math

import pytest
import torch
from torch import Tensor

from handloom.estimators.detnet.augmentation import (
    LARGEST_ANGLE_RAD,
    Augmentation,
    draw,
    no_augmentation,
    sample_images,
    sample_keypoints,
    turn_joints,
)
from handloom.runtime.seeds import torch_generator

CROP_PX, FIELD_PX, INPUT_PX = 96, 64.0, 64


def geometry_only(augmentation: Augmentation) -> Augmentation:
    plain = no_augmentation(len(augmentation.scale))
    return plain._replace(shift=augmentation.shift, scale=augmentation.scale, angle_rad=augmentation.angle_rad)


def blobs(points: Tensor) -> Tensor:
    """Crops with one Gaussian blob each, (count, CROP_PX, CROP_PX, 3), at points in [0, CROP_PX]."""
    centres = torch.arange(CROP_PX) + 0.5
    across = torch.exp(-((centres - points[:, :1]) ** 2) / 18)
    down = torch.exp(-((centres - points[:, 1:]) ** 2) / 18)
    image = 255 * down[:, :, None] * across[:, None, :]
    return image.round().to(torch.uint8)[..., None].expand(-1, -1, -1, 3)


def centroids(images: Tensor) -> Tensor:
    """Centre of light of each image in coordinates of the 256-pixel crop (pixel centres at whole numbers)."""
    light = images[:, 0] + 0.5
    place = (torch.arange(INPUT_PX) + 0.5) * 256 / INPUT_PX - 0.5
    total = light.sum(dim=(1, 2))
    return torch.stack([(light.sum(1) * place).sum(1), (light.sum(2) * place).sum(1)], 1) / total[:, None]


def test_key_points_follow_the_image():
    count = 40
    generator = torch_generator(1)
    points = CROP_PX / 2 + 20 * (torch.rand(count, 2, generator=generator) - 0.5)
    augmentation = geometry_only(draw(count, generator))
    images = sample_images(blobs(points), augmentation, field_px=FIELD_PX, input_px=INPUT_PX)
    keypoints = points[:, None].expand(-1, 21, -1).contiguous()
    moved = sample_keypoints(keypoints, augmentation, crop_px=CROP_PX, field_px=FIELD_PX)[:, 0]
    torch.testing.assert_close(centroids(images), moved, atol=0.6, rtol=0)


def test_joints_turn_with_their_key_points():
    generator = torch_generator(2)
    augmentation = draw(8, generator)._replace(shift=torch.zeros(8, 2), scale=torch.ones(8))
    joints = torch.randn(8, 21, 3, generator=generator)
    # an orthographic camera whose axis meets the middle of the crop
    keypoints = CROP_PX / 2 + 10 * joints[..., :2]
    moved = sample_keypoints(keypoints, augmentation, crop_px=CROP_PX, field_px=FIELD_PX)
    expected = 127.5 + 10 * 256 / FIELD_PX * turn_joints(joints, augmentation)[..., :2]
    torch.testing.assert_close(moved, expected, atol=1e-3, rtol=0)


def test_a_quarter_turn_takes_right_to_down():
    augmentation = no_augmentation(1)._replace(angle_rad=torch.tensor([math.pi / 2]))
    joints = torch.tensor([1.0, 0.0, 5.0]).expand(1, 21, 3).contiguous()
    torch.testing.assert_close(turn_joints(joints, augmentation)[0, 0], torch.tensor([0.0, 1.0, 5.0]))


def test_without_augmentation_the_middle_is_seen_as_it_is():
    crops = torch.randint(0, 256, (3, CROP_PX, CROP_PX, 3), dtype=torch.uint8, generator=torch_generator(3))
    images = sample_images(crops, no_augmentation(3), field_px=FIELD_PX, input_px=INPUT_PX)
    middle = crops[:, 16:80, 16:80].permute(0, 3, 1, 2) / 255 - 0.5
    torch.testing.assert_close(images, middle, atol=1e-5, rtol=0)


def test_draws_stay_in_their_ranges_and_depend_on_the_generator_alone():
    drawn = draw(4000, torch_generator(4), grey_probability=0.3)
    assert drawn.shift.abs().max() <= 0.1
    assert (drawn.scale >= 0.9).all()
    assert (drawn.scale <= 1.1).all()
    assert 0.9 * LARGEST_ANGLE_RAD < drawn.angle_rad.abs().max() <= LARGEST_ANGLE_RAD
    assert (drawn.blur_px >= 0).all()
    assert drawn.blur_px.max() <= 0.5
    coloured = drawn.saturation > 0
    for factor in (drawn.brightness, drawn.contrast, drawn.saturation[coloured]):
        assert factor.min() >= 0.5
        assert factor.max() <= 1.5
    assert drawn.hue_rad.abs().max() <= 0.15 * 2 * math.pi
    assert coloured.float().mean().item() == pytest.approx(0.7, abs=0.03)
    torch.manual_seed(99)
    again = draw(4000, torch_generator(4), grey_probability=0.3)
    assert all(torch.equal(first, second) for first, second in zip(drawn, again, strict=True))


def recoloured(crops: Tensor, **changes: float) -> Tensor:
    augmentation = no_augmentation(len(crops))._replace(
        **{name: torch.full((len(crops),), value) for name, value in changes.items()}
    )
    return sample_images(crops, augmentation, field_px=FIELD_PX, input_px=INPUT_PX) + 0.5


@pytest.fixture
def colourful() -> Tensor:
    small = torch.randint(60, 130, (2, 8, 8, 3), generator=torch_generator(5))
    return small.repeat_interleave(12, 1).repeat_interleave(12, 2).to(torch.uint8)


def test_brightness_scales_colours(colourful):
    torch.testing.assert_close(recoloured(colourful, brightness=1.5), 1.5 * recoloured(colourful))


def test_contrast_keeps_the_mean_grey(colourful):
    plain, flat = recoloured(colourful), recoloured(colourful, contrast=0.5)
    luma = torch.tensor([0.299, 0.587, 0.114])
    torch.testing.assert_close(flat.mean((2, 3)) @ luma, plain.mean((2, 3)) @ luma)
    torch.testing.assert_close(flat.std((2, 3)), 0.5 * plain.std((2, 3)))


def test_hue_and_saturation_keep_every_pixels_grey(colourful):
    luma = torch.tensor([0.299, 0.587, 0.114])[None, :, None, None]
    plain = recoloured(colourful)
    for changed in (recoloured(colourful, hue_rad=0.5), recoloured(colourful, saturation=0.6)):
        torch.testing.assert_close((changed * luma).sum(1), (plain * luma).sum(1), atol=2e-4, rtol=0)
        assert (changed - plain).abs().max() > 0.02


def test_grey_images_have_equal_channels(colourful):
    grey = recoloured(colourful, hue_rad=0.5, saturation=0.0)
    torch.testing.assert_close(grey[:, 0], grey[:, 1])
    torch.testing.assert_close(grey[:, 0], grey[:, 2])


def test_blur_keeps_the_mean_and_softens_edges():
    crops = torch.zeros(1, CROP_PX, CROP_PX, 3, dtype=torch.uint8)
    crops[:, :, 48:] = 200
    sharp, soft = recoloured(crops), recoloured(crops, blur_px=0.5)
    torch.testing.assert_close(sharp.mean(), soft.mean(), atol=1e-4, rtol=0)
    assert soft[0, 0, 32, 31] > 0.05
    assert (soft[0, 0, 32, :30] == 0).all()


def test_noise_is_as_strong_as_drawn_and_grey_on_colour():
    count = 4
    crops = torch.full((count, CROP_PX, CROP_PX, 3), 128, dtype=torch.uint8)
    deviations = torch.tensor([0.0, 0.02, 0.05, 0.08])
    seed = torch.tensor([7])
    noisy = no_augmentation(count)._replace(noise=deviations, noise_seed=seed)
    images = sample_images(crops, noisy, field_px=FIELD_PX, input_px=INPUT_PX)
    torch.testing.assert_close(images[:, 0].flatten(1).std(1), deviations, rtol=0.05, atol=1e-4)
    torch.testing.assert_close(images[:, 0], images[:, 2])
    assert draw(9, torch_generator(1)).noise.max() == 0
    assert 0 < draw(99, torch_generator(1), largest_noise=0.1).noise.max() <= 0.1


def test_a_grey_crop_is_seen_as_its_copies_in_colour():
    generator = torch_generator(6)
    grey = (255 * torch.rand(5, CROP_PX, CROP_PX, 1, generator=generator)).to(torch.uint8)
    augmentation = draw(5, generator, grey_probability=0.5, largest_noise=0.05)
    one, three = (
        sample_images(crops, augmentation, field_px=FIELD_PX, input_px=INPUT_PX)
        for crops in (grey, grey.expand(-1, -1, -1, 3))
    )
    torch.testing.assert_close(one, three, rtol=0, atol=1e-4)
