"""Where along a ray to evaluate the fields: a coarse, gradient-free look first, then samples where the weight is.

The reference reaches the same aim by up to five rounds of bounding the opacity's error (facts/hold.md 2.3); a look-up
in a voxel grid is cheap enough to see the whole ray at once. Random numbers come from the CPU, the same everywhere.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from handloom.reconstruction.compact.fields import laplace_density

_UNIFORM_SHARE = 0.05


def interval_in_box(
    origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"], half_side: float
) -> tuple[Float[Tensor, " rays"], Float[Tensor, " rays"]]:
    """Entry and exit of rays into the cube [-half_side, half_side]^3, exit < entry where they miss it."""
    inverse = 1.0 / torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
    low, high = (-half_side - origins) * inverse, (half_side - origins) * inverse
    return torch.minimum(low, high).amax(-1), torch.maximum(low, high).amin(-1)


def interval_in_sphere(
    centres: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"], radii: Float[Tensor, " rays"]
) -> tuple[Float[Tensor, " rays"], Float[Tensor, " rays"]]:
    """Entry and exit, in units of the direction's length, of rays from the origin; exit < entry where they miss."""
    square = (directions**2).sum(-1)
    middle = (centres * directions).sum(-1) / square
    half_square = middle**2 - ((centres**2).sum(-1) - radii**2) / square
    half = half_square.clamp_min(0).sqrt()
    return middle - half, torch.where(half_square > 0, middle + half, middle - half - 1.0)


def stratified(
    near: Float[Tensor, " rays"], far: Float[Tensor, " rays"], count: int, generator: torch.Generator | None
) -> Float[Tensor, "rays {count}"]:
    """One depth in each of `count` equal parts of the interval: random, or the middle without a generator."""
    place = 0.5 if generator is None else torch.rand(len(near), count, generator=generator).to(near.device)
    share = (torch.arange(count, device=near.device) + place) / count
    return near[:, None] + (far - near)[:, None] * share


def ray_weights(
    density: Float[Tensor, "rays samples"], steps_m: Float[Tensor, "rays samples"]
) -> Float[Tensor, "rays samples"]:
    """w_i = T_i (1 - exp(-sigma_i delta_i)), T_i = exp(-sum_{j<i} sigma_j delta_j)."""
    optical = density * steps_m
    before = torch.cumsum(optical, -1) - optical
    return torch.exp(-before) * -torch.expm1(-optical)


def resampled(
    depths: Float[Tensor, "rays coarse"],
    distance_m: Float[Tensor, "rays coarse"],
    beta_m: Tensor,
    metres_per_depth: Float[Tensor, " rays"],
    count: int,
    generator: torch.Generator | None,
) -> Float[Tensor, "rays {count}"]:
    """Sorted depths drawn from the coarse samples' rendering weights, a twentieth of the mass spread evenly.

    Inverse transform of the piecewise constant weights; evenly spaced quantiles without a generator.
    """
    edges = torch.cat([depths[:, :1], 0.5 * (depths[:, 1:] + depths[:, :-1]), depths[:, -1:]], -1)
    steps = (edges[:, 1:] - edges[:, :-1]).clamp_min(1e-9)
    weights = ray_weights(laplace_density(distance_m, beta_m), steps * metres_per_depth[:, None])
    mass = weights + _UNIFORM_SHARE / depths.shape[1]
    cumulative = torch.cumsum(mass, -1)
    cumulative = torch.cat([torch.zeros_like(cumulative[:, :1]), cumulative / cumulative[:, -1:]], -1)
    place = torch.full((len(depths), count), 0.5, device=depths.device)
    if generator is not None:
        place = torch.rand(len(depths), count, generator=generator).to(depths.device)
    quantile = (torch.arange(count, device=depths.device) + place) / count
    part = (torch.searchsorted(cumulative.contiguous(), quantile.contiguous(), right=True) - 1).clamp(
        0, depths.shape[1] - 1
    )
    low, high = cumulative.gather(1, part), cumulative.gather(1, part + 1)
    share = (quantile - low) / (high - low).clamp_min(1e-9)
    start, end = edges.gather(1, part), edges.gather(1, part + 1)
    return start + share * (end - start)


def may_hit(
    distance_m: Float[Tensor, "rays coarse"], reach_m: float, near: Float[Tensor, " rays"], far: Float[Tensor, " rays"]
) -> Bool[Tensor, " rays"]:
    """Rays that come within `reach_m` of the surface: all others are empty space and skipped."""
    return (far > near) & (distance_m.amin(-1) < reach_m)
