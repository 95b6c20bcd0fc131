"""What a training image may look like, drawn and applied for a whole batch at once.

Ranges are those of `datasets/handataset.py` of MengHao666/Minimal-Hand-pytorch.

A draw is a function of the generator alone. Shift, scale and a turn about the optical axis move the square that the
network sees; the turn also turns the joints. Blur and colours change the image only. Unlike the published code, hue
turns the chroma plane of YIQ instead of the hue angle of HSV, and colours are clipped once at the end: without clipping
the colour changes commute, so their order need not be drawn.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.nn import functional

from handloom.datasets.box_crops import CROP_PX

SHIFT = 0.1
"""Largest shift of the centre, in sides of the square."""
SCALE_DEVIATION = 0.1
LARGEST_ANGLE_RAD = math.pi / 2
BRIGHTNESS = CONTRAST = SATURATION = 0.5
HUE = 0.15
"""Largest turn of the hue, in full circles."""
LUMA = (0.299, 0.587, 0.114)
YIQ_FROM_RGB = (LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


class Augmentation(NamedTuple):
    """One draw per image."""

    shift: Float[Tensor, "batch 2"]
    """Of the square's centre, in its sides."""
    scale: Float[Tensor, " batch"]
    """Of the square's side."""
    angle_rad: Float[Tensor, " batch"]
    """Turn of the image and the joints, from x (right) to y (down)."""
    blur_px: Float[Tensor, " batch"]
    brightness: Float[Tensor, " batch"]
    contrast: Float[Tensor, " batch"]
    saturation: Float[Tensor, " batch"]
    """0 where the image turns grey."""
    hue_rad: Float[Tensor, " batch"]
    noise: Float[Tensor, " batch"]
    """Standard deviation of a sensor's noise; white minus black is 1."""
    noise_seed: Int64[Tensor, "1"]


def draw(
    count: int,
    generator: torch.Generator,
    grey_probability: float = 0.0,
    *,
    largest_angle_rad: float = LARGEST_ANGLE_RAD,
    largest_blur_px: float = 0.5,
    largest_noise: float = 0.0,
) -> Augmentation:
    """Draw for `count` images; the same generator state gives the same draws on every device.

    Half of the images' noise is below a quarter of the largest.
    """
    uniform = torch.rand(count, 9, generator=generator)
    normal = torch.randn(count, generator=generator)
    shift, (angle, blur, brightness, contrast, saturation, hue, grey) = uniform[:, :2], uniform[:, 2:].unbind(1)
    return Augmentation(
        shift=SHIFT * (2 * shift - 1),
        scale=(1 + SCALE_DEVIATION * normal).clamp(1 - SCALE_DEVIATION, 1 + SCALE_DEVIATION),
        angle_rad=largest_angle_rad * (2 * angle - 1),
        blur_px=largest_blur_px * blur,
        brightness=1 + BRIGHTNESS * (2 * brightness - 1),
        contrast=1 + CONTRAST * (2 * contrast - 1),
        saturation=(1 + SATURATION * (2 * saturation - 1)) * (grey >= grey_probability),
        hue_rad=2 * math.pi * HUE * (2 * hue - 1),
        noise=largest_noise * torch.rand(count, generator=generator).square(),
        noise_seed=torch.randint(2**62, (1,), generator=generator),
    )


def no_augmentation(count: int) -> Augmentation:
    """The draw that changes nothing: the middle of the stored crop as it is."""
    zero, one = torch.zeros(count), torch.ones(count)
    return Augmentation(
        torch.zeros(count, 2), one, zero, zero, one, one, one, zero, zero, torch.zeros(1, dtype=torch.int64)
    )


def sample_images(
    crops_u8: UInt8[Tensor, "batch crop_px crop_px channels"],
    augmentation: Augmentation,
    *,
    field_px: float,
    input_px: int,
) -> Float[Tensor, "batch 3 {input_px} {input_px}"]:
    """What the network sees: squares of about `field_px` around the middle of grey or RGB crops, in [-0.5, 0.5]."""
    crop_px, channels = crops_u8.shape[1], crops_u8.shape[3]
    crops = crops_u8.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    zoom = augmentation.scale * (field_px / crop_px)
    cos, sin = augmentation.angle_rad.cos() * zoom, augmentation.angle_rad.sin() * zoom
    shift_x, shift_y = (2 * field_px / crop_px * augmentation.shift).unbind(1)
    # From the network's pixels back to the crop's: the inverse turn.
    rows = [torch.stack([cos, sin, shift_x], 1), torch.stack([-sin, cos, shift_y], 1)]
    grid = functional.affine_grid(
        torch.stack(rows, 1).to(crops), [len(crops), channels, input_px, input_px], align_corners=False
    )
    images = functional.grid_sample(crops, grid, mode="bilinear", padding_mode="zeros", align_corners=False) / 255
    images = _recoloured(_blurred(images, augmentation.blur_px), augmentation)
    if augmentation.noise.any():
        generator = torch.Generator().manual_seed(int(augmentation.noise_seed))
        noise = torch.randn((len(images), 1, input_px, input_px), generator=generator).to(images)
        images = (images + augmentation.noise.to(images)[:, None, None, None] * noise).clamp(0, 1)
    return images.expand(-1, 3, -1, -1) - 0.5


