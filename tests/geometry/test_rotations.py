"""Rotations: proper where promised, exact without noise, robust where the reference is not, of pairs and of cameras."""

import math

import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from handloom.geometry.rotations import (
    angle_deg,
    mean_rotation_chordal,
    mean_rotation_robust,
    mean_rotation_unsigned,
    momentum_rotation,
    quaternion_from_matrix,
)
from handloom.runtime.errors import InputError

seeds = st.integers(0, 2**32 - 1)


def rotations(count: int, seed: int, scale: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return roma.rotvec_to_rotmat(scale * torch.randn(count, 3, generator=generator, dtype=torch.float64))


def poses(count: int, seed: int) -> Tensor:
    return torch.randn(count, 21, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_half_turns_have_quaternions_despite_a_trace_of_minus_one() -> None:
    half_turns = torch.diag_embed(torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64))
    expected = torch.eye(4, dtype=torch.float64)[1:]
    torch.testing.assert_close(quaternion_from_matrix(half_turns), expected)


def test_chordal_mean_survives_where_quaternion_signs_flip() -> None:
    """Around some half turns the branches give quaternions of either sign, whose plain mean is far off."""
    axis = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64) / math.sqrt(2)
    half_turn = roma.rotvec_to_rotmat(math.pi * axis)
    noisy = half_turn @ rotations(400, 7, scale=0.35)
    assert angle_deg(mean_rotation_chordal(noisy), half_turn) < 3
    assert angle_deg(mean_rotation_unsigned(noisy), half_turn) > 10


def test_robust_mean_forgets_a_third_of_outliers() -> None:
    truth = rotations(1, 3)[0]
    inliers = truth @ rotations(60, 4, scale=0.05)
    every = torch.cat([inliers, truth @ rotations(1, 5)[0] @ rotations(30, 6, scale=0.2)])
    robust, plain = (float(angle_deg(mean(every), truth)) for mean in (mean_rotation_robust, mean_rotation_chordal))
    assert robust < 3 < plain


def test_mean_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="found 0 rotations"):
        mean_rotation_chordal(torch.zeros(0, 3, 3))


@given(seeds, st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_momentum_moves_along_the_shortest_way(seed: int, momentum: float) -> None:
    """With aligned signs the result lies between both rotations, whatever the branches' signs were."""
    first, second = rotations(2, seed)
    moved = momentum_rotation(first, second, momentum)
    whole = float(angle_deg(first, second))
    to_first, to_second = float(angle_deg(moved, first)), float(angle_deg(moved, second))
    assert to_first + to_second == pytest.approx(whole, abs=1e-3)
    if momentum == 1:
        assert to_first < 1e-5


@given(seeds, st.floats(1e-6, math.pi - 1e-3))
@settings(max_examples=25, deadline=None)
def test_angles_are_exact_from_tiny_to_half_turns(seed: int, angle: float) -> None:
    base = rotations(1, seed)[0]
    axis = torch.nn.functional.normalize(poses(1, seed)[0, 0], dim=0)
    turned = base @ roma.rotvec_to_rotmat(angle * axis)
    assert float(angle_deg(base, turned)) == pytest.approx(math.degrees(angle), rel=1e-6, abs=1e-9)


def cameras(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return roma.rotvec_to_rotmat(2 * torch.randn(4, 3, generator=generator, dtype=torch.float64))
