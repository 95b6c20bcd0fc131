"""The momentum teacher: a slow average of the student (facts/s2dhand.md 3.4, step 8)."""

import copy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def make_teacher(student: Network) -> Network:
    """A copy of the student in evaluation mode whose parameters take no gradient."""
    return copy.deepcopy(student).eval().requires_grad_(False)


def momentum_at(update: int, momentum: float, *, warm_up: bool, warm_up_start: int) -> float:
    """Momentum of the update with this 0-based number: constant, or with warm-up min(1 - 1/(t + 1), momentum).

    t = `warm_up_start` + update; the released code counts epochs from 1, so its t starts at the batches per epoch (16).
    """
    return min(1 - 1 / (warm_up_start + update + 1), momentum) if warm_up else momentum


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """theta_teacher <- m theta_teacher + (1 - m) theta_student, over parameters only (buffers never change)."""
    for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
        slow.lerp_(fast, 1 - momentum)


@torch.no_grad()
def parameter_distance(teacher: nn.Module, student: nn.Module) -> float:
    """Euclidean distance of two networks' parameters relative to the teacher's norm."""
    pairs = list(zip(teacher.parameters(), student.parameters(), strict=True))
    difference = sum(float((slow - fast).double().square().sum()) for slow, fast in pairs)
    norm = sum(float(slow.double().square().sum()) for slow, _ in pairs)
    return (difference / norm) ** 0.5
