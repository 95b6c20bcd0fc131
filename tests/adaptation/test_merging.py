"""Merging: both views' consensus poses are one pose, and the modes share the joints as described."""

import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from handloom.adaptation.merging import merge_poses, merge_weights

COUNT = 6


def random_inputs(seed: int) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    poses = torch.randn(2, COUNT, 21, 3, generator=g, dtype=torch.float64)
    valid = torch.rand(2, COUNT, 21, generator=g) < 0.6
    confidence = torch.rand(2, COUNT, 21, generator=g, dtype=torch.float64)
    rotation = roma.rotvec_to_rotmat(torch.randn(3, generator=g, dtype=torch.float64))
    return *poses, *valid, *confidence, rotation


@given(st.integers(0, 10**6), st.sampled_from(["max", "soft", "average"]))
@settings(max_examples=30, deadline=None)
def test_the_consensus_of_both_views_is_one_pose_and_shares_add_up(seed: int, mode: str) -> None:
    q1, q2, valid_1, valid_2, confidence_1, confidence_2, rotation = random_inputs(seed)
    w1, w2 = merge_weights(valid_1, valid_2, confidence_1, confidence_2, mode)
    torch.testing.assert_close(w1 + w2, torch.ones_like(w1))
    merged = merge_poses(q1, q2, rotation, w1, w2)
    torch.testing.assert_close(merged.view_1 @ rotation, merged.view_2)
    only_1, only_2 = valid_1 & ~valid_2, valid_2 & ~valid_1
    torch.testing.assert_close(merged.view_1[only_1], q1[only_1])
    torch.testing.assert_close(merged.view_2[only_2], q2[only_2])


def test_a_sharp_soft_merge_is_the_hard_one_and_never_overflows() -> None:
    _, _, valid_1, valid_2, confidence_1, confidence_2, _ = random_inputs(1)
    hard = merge_weights(valid_1, valid_2, confidence_1, confidence_2, "max")
    sharp = merge_weights(valid_1, valid_2, confidence_1, confidence_2, "soft", sharpness=1e6)
    for a, b in zip(hard, sharp, strict=True):
        torch.testing.assert_close(a, b)
    blunt = merge_weights(valid_1, valid_2, confidence_1, confidence_2, "soft", sharpness=1e-9)
    average = merge_weights(valid_1, valid_2, confidence_1, confidence_2, "average")
    torch.testing.assert_close(blunt[0], average[0], atol=1e-8, rtol=0)


@pytest.mark.parametrize(("ties", "share"), [("add", 1.0), ("average", 0.5)])
def test_ties(ties: str, share: float) -> None:
    """The released code sums the candidates of a tie: its joint is twice as far from the root."""
    seen, confidence = torch.ones(1, 21, dtype=torch.bool), torch.full((1, 21), 0.5)
    weights = merge_weights(seen, seen, confidence, confidence, "max", ties=ties)
    for weight in weights:
        torch.testing.assert_close(weight, torch.full((1, 21), share))
