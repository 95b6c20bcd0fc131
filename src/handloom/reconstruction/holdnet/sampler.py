"""VolSDF's way along a ray: density from signed distance, weights from density, and where the field is queried.

Yariv et al., Volume Rendering of Neural Implicit Surfaces, NeurIPS 2021; HOLD's code/src/engine/{density,
ray_sampler,volsdf_utils}.py.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from handloom.reconstruction.field_evaluation import laplace_density
from handloom.runtime.config.fields import SamplerSettings

INITIAL_BETA, SMALLEST_BETA = 0.1, 1e-4
"""First value of the learnable scale, and what is added to it: `density` in HOLD's code/confs/general.yaml."""
LARGEST_ERROR = 0.1
"""Bound on the opacity's error that ends the rounds: `eps` in general.yaml."""
_BISECTIONS = 10  # of the interval of beta in a round: `beta_iters` in general.yaml
_ROUND_MASS, _FINAL_MASS = 1e-6, 1e-5  # added to a round's density and to the last one's: `add_tiny`, ray_sampler.py
_FARTHEST = 1e10  # length of an interval without end
_LARGEST_EXPONENTIAL = 1e6  # where the reference cuts exponentials off
_LEAST_MASS = 1e-5  # the reference's, below which a step of the distribution counts as 1


