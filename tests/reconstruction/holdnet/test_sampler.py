"""Samples along rays, beside the goldens: ordered, in range, reproducible, nothing differentiated."""

import torch
from torch import Tensor

from handloom.reconstruction.holdnet.sampler import (
    error_bounded_depths,
    uniform_depths,
)
from handloom.runtime.config.fields import SamplerSettings

SETTINGS = SamplerSettings()
FAR = torch.tensor([8.0, 7.5])


def slab(depths: Tensor) -> Tensor:
    """Distance to a sphere of radius 1 about depth 3, for a ray through its middle."""
    return (depths - 3).abs() - 1


def test_ninety_eight_samples_in_order_within_the_sphere() -> None:
    for generator in (None, torch.Generator().manual_seed(3)):
        depths = error_bounded_depths(slab, torch.tensor(0.05), FAR, SETTINGS, generator).depths
        assert depths.shape == (2, 98)
        assert (depths.diff(dim=1) >= 0).all()
        assert (depths[:, 0] == 0).all()
        assert torch.equal(depths[:, -1], FAR)


def test_random_samples_follow_their_seed() -> None:
    def drawn(seed: int) -> Tensor:
        return error_bounded_depths(slab, torch.tensor(0.05), FAR, SETTINGS, torch.Generator().manual_seed(seed)).depths

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_nothing_of_the_sampling_is_differentiated() -> None:
    scale = torch.tensor(0.05, requires_grad=True)
    assert not error_bounded_depths(lambda depths: slab(depths) * scale, scale, FAR, SETTINGS).depths.requires_grad


def test_strata_hold_one_sample_each() -> None:
    drawn = uniform_depths(torch.zeros(2), FAR, 9, torch.Generator().manual_seed(0))
    even = uniform_depths(torch.zeros(2), FAR, 9)
    middle = (even[:, 1:] + even[:, :-1]) / 2
    assert (drawn[:, 1:] >= middle).all()
    assert (drawn[:, :-1] <= middle).all()
