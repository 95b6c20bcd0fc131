"""Rotations: proper where promised, exact without noise, robust where the reference is not."""

import math

import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from handloom.geometry.rotations import (
    angle_deg,
    matrix_from_quaternion,
    mean_rotation_chordal,
    mean_rotation_robust,
    mean_rotation_unsigned,
    momentum_rotation,
    nearest_orthogonal,
    quaternion_from_matrix,
    rotation_between,
)
from handloom.runtime.errors import InputError

seeds = st.integers(0, 2**32 - 1)


def rotations(count: int, seed: int, scale: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return roma.rotvec_to_rotmat(scale * torch.randn(count, 3, generator=generator, dtype=torch.float64))


def poses(count: int, seed: int) -> Tensor:
    return torch.randn(count, 21, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_rotation_between_recovers_the_rotation_of_rows_and_ignores_masked_joints(seed: int) -> None:
    pose, rotation = poses(4, seed), rotations(4, seed + 1)
    other = pose @ rotation
    other[:, 15:] = poses(4, seed + 2)[:, 15:]
    weights = torch.ones(4, 21, dtype=torch.float64)
    weights[:, 15:] = 0
    torch.testing.assert_close(rotation_between(pose, other, weights), rotation)


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_only_the_released_variant_returns_reflections(seed: int) -> None:
    pose = poses(3, seed)
    mirrored = pose * torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)
    improper, proper = (rotation_between(pose, mirrored, proper=flag) for flag in (False, True))
    torch.testing.assert_close(torch.linalg.det(improper), -torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(torch.linalg.det(proper), torch.ones(3, dtype=torch.float64))


@given(seeds, st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=25, deadline=None)
def test_quaternions_go_there_and_back(seed: int, dtype: torch.dtype) -> None:
    matrices = rotations(20, seed).to(dtype)
    quaternions = quaternion_from_matrix(matrices)
    torch.testing.assert_close(quaternions.norm(dim=-1), torch.ones(20, dtype=dtype))
    torch.testing.assert_close(matrix_from_quaternion(quaternions), matrices, atol=1e-5, rtol=0)


def test_half_turns_have_quaternions_despite_a_trace_of_minus_one() -> None:
    half_turns = torch.diag_embed(torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64))
    expected = torch.eye(4, dtype=torch.float64)[1:]
    torch.testing.assert_close(quaternion_from_matrix(half_turns), expected)


def test_chordal_mean_survives_where_quaternion_signs_flip() -> None:
    """Around some half turns the branches give quaternions of either sign, whose plain mean is far off (3.3)."""
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


def test_nearest_orthogonal_keeps_rotations() -> None:
    given_rotations = rotations(5, 11)
    torch.testing.assert_close(nearest_orthogonal(3 * given_rotations), given_rotations)
