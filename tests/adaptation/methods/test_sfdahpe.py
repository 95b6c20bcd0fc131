"""SFDAHPE: its four losses in closed form, and who is moved by which."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from handloom.adaptation.methods import sfdahpe
from handloom.adaptation.methods.detnet_method import NetworkAnswer
from handloom.adaptation.methods.sfdahpe import Sfdahpe, agreement, contrast, information, marginals, residual
from handloom.adaptation.pairs import PairBatch
from handloom.estimators.detnet.network import DetNetMaps
from handloom.runtime.config.methods import SfdahpeSettings

from .conftest import MakeSurroundings, numbers


def constant(heat: float, delta: float, location: float) -> NetworkAnswer:
    maps = DetNetMaps(
        torch.full((2, 21, 4, 4), heat), torch.full((2, 21, 3, 4, 4), delta), torch.full((2, 21, 3, 4, 4), location)
    )
    return NetworkAnswer(torch.zeros(2, 8, 4, 4), torch.zeros(2, 21, 4, 4), maps)


def test_agreement_is_half_the_squared_differences() -> None:
    a, b, heat = constant(0.5, 1.0, 2.0), constant(0.1, 0.0, 5.0), torch.rand(2, 21, 4, 4)
    assert float(agreement(a, a, heat)) == 0
    assert float(agreement(a, b, 0 * heat)) == pytest.approx(0.5 * 0.16, rel=1e-5)
    assert float(agreement(a, b, heat)) == pytest.approx(0.5 * 0.16 + 0.5 * (1 + 9), rel=1e-5)


def random_logits(seed: int) -> Tensor:
    return torch.randn(2, 21, 4, 5, generator=torch.Generator().manual_seed(seed))


def test_residual_ignores_both_peaks() -> None:
    logits = random_logits(0).requires_grad_()
    taught = logits.detach().clone()
    cell = taught.flatten(2).argmax(-1, keepdim=True)
    taught.flatten(2).scatter_(2, cell, 30.0)
    assert float(residual(logits, taught).detach()) == pytest.approx(0, abs=1e-6)
    other = residual(logits, random_logits(1))
    other.backward()
    assert float(other.detach()) > 0.1
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert float(logits.grad.flatten(2).gather(2, cell).abs().max()) == 0


def test_residual_of_two_cells_in_closed_form() -> None:
    """Four cells, of which the first two are peaks: p = (3/4, 1/4) against q = (1/2, 1/2)."""
    taught = torch.tensor([9.0, 0, math.log(3), 0]).view(1, 1, 2, 2).expand(1, 21, 2, 2)
    logits = torch.tensor([0.0, 9, 1, 1]).view(1, 1, 2, 2).expand(1, 21, 2, 2)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert float(residual(logits, taught)) == pytest.approx(expected, rel=1e-5)


def test_contrast_of_indistinct_joints_is_log_21_and_falls_when_they_part() -> None:
    flat = torch.zeros(2, 21, 8, 8)
    assert float(contrast(flat, flat)) == pytest.approx(math.log(21), rel=1e-5)
    apart = torch.full((2, 21, 21, 21), -5.0)
    joint = torch.arange(21)
    apart[:, joint, joint, joint] = 3000.0
    assert float(contrast(apart, apart)) < 0.1


def test_information_is_zero_for_flat_maps_and_lowest_for_certain_varied_ones() -> None:
    flat = torch.zeros(3, 21, 4, 5)
    assert float(information(flat)) == pytest.approx(0, abs=1e-6)  # log 4 + log 5 - log 20
    certain = torch.zeros(3, 21, 4, 5)
    certain[:, :, 2, 2] = 4000.0
    assert float(information(certain)) == pytest.approx(0, abs=1e-6)  # always the same cell
    varied = torch.zeros(2, 21, 4, 5)
    varied[0, :, 0, 0] = varied[1, :, 3, 4] = 4000.0
    assert float(information(varied)) == pytest.approx(-math.log(2) / 20, rel=1e-4)


def test_marginals_are_over_rows_and_over_columns() -> None:
    rows, columns = marginals(random_logits(2))
    assert rows.shape == (2, 21, 4)
    assert columns.shape == (2, 21, 5)
    torch.testing.assert_close(rows.sum(-1), torch.ones(2, 21))
    torch.testing.assert_close(columns, random_logits(2).mean(2).softmax(-1))


def test_each_update_moves_its_own_part(batch: PairBatch, around: MakeSurroundings, watch_descend: Callable) -> None:
    """From the second update on the three models differ: S's upper part, I's trunk and all of T move, in this order."""
    method = Sfdahpe(around(SfdahpeSettings(learning_rate=1e-3), source=None))
    moved = watch_descend(sfdahpe, method.networks)
    method.step(batch, 0)
    before = numbers(method.networks)
    method.step(batch, 1)
    trunk = {f"resnet50.{part}" for part in dict(method.network.resnet50.named_children())}
    heads = {f"{head}.{part}" for head in ("hmap_0", "dmap_0", "lmap_0") for part in ("project", "prediction")}
    assert moved[3] == {f"source.{part}" for part in heads | {"resnet50.squeeze"}}
    assert moved[4] == {f"intermediate.{part}" for part in trunk - {"resnet50.squeeze"}}
    assert moved[5] == {f"target.{part}" for part in trunk | heads}
    after = numbers(method.networks)
    assert all(torch.equal(before[key], after[key]) for key in before if "running" in key)


def test_the_intermediate_model_follows_the_target_slowly_and_is_scored(
    batch: PairBatch, around: MakeSurroundings
) -> None:
    settings = SfdahpeSettings(learning_rate=1e-2, momentum=0.75, momentum_long=0.5)
    for budget, momentum in (("standard", 0.75), ("long", 0.5)):
        method = Sfdahpe(around(settings, budget=budget))
        start = method.intermediate.hmap_0.prediction.bias.detach().clone()
        method.step(batch, 0)  # I's heads are frozen, so they move by the average alone
        goal = method.target.hmap_0.prediction.bias.detach()
        torch.testing.assert_close(
            method.adapted().hmap_0.prediction.bias.detach(), momentum * start + (1 - momentum) * goal
        )