class LaplaceDensity(nn.Module):
    """Laplace density with a learnable scale, beta = |beta_p| + 1e-4."""

    def __init__(self) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(INITIAL_BETA))

    def scale(self) -> Float[Tensor, ""]:
        """The scale that densities use; always positive."""
        return self.beta.abs() + SMALLEST_BETA

    def forward(self, distance: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Density at the present scale."""
        return laplace_density(distance, self.scale())


def transmitted_before(free_energy: Float[Tensor, "ray sample"]) -> Float[Tensor, "ray sample"]:
    """Light that reaches each sample: T_i = exp(-sum of density times length over the samples before it)."""
    return (-functional.pad(free_energy, (1, 0))[:, :-1].cumsum(1)).exp()


def weights_of(
    density: Float[Tensor, "ray sample"], lengths: Float[Tensor, "ray sample"]
) -> tuple[Float[Tensor, "ray sample"], Float[Tensor, " ray"]]:
    """w_i = T_i (1 - exp(-sigma_i delta_i)), and the light that is left after the last sample."""
    free_energy = density * lengths
    before = transmitted_before(free_energy)
    return before * (1 - (-free_energy).exp()), (-free_energy.sum(1)).exp()


class RaySampling(NamedTuple):
    """Depths along rays, ascending."""

    depths: Float[Tensor, "ray sample"]
    rounds: int
    """How often the field was queried."""


def uniform_depths(
    near: Float[Tensor, " ray"], far: Float[Tensor, " ray"], count: int, generator: torch.Generator | None = None
) -> Float[Tensor, "ray {count}"]:
    """Depths from near to far, evenly spaced; with a generator each is drawn anew within its own stratum."""
    steps = torch.linspace(0, 1, count, dtype=near.dtype, device=near.device)
    even = near[:, None] * (1 - steps) + far[:, None] * steps
    if generator is None:
        return even
    middle = (even[:, 1:] + even[:, :-1]) / 2
    lower = torch.cat([even[:, :1], middle], dim=1)
    upper = torch.cat([middle, even[:, -1:]], dim=1)
    return lower + (upper - lower) * _uniform(even.shape, near, generator)


@torch.no_grad()
def error_bounded_depths(
    distance_along_rays: Callable[[Float[Tensor, "ray sample"]], Float[Tensor, "ray sample"]],
    beta: Float[Tensor, ""],
    far: Float[Tensor, " ray"],
    settings: SamplerSettings,
    generator: torch.Generator | None = None,
) -> RaySampling:
    """Samples whose quadrature of the opacity errs by little (VolSDF, Algorithm 1), in [0, far].

    Rounds refine until, with the density's own beta, the bound on the opacity's error is below 0.1 on all
    rays of the call, or `rounds` are done. Then `final_samples` depths follow the rendering weights; near, far and
    `extra_samples` of the columns collected before join them. With a generator (training) the last draw and the
    columns are random, without (evaluation) evenly spaced. Lengths in the unit of `far`.
    """
    near = torch.zeros_like(far)
    depths = uniform_depths(near, far, settings.first_samples, generator)
    distance = depths.new_empty(len(depths), 0)
    order: Tensor | None = None
    new = depths
    steps = depths.diff(dim=1)
    # Logarithm and factor in the depths' precision, as the reference has them
    growth = torch.log(far.new_tensor(LARGEST_ERROR + 1))
    scale = (1 / (4 * growth) * steps.square().sum(1)).sqrt()
    rounds = 0
    while True:
        distance = torch.cat([distance, distance_along_rays(new)], dim=1)
        if order is not None:
            distance = distance.gather(1, order)
        rounds += 1
        steps = depths.diff(dim=1)
        clearance = _clearance(distance, steps)
        scale = _smallest_scale(scale, beta, distance, steps, clearance)
        density = laplace_density(distance, scale[:, None])
        transmitted = transmitted_before(with_last(steps) * density)
        open_rays = bool((scale.max() > beta).item())
        if not open_rays or rounds == settings.rounds:
            break
        error = _interval_errors(scale, steps, clearance)
        mass = (_exp_rounded(error.cumsum(1)).clamp(max=_LARGEST_EXPONENTIAL) - 1) * transmitted[:, :-1]
        new = depths_from_mass(depths, mass + _ROUND_MASS, _even_levels(far, settings.round_samples))
        depths, order = torch.cat([depths, new], dim=1).sort(dim=1)

    weights = transmitted * (1 - _exp_rounded(-with_last(steps) * density))
    levels = _even_levels(far, settings.final_samples)
    if generator is not None:
        levels = _uniform((len(far), settings.final_samples), far, generator)
    final = depths_from_mass(depths, weights[:, :-1] + _FINAL_MASS, levels)
    columns = _columns(depths.shape[1], settings.extra_samples, generator).to(far.device)
    together = torch.cat([final, near[:, None], far[:, None], depths[:, columns]], dim=1)
    return RaySampling(together.sort(dim=1).values, rounds)


def depths_from_mass(
    depths: Float[Tensor, "ray edge"], mass: Float[Tensor, "ray interval"], levels: Float[Tensor, "ray level"]
) -> Float[Tensor, "ray level"]:
    """Where the cumulative distribution of `mass`, piecewise linear over the intervals, reaches the levels in [0, 1].

    Steps of the distribution below 1e-5 count as 1, as in the reference.
    """
    cumulative = functional.pad((mass / mass.sum(1, keepdim=True)).cumsum(1), (1, 0))
    above = torch.searchsorted(cumulative, levels.contiguous(), right=True)
    below = (above - 1).clamp(min=0)
    above = above.clamp(max=cumulative.shape[1] - 1)
    level_below, level_above = cumulative.gather(1, below), cumulative.gather(1, above)
    depth_below, depth_above = depths.gather(1, below), depths.gather(1, above)
    rise = level_above - level_below
    rise = torch.where(rise < _LEAST_MASS, torch.ones_like(rise), rise)
    return depth_below + (levels - level_below) / rise * (depth_above - depth_below)


def _clearance(distance: Tensor, steps: Tensor) -> Tensor:
    """Theorem 1's d*: how near an interval comes to the surface at least, from the distances at its ends.

    Two balls without surface around the ends: the interval's point nearest to where they may touch it. Zero when the
    signs differ.
    """
    start, end = distance[:, :-1].abs(), distance[:, 1:].abs()
    start_rules = steps.square() + start.square() <= end.square()
    end_rules = steps.square() + end.square() <= start.square()
    half = (steps + start + end) / 2
    # Heron's area of the triangle, and its height over the interval
    area = (half * (half - steps) * (half - start) * (half - end)).clamp(min=0).sqrt()
    height = torch.where(start + end > steps, 2 * area / steps, torch.zeros_like(area))
    clearance = torch.where(end_rules, end, torch.where(start_rules, start, height))
    same_side = distance[:, :-1].sign() * distance[:, 1:].sign() == 1
    return torch.where(same_side, clearance, torch.zeros_like(clearance))


def _interval_errors(scale: Tensor, steps: Tensor, clearance: Tensor) -> Tensor:
    """E_i of VolSDF's Eq. 12: exp(-d*_i / beta) delta_i^2 / (4 beta^2)."""
    return (-clearance / scale[:, None]).exp() * steps.square() / (4 * scale[:, None].square())


def _error_bound(scale: Tensor, distance: Tensor, steps: Tensor, clearance: Tensor) -> Tensor:
    """The bound of VolSDF's Eq. 14 on the opacity's error, per ray."""
    density = laplace_density(distance[:, :-1], scale[:, None])
    free = transmitted_before(steps * density)
    error = _interval_errors(scale, steps, clearance).cumsum(1)
    return ((error.exp().clamp(max=_LARGEST_EXPONENTIAL) - 1) * free).amax(1)


def _smallest_scale(scale: Tensor, beta: Tensor, distance: Tensor, steps: Tensor, clearance: Tensor) -> Tensor:
    """Per ray the smallest scale between beta and the present one that keeps the bound, by bisection."""
    lower = beta.expand_as(scale)
    good = _error_bound(lower, distance, steps, clearance) <= LARGEST_ERROR
    upper = torch.where(good, lower, scale)
    for _ in range(_BISECTIONS):
        middle = (lower + upper) / 2
        good = _error_bound(middle, distance, steps, clearance) <= LARGEST_ERROR
        upper, lower = torch.where(good, middle, upper), torch.where(good, lower, middle)
    return upper


def _exp_rounded(exponent: Tensor) -> Tensor:
    """exp, rounded correctly whatever the processor.

    Opacities below 6e-8 vanish in float32, next to masses of 1e-5 that are added: which ones vanish decides where the
    samples of empty rays lie, and processors' own exponentials differ in one of twenty.
    """
    return exponent.double().exp().to(exponent.dtype)


def with_last(steps: Float[Tensor, "ray interval"]) -> Float[Tensor, "ray sample"]:
    """The last sample's interval has no end."""
    return functional.pad(steps, (0, 1), value=_FARTHEST)


def _even_levels(like: Tensor, count: int) -> Tensor:
    return torch.linspace(0, 1, count, dtype=like.dtype, device=like.device).expand(len(like), -1)


def _columns(count: int, wanted: int, generator: torch.Generator | None) -> Tensor:
    """Which accumulated samples stay: evenly spread, or drawn without repetition, the same for all rays."""
    if generator is None:
        return torch.linspace(0, count - 1, wanted).long()
    return torch.randperm(count, generator=generator, device=generator.device)[:wanted]


def _uniform(shape: tuple[int, ...] | torch.Size, like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=like.dtype, device=generator.device).to(like.device)