def sample_keypoints(
    keypoints_px: Float[Tensor, "batch 21 2"], augmentation: Augmentation, *, crop_px: int, field_px: float
) -> Float[Tensor, "batch 21 2"]:
    """Key points of the stored crops, in the 256-pixel crop coordinates that targets are made from."""
    centre = crop_px / 2 + field_px * augmentation.shift[:, None].to(keypoints_px)
    x, y = ((keypoints_px - centre) / (field_px * augmentation.scale.to(keypoints_px))[:, None, None]).unbind(-1)
    cos, sin = (
        value.to(keypoints_px)[:, None] for value in (augmentation.angle_rad.cos(), augmentation.angle_rad.sin())
    )
    turned = torch.stack([cos * x - sin * y, sin * x + cos * y], -1)
    return (turned + 0.5) * CROP_PX - 0.5  # there, pixel centres are at whole numbers


def turn_joints(joints: Float[Tensor, "batch 21 3"], augmentation: Augmentation) -> Float[Tensor, "batch 21 3"]:
    """Joints turned about the optical axis with their image."""
    angle = augmentation.angle_rad.to(joints)[:, None]
    x, y, z = joints.unbind(-1)
    return torch.stack([angle.cos() * x - angle.sin() * y, angle.sin() * x + angle.cos() * y, z], -1)


def _blurred(
    images: Float[Tensor, "batch channels px px"], deviation_px: Float[Tensor, " batch"]
) -> Float[Tensor, "batch channels px px"]:
    """Gaussian blur with three taps a direction, enough for deviations up to half a pixel."""
    ratio = torch.exp(-0.5 / deviation_px.clamp(min=1e-3).square())
    side = (ratio / (1 + 2 * ratio)).to(images)[:, None, None, None]
    for dim in (2, 3):
        padded = functional.pad(images, (1, 1, 0, 0) if dim == 3 else (0, 0, 1, 1), mode="replicate")
        neighbours = padded.narrow(dim, 0, images.shape[dim]) + padded.narrow(dim, 2, images.shape[dim])
        images = images + side * (neighbours - 2 * images)
    return images


def _recoloured(
    images: Float[Tensor, "batch channels px px"], augmentation: Augmentation
) -> Float[Tensor, "batch channels px px"]:
    """Hue, saturation, contrast and brightness as one affine map of RGB, clipped to [0, 1].

    Contrast is about the image's mean grey, which hue and saturation keep: a grey image has no more than that.
    """
    brightness, contrast, saturation, hue_rad = (
        value.to(images)
        for value in (augmentation.brightness, augmentation.contrast, augmentation.saturation, augmentation.hue_rad)
    )
    gain, means = brightness * contrast, images.mean(dim=(2, 3))
    mean_grey = means[:, 0] if means.shape[1] == 1 else means @ images.new_tensor(LUMA)
    offset = (brightness * (1 - contrast) * mean_grey)[:, None, None]
    if images.shape[1] == 1:
        return (gain[:, None, None, None] * images + offset[..., None]).clamp(0, 1)
    matrix = gain[:, None, None] * _chroma_map(saturation, hue_rad)
    return torch.baddbmm(offset, matrix, images.flatten(2)).clamp(0, 1).view_as(images)


def _chroma_map(saturation: Float[Tensor, " batch"], hue_rad: Float[Tensor, " batch"]) -> Float[Tensor, "batch 3 3"]:
    """Scaling and turn of the chroma plane of YIQ, in RGB; every colour's grey stays."""
    yiq_from_rgb = saturation.new_tensor(YIQ_FROM_RGB)
    zero, one = torch.zeros_like(saturation), torch.ones_like(saturation)
    cos, sin = saturation * hue_rad.cos(), saturation * hue_rad.sin()
    turn = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], 1).view(-1, 3, 3)
    return torch.linalg.inv(yiq_from_rgb) @ turn @ yiq_from_rgb
