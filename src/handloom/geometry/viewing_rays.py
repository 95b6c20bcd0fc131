"""Viewing rays of image crops, and the turn from the optical axis to them.

A crop is the image of a virtual camera that looks along the ray of the crop's centre: what shows a hand off the axis
as a hand on the axis is the inverse of this turn. Rays are unit columns, x right, y down, z forward.
"""

import roma
import torch
from jaxtyping import Float
from torch import Tensor


def viewing_rays(
    pixels_px: Float[Tensor, "*#batch 2"],
    focal_px: Float[Tensor, "*batch 2"],
    principal_point_px: Float[Tensor, "*batch 2"],
) -> Float[Tensor, "*batch 3"]:
    """Unit rays through pixels of pinhole cameras: ((u - c) / f, 1), normalised."""
    slope = (pixels_px - principal_point_px) / focal_px
    return torch.nn.functional.normalize(torch.cat([slope, torch.ones_like(slope[..., :1])], -1), dim=-1)


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
