"""Rotations: proper where promised, exact without noise, robust where the reference is not, of pairs and of cameras."""

import math

import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from handloom.geometry.rotations import (
    all_pairs,
    angle_deg,
    mean_rotation_chordal,
    mean_rotation_robust,
    mean_rotation_unsigned,
    momentum_rotation,
    pair_rotations,
    quaternion_from_matrix,
    synchronise_rotations,
)
from handloom.runtime.errors import InputError

seeds = st.integers(0, 2**32 - 1)
EDGES = all_pairs(4)


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


def perturbed(exact: Tensor, degrees: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    axes = torch.nn.functional.normalize(torch.randn(len(exact), 3, generator=generator, dtype=torch.float64), dim=-1)
    return exact @ roma.rotvec_to_rotmat(torch.deg2rad(degrees)[:, None] * axes)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_consistent_pairs_are_returned_as_they_are(seed: int) -> None:
    exact = pair_rotations(cameras(seed), EDGES)
    found = synchronise_rotations(EDGES, exact, cameras=4)
    torch.testing.assert_close(pair_rotations(found, EDGES), exact, atol=1e-7, rtol=0)
    torch.testing.assert_close(found[0], torch.eye(3, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(torch.linalg.det(found), torch.ones(4, dtype=torch.float64))


def test_a_tree_of_pairs_gives_the_missing_ones() -> None:
    exact = pair_rotations(cameras(1), EDGES)
    tree = torch.tensor([0, 3, 5])  # 0-1, 1-2, 2-3
    found = synchronise_rotations(EDGES[tree], exact[tree], cameras=4)
    torch.testing.assert_close(pair_rotations(found, EDGES), exact, atol=1e-7, rtol=0)


def test_synchronising_beats_single_pairs_under_noise() -> None:
    single, together = [], []
    for seed in range(15):
        exact = pair_rotations(cameras(seed), EDGES)
        measured = perturbed(exact, torch.full((6,), 10.0, dtype=torch.float64), seed)
        single.append(angle_deg(measured, exact).mean())
        found = pair_rotations(synchronise_rotations(EDGES, measured, cameras=4), EDGES)
        together.append(angle_deg(found, exact).mean())
    assert torch.stack(together).mean() < 0.85 * torch.stack(single).mean()


def test_one_bad_pair_is_out_voted() -> None:
    """Pair 1-2 of the released code is 23 to 33 degrees off, the others 2 to 15."""
    degrees = torch.tensor([33.0, 4.0, 4.0, 4.0, 4.0, 2.0], dtype=torch.float64)
    robust, plain = [], []
    for seed in range(8):
        exact = pair_rotations(cameras(seed), EDGES)
        measured = perturbed(exact, degrees, seed)
        for errors, flag in ((robust, True), (plain, False)):
            found = pair_rotations(synchronise_rotations(EDGES, measured, cameras=4, robust=flag), EDGES)
            errors.append(angle_deg(found, exact))
    robust_deg, plain_deg = torch.stack(robust).mean(0), torch.stack(plain).mean(0)
    assert robust_deg[0] < 8
    assert robust_deg.mean() < plain_deg.mean()


def test_weights_decide_between_contradicting_paths() -> None:
    exact = pair_rotations(cameras(5), EDGES)
    measured = exact.clone()
    measured[0] = perturbed(exact[:1], torch.tensor([40.0], dtype=torch.float64), 5)[0]
    weights = torch.tensor([1e-6, 1, 1, 1, 1, 1], dtype=torch.float64)
    found = pair_rotations(synchronise_rotations(EDGES, measured, weights, cameras=4, robust=False), EDGES)
    assert angle_deg(found, exact).max() < 0.01


def test_an_unconnected_camera_is_named() -> None:
    exact = pair_rotations(cameras(2), EDGES)
    with pytest.raises(InputError, match=r"only cameras \[0, 1, 2\] can be reached"):
        synchronise_rotations(EDGES[[0, 1]], exact[[0, 1]], cameras=4)
