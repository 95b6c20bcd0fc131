"""What the student may see differently from its teacher: light, noise, a small turn and zoom of the crop.

The released code has none. Image, heat maps and joints are changed together, so the label stays right; a turn of the
crop by an angle about its centre turns the pose by the same angle about the optical axis (x right, y down).
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from handloom.runtime.config.adaptation import AugmentationSettings

Images = Float[Tensor, "batch channels rows cols"]
"""Or heat maps, whose channels are joints."""


class StudentAugmentation(NamedTuple):
    """One draw per image."""

    angle_rad: Float[Tensor, " batch"]
    scale: Float[Tensor, " batch"]
    gain: Float[Tensor, " batch"]
    offset: Float[Tensor, " batch"]
    noise: Float[Tensor, " batch"]
    """Standard deviation of the grey noise."""


def draw_augmentation(count: int, settings: AugmentationSettings, generator: torch.Generator) -> StudentAugmentation:
    """Uniform draws within the settings' ranges, one per image; noise from none to the settings', so that the student
    does not forget images as they are."""
    angle, scale, gain, offset = (2 * torch.rand(4, count, generator=generator) - 1).unbind()
    return StudentAugmentation(
        math.radians(settings.rotation_deg) * angle,
        1 + settings.scale * scale,
        1 + settings.contrast * gain,
        settings.brightness * offset,
        settings.noise * torch.rand(count, generator=generator),
    )


def augment_images(images: Images, augmentation: StudentAugmentation, generator: torch.Generator) -> Images:
    """Turned and zoomed images (black outside the crop) with gain, offset and grey noise, in [-0.5, 0.5]."""
    warped = augment_maps(images + 0.5, augmentation) - 0.5
    noise = torch.randn(len(images), 1, *images.shape[2:], generator=generator).to(images)
    gain, offset, deviation = (value.to(images)[:, None, None, None] for value in augmentation[2:])
    return (gain * warped + offset + deviation * noise).clamp(-0.5, 0.5)


def augment_maps(maps: Images, augmentation: StudentAugmentation) -> Images:
    """Heat maps, or channels, of the turned and zoomed images; 0 beyond their edges."""
    # grid_sample asks for the map from output to input: the inverse of "turn by angle, then zoom by scale".
    angle, scale = augmentation.angle_rad.to(maps), augmentation.scale.to(maps)
    cos, sin, zero = angle.cos() / scale, angle.sin() / scale, torch.zeros_like(angle)
    matrix = torch.stack([torch.stack([cos, sin, zero], -1), torch.stack([-sin, cos, zero], -1)], -2)
    grid = functional.affine_grid(matrix, list(maps.shape), align_corners=False)
    return functional.grid_sample(maps, grid, align_corners=False)


def augment_joints(
    joints: Float[Tensor, "batch 21 3"], augmentation: StudentAugmentation
) -> Float[Tensor, "batch 21 3"]:
    """Joints, in the frame that the network sees, of the turned images; zoom does not change a pose in bone lengths."""
    angle = augmentation.angle_rad.to(joints)[:, None]
    x, y, z = joints.unbind(-1)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos * x - sin * y, sin * x + cos * y, z], -1)


def augment_keypoints(
    keypoints_px: Float[Tensor, "batch 21 2"], augmentation: StudentAugmentation, side_px: int
) -> Float[Tensor, "batch 21 2"]:
    """Key points of the turned and zoomed images, from the crop's corner: s Rz(angle) about the centre."""
    middle = side_px / 2
    angle, scale = (value.to(keypoints_px)[:, None] for value in (augmentation.angle_rad, augmentation.scale))
    x, y = (keypoints_px - middle).unbind(-1)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    return torch.stack([cos * x - sin * y, sin * x + cos * y], -1) + middle
