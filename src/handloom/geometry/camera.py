"""The pinhole camera: pixels of points, rays through pixels, and the turn from the optical axis to a ray.

Axes are OpenCV's: x right, y down, z forward; whole pixel coordinates lie at pixel centres. K is a 3 x 3 matrix whose
last row is (0, 0, 1).
"""

import math
from typing import TypeVar

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

Points = TypeVar("Points", Tensor, np.ndarray)
"""Tensors or arrays: (..., 3) points, (..., 2) pixels."""


def project(points_cam: Points, intrinsics: Points, nearest: float | None = None) -> Points:
    """Pixels of points in the camera's frame: the first two rows of K x / z; K may have the leading axes of the points.

    Points nearer than a depth `nearest`, or behind the camera, are divided by that depth.
    """
    # Both denominators are z, as K's last row is (0, 0, 1); derivatives that pass K first round in another order.
    image = points_cam @ intrinsics.swapaxes(-1, -2)
    return image[..., :2] / (image[..., 2:] if nearest is None else points_cam[..., 2:].clip(min=nearest))


def pixel_rays(pixels_px: Float[Tensor, "*batch 2"], intrinsics: Float[Tensor, "3 3"]) -> Float[Tensor, "*batch 3"]:
    """Rays K^-1 (u, v, 1) through pixels: their z is 1, so that a place along one is its depth."""
    homogeneous = torch.cat([pixels_px, torch.ones_like(pixels_px[..., :1])], -1)
    return homogeneous @ torch.linalg.inv(intrinsics).mT


def viewing_rays(
    pixels_px: Float[Tensor, "*#batch 2"],
    focal_px: Float[Tensor, "*batch 2"],
    principal_point_px: Float[Tensor, "*batch 2"],
) -> Float[Tensor, "*batch 3"]:
    """Unit rays through pixels of cameras without skew: ((u - c) / f, 1), normalised.

    A crop is the image of a virtual camera that looks along the ray of the crop's centre: what shows a hand off the
    axis as a hand on the axis is the inverse of the turn to that ray.
    """
    slope = (pixels_px - principal_point_px) / focal_px
    return torch.nn.functional.normalize(torch.cat([slope, torch.ones_like(slope[..., :1])], -1), dim=-1)


def nominal_rays(
    points_px: Float[np.ndarray, "points 2"], image_size_px: tuple[int, int], field_of_view_deg: float
) -> Float[np.ndarray, "points 3"]:
    """Unit rays through points of a picture (width, height) whose camera looks through its centre.

    Points count from the picture's corner. Half of the horizontal field of view spreads over half of the width.
    """
    width, height = image_size_px
    offset = torch.from_numpy((points_px - np.array([width, height]) / 2) / (width / 2)).double()
    focal_half_widths = torch.full_like(offset, 1 / math.tan(math.radians(field_of_view_deg / 2)))
    return viewing_rays(offset, focal_half_widths, torch.zeros_like(offset)).numpy()


def turns_to_rays(rays: Float[Tensor, "*batch 3"], share: float = 1.0) -> Float[Tensor, "*batch 3 3"]:
    """The rotations Q about z x d by `share` times the angle between z and the unit ray d: Q z = d for share 1.

    This is the shortest such turn: it does not roll the image about the ray. Rows of poses turn by `poses @ Q.mT`.
    A ray along z gives the identity.
    """
    x, y, z = rays.unbind(-1)
    sine = torch.hypot(x, y)
    # The axis z x d is (-y, x, 0) / sine; where sine vanishes so does the angle.
    factor = share * torch.atan2(sine, z) / sine.clamp_min(torch.finfo(rays.dtype).tiny)
    turns: Tensor = roma.rotvec_to_rotmat(torch.stack([-factor * y, factor * x, torch.zeros_like(z)], -1))
    return turns
