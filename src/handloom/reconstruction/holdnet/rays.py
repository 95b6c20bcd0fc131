"""Rays through pixels, and where they leave the scene's sphere (facts 1.9 and 2.3)."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from handloom.runtime.errors import InputError


def rays_through_pixels(
    uv_px: Float[Tensor, "image ray 2"],
    intrinsics: Float[Tensor, "image size size"],
    world_from_cam: Float[Tensor, "image 4 4"],
) -> tuple[Float[Tensor, "image 3"], Float[Tensor, "image ray 3"]]:
    """Camera centres and unit directions, in the world, of the rays through pixels (x, y).

    d = normalise(R ((u - c_x - k (v - c_y) / f_y) / f_x, (v - c_y) / f_y, 1)) with the skew k; a pixel's centre has
    whole coordinates.
    """
    focal_x, skew, centre_x = (intrinsics[:, 0, column, None] for column in range(3))
    focal_y, centre_y = intrinsics[:, 1, 1, None], intrinsics[:, 1, 2, None]
    down = (uv_px[..., 1] - centre_y) / focal_y
    right = (uv_px[..., 0] - centre_x - skew * down) / focal_x
    in_cam = torch.stack([right, down, torch.ones_like(down)], dim=-1)
    directions = in_cam @ world_from_cam[:, :3, :3].mT
    return world_from_cam[:, :3, 3], functional.normalize(directions, dim=-1)


def sphere_exit(
    origins: Float[Tensor, "*ray 3"], directions: Float[Tensor, "*ray 3"], radius: float
) -> Float[Tensor, "*ray"]:
    """Distance from a point inside a sphere about the world's origin to the sphere, along unit directions.

    z = -o.d + sqrt((o.d)^2 - |o|^2 + r^2). Raises InputError when an origin is outside the sphere, where HOLD's scene
    is not defined.
    """
    along = (origins * directions).sum(-1)
    distance = origins.norm(dim=-1)
    under_root = along.square() - (distance.square() - radius**2)
    if bool((distance >= radius).any()):
        farthest = float(distance.detach().max())
        raise InputError(
            f"a camera is {farthest:.2f} from the scene's centre, but must be inside the sphere of radius {radius}; "
            "check the scene's scale and shift in the build folder"
        )
    return under_root.sqrt() - along
