"""Rotation averaging over a camera graph: exact without noise, better than single pairs with it."""

import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from handloom.geometry.rotations import angle_deg
from handloom.geometry.synchronisation import all_pairs, pair_rotations, synchronise_rotations
from handloom.runtime.errors import InputError

EDGES = all_pairs(4)


def cameras(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return roma.rotvec_to_rotmat(2 * torch.randn(4, 3, generator=generator, dtype=torch.float64))


def perturbed(exact: Tensor, degrees: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    axes = torch.nn.functional.normalize(torch.randn(len(exact), 3, generator=generator, dtype=torch.float64), dim=-1)
    return exact @ roma.rotvec_to_rotmat(torch.deg2rad(degrees)[:, None] * axes)


@given(st.integers(0, 10**6))
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
    for seed in range(40):
        exact = pair_rotations(cameras(seed), EDGES)
        measured = perturbed(exact, torch.full((6,), 10.0, dtype=torch.float64), seed)
        single.append(angle_deg(measured, exact).mean())
        found = pair_rotations(synchronise_rotations(EDGES, measured, cameras=4), EDGES)
        together.append(angle_deg(found, exact).mean())
    assert torch.stack(together).mean() < 0.85 * torch.stack(single).mean()


def test_one_bad_pair_is_out_voted() -> None:
    """Pair 1-2 of the released code is 23 to 33 degrees off, the others 2 to 15 (facts/s2dhand.md 5)."""
    degrees = torch.tensor([33.0, 4.0, 4.0, 4.0, 4.0, 2.0], dtype=torch.float64)
    robust, plain = [], []
    for seed in range(20):
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
