"""Samples along rays: ordered, in range, reproducible, and dense where an analytic surface is."""

import math

import pytest
import torch
from torch import Tensor

from handloom.reconstruction.holdnet.compositing import weights_of
from handloom.reconstruction.holdnet.density import laplace_density
from handloom.reconstruction.holdnet.rays import rays_through_pixels, sphere_exit
from handloom.reconstruction.holdnet.sampler import depths_from_mass, error_bounded_depths, uniform_depths
from handloom.runtime.config.holdnet import SamplerSettings
from handloom.runtime.errors import InputError

SETTINGS = SamplerSettings()
FAR = torch.tensor([8.0, 7.5])


def slab(depths: Tensor) -> Tensor:
    """Distance to a sphere of radius 1 about depth 3, for a ray through its middle."""
    return (depths - 3).abs() - 1


def test_ninety_eight_samples_in_order_within_the_sphere() -> None:
    assert SETTINGS.samples == 98
    for generator in (None, torch.Generator().manual_seed(3)):
        depths = error_bounded_depths(slab, torch.tensor(0.05), FAR, SETTINGS, generator).depths
        assert depths.shape == (2, 98)
        assert (depths.diff(dim=1) >= 0).all()
        assert (depths[:, 0] == 0).all()
        assert torch.equal(depths[:, -1], FAR)


def test_samples_are_where_the_surface_is() -> None:
    depths = error_bounded_depths(slab, torch.tensor(0.01), FAR, SETTINGS).depths
    near_surface = (depths - 2).abs() < 0.1
    assert near_surface.float().mean() > 0.5
    assert uniform_depths(torch.zeros(2), FAR, 98).sub(2).abs().lt(0.1).float().mean() < 0.05


def test_opacity_has_the_promised_accuracy() -> None:
    """The quadrature of the opacity before the surface's back agrees with a much finer one within the bound."""
    beta = torch.tensor(0.05)
    depths = error_bounded_depths(slab, beta, FAR, SETTINGS).depths
    fine = uniform_depths(torch.zeros(2), FAR, 20001)

    def opacity_before(samples: Tensor, end: float) -> Tensor:
        inside = samples.clamp(max=end)
        return weights_of(laplace_density(slab(samples), beta)[:, :-1], inside.diff(dim=1))[0].sum(1)

    for end in (1.9, 2.0, 2.1, 2.5):
        assert (opacity_before(depths, end) - opacity_before(fine, end)).abs().max() < SETTINGS.largest_error


def test_random_samples_follow_their_seed() -> None:
    def drawn(seed: int) -> Tensor:
        return error_bounded_depths(slab, torch.tensor(0.05), FAR, SETTINGS, torch.Generator().manual_seed(seed)).depths

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_an_easy_field_needs_one_query() -> None:
    """Far from any surface, with a wide density, the first samples suffice."""
    sampling = error_bounded_depths(lambda depths: depths + 5, torch.tensor(0.5), FAR, SETTINGS)
    assert sampling.rounds == 1


def test_nothing_of_the_sampling_is_differentiated() -> None:
    scale = torch.tensor(0.05, requires_grad=True)
    assert not error_bounded_depths(lambda depths: slab(depths) * scale, scale, FAR, SETTINGS).depths.requires_grad


def test_levels_are_reached_linearly_within_intervals() -> None:
    edges = torch.tensor([[0.0, 1.0, 3.0]])
    found = depths_from_mass(edges, torch.tensor([[3.0, 1.0]]), torch.tensor([[0.0, 0.375, 0.75, 0.875]]))
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.5, 1.0, 2.0]]))


def test_strata_hold_one_sample_each() -> None:
    drawn = uniform_depths(torch.zeros(2), FAR, 9, torch.Generator().manual_seed(0))
    even = uniform_depths(torch.zeros(2), FAR, 9)
    middle = (even[:, 1:] + even[:, :-1]) / 2
    assert (drawn[:, 1:] >= middle).all()
    assert (drawn[:, :-1] <= middle).all()


def test_exit_of_a_sphere_and_cameras_outside_it() -> None:
    origin, direction = torch.tensor([[0.0, 0.0, 2.0]]), torch.tensor([[0.0, 0.6, -0.8]])
    distance = sphere_exit(origin, direction, 6.0)
    assert math.isclose(float((origin + distance[:, None] * direction).norm()), 6.0, rel_tol=1e-6)
    with pytest.raises(InputError, match=r"7\.00 from the scene's centre"):
        sphere_exit(torch.tensor([[0.0, 0.0, 7.0]]), direction, 6.0)


def test_rays_meet_the_pixels_they_come_from() -> None:
    intrinsics = torch.tensor([[[80.0, 3.0, 31.5], [0.0, 75.0, 23.5], [0.0, 0.0, 1.0]]])
    pixels = torch.tensor([[[10.0, 40.0], [31.5, 23.5]]])
    pose = torch.eye(4)[None]
    origins, directions = rays_through_pixels(pixels, intrinsics, pose)
    projected = (directions * 2) @ intrinsics[0].T
    torch.testing.assert_close(projected[..., :2] / projected[..., 2:], pixels)
    assert (origins == 0).all()
