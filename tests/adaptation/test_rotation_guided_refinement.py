"""Rotation-guided refinement: ends at the wanted proper rotation, with the least change, whatever comes in."""

import math

import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from handloom.adaptation.rotation_guided_refinement import refine_bfgs, refine_least_norm

from ..golden.rotation_objective import rotation_objective

COUNT = 12


def random_pairs(
    seed: int, *, thickness: float, error_deg: float, noise: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Poses of both views, joints valid in both, and a rotation that is `error_deg` off."""
    g = torch.Generator().manual_seed(seed)
    turns = roma.rotvec_to_rotmat(2 * torch.randn(COUNT + 1, 3, generator=g, dtype=torch.float64))
    shape = torch.tensor([1.0, 0.7, thickness], dtype=torch.float64)
    poses_1 = (torch.randn(COUNT, 21, 3, generator=g, dtype=torch.float64) * shape) @ turns[:COUNT]
    axis = torch.nn.functional.normalize(torch.randn(3, generator=g, dtype=torch.float64), dim=0)
    rotation = turns[COUNT]
    poses_2 = poses_1 @ rotation @ roma.rotvec_to_rotmat(math.radians(error_deg) * axis)
    poses_2 = poses_2 + noise * torch.randn(poses_2.shape, generator=g, dtype=torch.float64)
    poses_1[:, 0] = poses_2[:, 0] = 0
    common = torch.rand(COUNT, 21, generator=g) < 0.8
    common[:, :5] = True
    return poses_1, poses_2, common, rotation


cases = st.tuples(
    st.integers(0, 10**6),
    st.sampled_from([1.0, 0.3, 0.02]),
    st.sampled_from([0.0, 10.0, 60.0, 120.0, 175.0]),
    st.sampled_from([0.05, 0.3, 1.0]),
)


@given(cases)
@settings(max_examples=60, deadline=None)
def test_ends_in_the_wanted_rotation_even_by_the_released_measure(case: tuple[int, float, float, float]) -> None:
    """Without determinant correction a reflection would show as |R - R12| = 2; float32 as in training."""
    seed, thickness, error_deg, noise = case
    p1, p2, common, rotation = random_pairs(seed, thickness=thickness, error_deg=error_deg, noise=noise)
    for dtype, tolerance in ((torch.float64, 1e-6), (torch.float32, 2e-4)):
        refined = refine_least_norm(p1.to(dtype), p2.to(dtype), common, rotation)
        assert not bool(refined.unchanged.any())
        assert refined.view_1.dtype == dtype
        f = rotation_objective(refined.view_1.double(), refined.view_2.double(), rotation, common.double())
        assert float(f.max()) < tolerance
        for after, before in ((refined.view_1, p1), (refined.view_2, p2)):
            torch.testing.assert_close(after[~common], before[~common].to(dtype), atol=0, rtol=0)
            torch.testing.assert_close(after[:, 0], torch.zeros(COUNT, 3, dtype=dtype), atol=0, rtol=0)


@given(st.integers(0, 10**6), st.floats(1, 45))
@settings(max_examples=25, deadline=None)
def test_no_way_to_the_rotation_is_shorter(seed: int, error_deg: float) -> None:
    """Turning both poses half-way gets there too; so do small detours around the refined poses, projected back."""
    p1, p2, common, rotation = random_pairs(seed, thickness=0.6, error_deg=error_deg, noise=0.1)
    p1, p2 = p1 * common[..., None], p2 * common[..., None]
    refined = refine_least_norm(p1, p2, common, rotation)

    def length(a: Tensor, b: Tensor) -> Tensor:
        return ((a - p1).square() + (b - p2).square()).sum((1, 2)).sqrt()

    least = length(refined.view_1, refined.view_2)
    between = roma.special_procrustes(p1.transpose(1, 2) @ p2 @ rotation.T)
    half = roma.rotvec_to_rotmat(0.5 * roma.rotmat_to_rotvec(between))
    turned = length(p1 @ half, p2 @ rotation.T @ half.transpose(1, 2) @ rotation)
    assert bool((least <= turned + 1e-9).all())
    generator = torch.Generator().manual_seed(seed)
    for _ in range(5):
        detour = 0.05 * torch.randn(2, *p1.shape, generator=generator, dtype=torch.float64) * common[..., None]
        other = refine_least_norm(refined.view_1 + detour[0], refined.view_2 + detour[1], common, rotation)
        assert bool((least <= length(other.view_1, other.view_2) + 1e-9).all())


def test_objective_no_worse_and_step_no_longer_than_bfgs() -> None:
    """0.001 to 0.02 bone lengths RMS between the two answers when the rotation is less than 10 degrees off."""
    for error_deg, apart_at_most in ((4.0, 0.02), (10.0, 0.03)):
        p1, p2, common, rotation = random_pairs(8, thickness=0.8, error_deg=error_deg, noise=0.05)
        few = slice(3)
        p1, p2, common = p1[few], p2[few], common[few]
        closed, bfgs = refine_least_norm(p1, p2, common, rotation), refine_bfgs(p1, p2, common, rotation)
        weights = common.double()
        f_closed, f_bfgs = (rotation_objective(r.view_1, r.view_2, rotation, weights) for r in (closed, bfgs))
        assert bool((f_closed <= f_bfgs).all())
        moved, apart = [], []
        for result in (closed, bfgs):
            moved.append(((result.view_1 - p1).square() + (result.view_2 - p2).square()).sum((1, 2)))
        assert bool((moved[0] <= moved[1] * (1 + 1e-6)).all())
        for a, b in ((closed.view_1, bfgs.view_1), (closed.view_2, bfgs.view_2)):
            apart.append(((a - b).square().sum(-1).sum(-1) / common.sum(-1)).sqrt())
        assert float(torch.stack(apart).max()) < apart_at_most


def test_degenerate_samples_stay_unchanged_are_counted_and_harm_nobody() -> None:
    p1, p2, common, rotation = random_pairs(3, thickness=0.5, error_deg=15, noise=0.1)
    alone = refine_least_norm(p1, p2, common, rotation)
    common[1] = False  # no common joint
    common[2] = False
    common[2, :2] = True  # two common joints, one of them the root
    p1[3], p2[3] = p1[3, 9] * torch.linspace(0, 1, 21)[:, None], p2[3, 9] * torch.linspace(0, 1, 21)[:, None]  # a line
    p1[4] = torch.nan
    p2[5] = 0  # collapsed
    refined = refine_least_norm(p1, p2, common, rotation)
    assert refined.unchanged.tolist() == [False, *[True] * 5, *[False] * (COUNT - 6)]
    for after, before in ((refined.view_1, p1), (refined.view_2, p2)):
        torch.testing.assert_close(after[1:6], before[1:6], atol=0, rtol=0, equal_nan=True)
    torch.testing.assert_close(refined.view_1[6:], alone.view_1[6:], atol=1e-12, rtol=0)


def test_three_joints_in_a_plane_reach_the_proper_rotation() -> None:
    p1, p2, common, rotation = random_pairs(4, thickness=0.5, error_deg=20, noise=0.1)
    common[:] = False
    common[:, [0, 5, 9]] = True
    refined = refine_least_norm(p1, p2, common, rotation)
    f = rotation_objective(refined.view_1, refined.view_2, rotation, common.double(), proper=True)
    assert not bool(refined.unchanged.any())
    assert float(f.max()) < 1e-6


def test_poses_that_agree_do_not_move() -> None:
    p1, _, common, rotation = random_pairs(5, thickness=0.5, error_deg=0, noise=0)
    refined = refine_least_norm(p1, p1 @ rotation, common, rotation)
    torch.testing.assert_close(refined.view_1, p1, atol=1e-12, rtol=0)
    torch.testing.assert_close(refined.view_2, p1 @ rotation, atol=1e-12, rtol=0)
