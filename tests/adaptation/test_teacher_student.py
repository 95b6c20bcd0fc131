"""What an adaptation keeps between epochs, and its learning rate, against closed forms."""

import copy
import math
from typing import Literal

import pytest
import torch
from torch import nn

from handloom.adaptation.teacher_student import TeacherStudent


def adaptation(seed: int) -> TeacherStudent[nn.Linear]:
    """Two small networks after one step."""
    torch.manual_seed(seed)
    job: TeacherStudent[nn.Linear] = TeacherStudent()
    job.student, job.teacher = nn.Linear(3, 2), nn.Linear(3, 2)
    job.optimiser = torch.optim.Adam(job.student.parameters(), lr=0.1)
    job.rotation_12, job.generator = torch.eye(3), torch.Generator().manual_seed(seed)
    job.epoch, job.history = seed, [{"epoch": float(seed)}]
    return job


def step(job: TeacherStudent[nn.Linear]) -> torch.Tensor:
    """The student after one more random step."""
    job.optimiser.zero_grad()
    job.student(torch.rand(4, 3, generator=job.generator)).square().sum().backward()
    job.optimiser.step()
    return job.student.weight.detach().clone()


def test_a_restored_adaptation_goes_on_bit_for_bit() -> None:
    """Protects resuming: networks, optimiser, random stream, rotation and curves all come back."""
    whole, resumed = adaptation(1), adaptation(2)
    step(whole)
    resumed.restore(copy.deepcopy(whole.state()))  # as from a file: no tensor is shared
    assert torch.equal(step(whole), step(resumed))
    assert torch.equal(whole.teacher.weight, resumed.teacher.weight)
    assert (resumed.epoch, resumed.history) == (1, [{"epoch": 1.0}])


@pytest.mark.parametrize(
    ("decay", "number", "warm_up", "rate"),
    [
        ("none", 7, 0, 0.2),
        ("cosine", 0, 0, 0.2),
        ("cosine", 5, 0, 0.1),
        ("cosine", 2, 0, 0.1 * (1 + math.cos(0.2 * math.pi))),
        ("none", 0, 3, 0.05),
        ("none", 3, 3, 0.2),
    ],
)
def test_the_learning_rate_of_a_step(decay: Literal["none", "cosine"], number: int, warm_up: int, rate: float) -> None:
    """Protects the schedule: constant or half a cosine over ten steps, and a linear rise before."""
    job = adaptation(1)
    job.set_learning_rate(0.2, decay, number, 10, warm_up_steps=warm_up)
    assert job.optimiser.param_groups[0]["lr"] == pytest.approx(rate)
