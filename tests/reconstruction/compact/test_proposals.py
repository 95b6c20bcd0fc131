"""Samples along rays: closed forms of intervals and weights, and samples where the surface is."""

import math

import pytest
import torch

from handloom.reconstruction.compact.proposals import (
    interval_in_box,
    interval_in_sphere,
    may_hit,
    ray_weights,
    resampled,
    stratified,
)


def test_interval_in_a_box() -> None:
    """Protects entry and exit: in front, from within, at a slant, with a long direction, and past the box."""
    origins = torch.tensor([[-3.0, 0, 0], [0, 0, 0], [-2, -2, 0], [-3, 0, 0], [-3, 1.5, 0]])
    directions = torch.tensor([[1.0, 0, 0], [0, 0, 1], [1, 1, 0], [2, 0, 0], [1, 0, 0]])
    near, far = interval_in_box(origins, directions, 1.0)
    torch.testing.assert_close(near[:4], torch.tensor([2.0, -1, 1, 1]))
    torch.testing.assert_close(far[:4], torch.tensor([4.0, 1, 3, 2]))
    assert far[4] < near[4]


def test_interval_in_a_sphere() -> None:
    """Protects the hand's interval: central, off the centre, in units of a long direction, and a miss."""
    centres = torch.tensor([[0.0, 0, 5], [0.6, 0, 5], [0, 0, 5], [1.1, 0, 5]])
    directions = torch.tensor([[0.0, 0, 1], [0, 0, 1], [0, 0, 2], [0, 0, 1]])
    near, far = interval_in_sphere(centres, directions, torch.ones(4))
    torch.testing.assert_close(near[:3], torch.tensor([4.0, 4.2, 2.0]))
    torch.testing.assert_close(far[:3], torch.tensor([6.0, 5.8, 3.0]))
    assert far[3] < near[3]


def test_stratified_depths_lie_one_in_each_part() -> None:
    """Protects the even cover of the interval; without a generator the middles, for pictures that can be repeated."""
    near, far = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 6.0])
    torch.testing.assert_close(
        stratified(near, far, 4, None), torch.tensor([[1.125, 1.375, 1.625, 1.875], [2.5, 3.5, 4.5, 5.5]])
    )
    random = stratified(near, far, 4, torch.Generator().manual_seed(0))
    part = ((random - near[:, None]) / (far - near)[:, None] * 4).floor()
    torch.testing.assert_close(part, torch.arange(4.0).expand(2, 4))


def test_weights_of_constant_density() -> None:
    """Protects Beer-Lambert: w_i = exp(-sigma i delta) (1 - exp(-sigma delta)), in all 1 - exp(-sigma L)."""
    density, step = 3.0, 0.1
    weights = ray_weights(torch.full((1, 8), density), torch.full((1, 8), step))
    wanted = torch.tensor([[math.exp(-density * step * i) * (1 - math.exp(-density * step)) for i in range(8)]])
    torch.testing.assert_close(weights, wanted)
    torch.testing.assert_close(weights.sum(), torch.tensor(1 - math.exp(-density * step * 8)))


@pytest.mark.parametrize("seed", [None, 0])
def test_resampled_depths_concentrate_at_the_first_surface(seed: int | None) -> None:
    """Protects the use of samples: sorted, in the interval, nearly all at the surface, few elsewhere, none behind."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    depths = torch.linspace(0.5, 1.5, 101).expand(3, 101)
    distance_m = 1.0 - depths  # a half space that begins at depth 1
    found = resampled(depths, distance_m, torch.tensor(0.01), torch.ones(3), 60, generator)
    assert found.shape == (3, 60)
    assert (found.diff(dim=1) >= 0).all()
    assert ((found >= 0.5) & (found <= 1.5)).all()
    assert ((found - 1.0).abs() < 0.06).float().mean() > 0.9
    assert (found < 0.9).any(1).all()


def test_resampled_knows_that_a_long_direction_crosses_more_metres() -> None:
    """Protects the use of metres: the same depths along a ray ten times as long are ten times as opaque."""
    depths = torch.linspace(0.0, 1.0, 201).expand(2, 201)
    fog = torch.full_like(depths, -100.0)  # so deep inside that the density is 1 / beta
    found = resampled(depths, fog, torch.tensor(1.0), torch.tensor([1.0, 10.0]), 1000, None)
    # mean depth of exp(-k x) on [0, 1] is 1/k - exp(-k) / (1 - exp(-k)), plus the even share of the mass
    for row, rate in zip(found, (1.0, 10.0), strict=True):
        opaque = 1 - math.exp(-rate)
        middle = 1 / rate - math.exp(-rate) / opaque
        wanted = (opaque * middle + 0.05 * 0.5) / (opaque + 0.05)
        assert float(row.mean()) == pytest.approx(wanted, abs=3e-3)


def test_only_rays_that_come_near_may_hit() -> None:
    """Protects the skipping of empty space: a ray that misses the box, or stays far, is not sampled."""
    distance_m = torch.tensor([[0.2, 0.01], [0.2, 0.03], [0.2, -0.1]])
    near, far = torch.tensor([1.0, 1.0, 2.0]), torch.tensor([2.0, 2.0, 1.0])
    assert may_hit(distance_m, 0.02, near, far).tolist() == [True, False, False]
