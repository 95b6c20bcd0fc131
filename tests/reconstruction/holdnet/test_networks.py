"""A shape network, beside the goldens: second derivatives, conditions, the seed, sizes that do not fit."""

import pytest
import torch

from handloom.reconstruction.holdnet.networks import (
    FourierEncoding,
    ImplicitNetwork,
)
from handloom.runtime.config.fields import SdfNetSettings

SMALL = SdfNetSettings(width=40, hidden_layers=3, skip_layer=2, features=6, frequencies=2)


def network(condition_width: int = 0) -> ImplicitNetwork:
    made = ImplicitNetwork(
        SMALL,
        FourierEncoding(3, 2),
        condition_width=condition_width,
        generator=torch.Generator().manual_seed(5),
    )
    return made.double()


def points() -> torch.Tensor:
    return torch.rand(7, 3, generator=torch.Generator().manual_seed(2)).double() - 0.5


def test_training_differentiates_the_gradient_again() -> None:
    net, at = network(), points()
    field = net.with_gradient(at, differentiable=True)
    (field.gradient.norm(dim=1) - 1).square().mean().backward()
    grown = net.layers[0].weight_v.grad  # type: ignore[union-attr]
    assert grown is not None
    assert grown.abs().max() > 0
    assert not net.with_gradient(at, differentiable=False).gradient.requires_grad


def test_a_condition_counts_and_a_missing_one_is_zero() -> None:
    net, at = network(4), points()
    torch.testing.assert_close(net(at)[0], net(at, torch.zeros(1, 4).double())[0], atol=0, rtol=1e-12)
    assert (net(at)[0] - net(at, torch.ones(1, 4).double())[0]).abs().min() > 1e-4


def test_the_start_follows_its_seed_and_leaves_the_global_stream() -> None:
    before = torch.random.get_rng_state()
    first, second = (network() for _ in range(2))
    assert torch.equal(first.layers[1].weight, second.layers[1].weight)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_width_below_the_encoding_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves nothing beside"):
        ImplicitNetwork(SdfNetSettings(width=8), FourierEncoding(3, 6))
