"""A shape network: gradients against finite differences, one evaluation, conditions, sizes that do not fit."""

import pytest
import torch

from handloom.reconstruction.holdnet.embedding import BarfEncoding, FourierEncoding
from handloom.reconstruction.holdnet.implicit_network import ImplicitNetwork, start_as_sphere
from handloom.reconstruction.holdnet.layers import WeightNormLinear
from handloom.runtime.config.holdnet import BarfSettings, SdfNetSettings

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


def test_gradient_agrees_with_finite_differences() -> None:
    net, at = network(), points()
    gradient = net.with_gradient(at, differentiable=False).gradient
    step = 1e-5 * torch.eye(3).double()
    with torch.no_grad():
        above, below = (net.distance(at[:, None] + sign * step) for sign in (1, -1))
    torch.testing.assert_close(gradient, (above - below) / 2e-5, atol=1e-6, rtol=1e-5)


def test_training_differentiates_the_gradient_again() -> None:
    net, at = network(), points()
    field = net.with_gradient(at, differentiable=True)
    (field.gradient.norm(dim=1) - 1).square().mean().backward()
    grown = net.layers[0].weight_v.grad  # type: ignore[union-attr]
    assert grown is not None
    assert grown.abs().max() > 0
    assert not net.with_gradient(at, differentiable=False).gradient.requires_grad


def test_value_and_gradient_take_one_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    net, calls = network(), []
    encode = net.embedder_obj.forward
    monkeypatch.setattr(net.embedder_obj, "forward", lambda at: calls.append(1) or encode(at))
    net.with_gradient(points(), differentiable=True)
    assert len(calls) == 1


def test_the_distance_alone_is_the_same() -> None:
    net, at = network(), points()
    torch.testing.assert_close(net.distance(at), net(at).sdf, atol=0, rtol=1e-12)


def test_a_condition_counts_and_a_missing_one_is_zero() -> None:
    net, at = network(4), points()
    torch.testing.assert_close(net(at).sdf, net(at, torch.zeros(1, 4).double()).sdf, atol=0, rtol=1e-12)
    assert (net(at).sdf - net(at, torch.ones(1, 4).double()).sdf).abs().min() > 1e-4


def test_a_fresh_network_resembles_a_sphere() -> None:
    net = ImplicitNetwork(SdfNetSettings(initial_radius=0.5), BarfEncoding(3, 6, BarfSettings()))
    start_as_sphere(net, torch.Generator().manual_seed(0))
    directions = torch.nn.functional.normalize(torch.randn(50, 3, generator=torch.Generator().manual_seed(1)), dim=1)
    with torch.no_grad():
        assert (net.distance(0.1 * directions) < 0).all()
        assert (net.distance(1.2 * directions) > 0).all()


def test_the_start_follows_its_seed_and_leaves_the_global_stream() -> None:
    before = torch.random.get_rng_state()
    first, second = (network() for _ in range(2))
    assert torch.equal(first.layers[1].weight, second.layers[1].weight)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_rows_of_a_weight_have_their_norms() -> None:
    layer = WeightNormLinear(5, 3)
    weight = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    layer.set_weight(weight)
    torch.testing.assert_close(layer.weight, weight)
    torch.testing.assert_close(layer.weight_g[:, 0], weight.norm(dim=1))


def test_a_width_below_the_encoding_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves nothing beside"):
        ImplicitNetwork(SdfNetSettings(width=8), FourierEncoding(3, 6))
