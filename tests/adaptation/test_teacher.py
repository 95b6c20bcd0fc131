"""The momentum teacher: warm-up as released, averages parameters only, takes no gradient."""

import pytest
import torch
from torch import nn

from handloom.adaptation.teacher import make_teacher, momentum_at, parameter_distance, update_teacher


def student() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))


def test_warm_up_counts_from_the_first_epochs_batches() -> None:
    """The released code has 0.941 at the first step and 0.99 from t = 99 (3.4)."""
    momenta = [momentum_at(update, 0.99, warm_up=True, warm_up_start=16) for update in range(160)]
    assert momenta[0] == pytest.approx(1 - 1 / 17)
    assert momenta[99 - 16] == pytest.approx(0.99)
    assert max(momenta) == 0.99
    assert momenta == sorted(momenta)
    assert momentum_at(0, 0.999, warm_up=False, warm_up_start=16) == 0.999


def test_update_is_an_average_of_parameters_and_leaves_buffers_alone() -> None:
    torch.manual_seed(0)
    fast = student()
    slow = make_teacher(fast)
    before = {name: value.clone() for name, value in slow.state_dict().items()}
    with torch.no_grad():
        for parameter in fast.parameters():
            parameter.add_(1.0)
        fast[1].running_mean.add_(5.0)
    update_teacher(slow, fast, 0.75)
    for name, _ in slow.named_parameters():
        torch.testing.assert_close(slow.state_dict()[name], before[name] + 0.25)
    torch.testing.assert_close(slow.state_dict()["1.running_mean"], before["1.running_mean"])
    assert not any(parameter.requires_grad for parameter in slow.parameters())
    assert not slow.training


def test_distance_is_relative() -> None:
    torch.manual_seed(0)
    fast = student()
    slow = make_teacher(fast)
    assert parameter_distance(slow, fast) == 0
    with torch.no_grad():
        for parameter in fast.parameters():
            parameter.mul_(1.1)
    assert parameter_distance(slow, fast) == pytest.approx(0.1, rel=1e-5)
