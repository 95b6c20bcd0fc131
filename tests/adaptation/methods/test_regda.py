"""RegDA: lambda and the maps in closed form, and who is moved by which of its three updates."""

import math
from collections.abc import Callable

import pytest
import torch

from handloom.adaptation.methods import regda
from handloom.adaptation.methods.regda import (
    Regda,
    false_maps,
    gradient_share,
    heat_map_kl,
    scaled_gradient,
    true_maps,
)
from handloom.adaptation.pairs import PairBatch
from handloom.estimators.detnet.network import network_input
from handloom.runtime.config.methods import RegdaSettings

from .conftest import MakeSurroundings, changed_parts, numbers


@pytest.mark.parametrize(("update", "share"), [(0, 0.0), (160, 0.0080), (1000, 0.046), (5000, 0.099)])
def test_lambda_grows_as_published(update: int, share: float) -> None:
    assert gradient_share(update, 0.1, 1000.0) == pytest.approx(share, abs=5e-4)


def test_kl_of_equal_distributions_is_zero_and_of_uniform_is_its_entropy_gap() -> None:
    target = torch.rand(2, 21, 4, 4, generator=torch.Generator().manual_seed(0)) + 0.1
    torch.testing.assert_close(heat_map_kl(target, target.log()), torch.zeros(2, 21), atol=1e-5, rtol=0)
    peak = torch.zeros(1, 21, 4, 4)
    peak[:, :, 1, 2] = 1
    torch.testing.assert_close(
        heat_map_kl(peak, torch.zeros_like(peak)), torch.full((1, 21), math.log(16)), atol=1e-4, rtol=0
    )


def test_false_maps_are_where_the_other_joints_are() -> None:
    cells = torch.full((1, 21), 9)
    cells[0, 0] = 54
    true = true_maps(cells, 8)
    assert true[0, 0, 6, 6] == true[0, 1, 1, 1] == 1
    false = false_maps(true)
    assert false[0, 0, 1, 1] == 1  # twenty joints there, clipped
    assert false[0, 0, 6, 6] < 1e-6  # its own place is not false for it
    assert false[0, 1, 6, 6] == 1
    assert false[0, 1, 1, 1] == 1


def test_the_layer_is_the_identity_and_scales_the_gradient() -> None:
    features = torch.ones(3, requires_grad=True)
    out = scaled_gradient(features, 0.25)
    assert torch.equal(out, features)
    (2 * out).sum().backward()
    assert features.grad is not None
    assert features.grad.tolist() == [0.5, 0.5, 0.5]


def test_each_update_moves_its_own_part(
    batch: PairBatch, around: MakeSurroundings, watch_descend: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A moves everything, B the second head, C the trunk; nothing trains statistics."""
    method = Regda(around(RegdaSettings(learning_rate=1e-3)))
    start = numbers(method.networks)
    moved_by_a: list[set[str]] = []

    def at_b(true: torch.Tensor) -> torch.Tensor:
        moved_by_a.append(changed_parts(start, numbers(method.networks)))
        return false_maps(true)

    monkeypatch.setattr(regda, "false_maps", at_b)
    moved = watch_descend(regda, method.networks)
    method.step(batch, 30)
    trunk = {f"network.resnet50.{part}" for part in dict(method.network.resnet50.named_children())}
    heads = {f"network.{head}.{part}" for head in ("hmap_0", "dmap_0", "lmap_0") for part in ("project", "prediction")}
    second = {f"second_head.{key}" for key in ("project.0", "project.1", "prediction.weight", "prediction.bias")}
    assert moved_by_a[0] == trunk | heads | second
    assert moved == [second, trunk]
    after = numbers(method.networks)
    assert all(torch.equal(start[key], after[key]) for key in start if "running" in key)


def test_the_second_head_asks_the_trunk_by_the_share_lambda(batch: PairBatch, around: MakeSurroundings) -> None:
    method = Regda(around(RegdaSettings()))
    trunk, target = method.network.resnet50, true_maps(torch.zeros(6, 21, dtype=torch.long), 8)

    def asked(share: float) -> torch.Tensor:
        logits = method._second(trunk(network_input(batch.image_u8)), share)
        return torch.autograd.grad(heat_map_kl(target, logits).mean(), trunk.conv1.weight)[0]

    assert float(asked(0.0).abs().max()) == 0
    assert float(asked(1.0).abs().max()) > 0
    torch.testing.assert_close(asked(0.25), 0.25 * asked(1.0))
