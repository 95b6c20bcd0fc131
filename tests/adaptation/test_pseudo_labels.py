"""What holds for pseudo-labels whatever the poses are."""

import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from handloom.adaptation.pseudo_labels import PseudoLabels, label_rotation, make_pseudo_labels, merge_weights
from handloom.geometry.rotations import angle_deg, momentum_rotation, rotation_between

COUNT = 5


def teacher_answers(seed: int, noise: float = 0.1) -> tuple[Tensor, ...]:
    """Poses of both views, confidences, validities, and a working rotation a few degrees off."""
    g = torch.Generator().manual_seed(seed)
    turns = roma.rotvec_to_rotmat(torch.randn(2, 3, generator=g, dtype=torch.float64))
    poses_1 = torch.randn(COUNT, 21, 3, generator=g, dtype=torch.float64)
    poses_1 = poses_1 - poses_1[:, :1]
    poses_2 = 0.8 * poses_1 @ turns[0] + noise * torch.randn(COUNT, 21, 3, generator=g, dtype=torch.float64)
    confidence = torch.rand(2, COUNT, 21, generator=g, dtype=torch.float64)
    valid = torch.rand(2, COUNT, 21, generator=g) < 0.8
    valid[:, :, :4] = True
    off = roma.rotvec_to_rotmat(0.1 * torch.randn(3, generator=g, dtype=torch.float64))
    return torch.stack([poses_1 + 0.01, poses_2 - 0.02]), confidence, valid, turns[0] @ off


def labels_of(seed: int, root_joint: int = 0, **changes: object) -> tuple[PseudoLabels, Tensor]:
    answers = teacher_answers(seed)
    choices = {"root_joint": root_joint, "consensus_weight": 0.7, **changes}
    return make_pseudo_labels(*answers, **choices), answers[-1]


@given(st.integers(0, 10**6), st.sampled_from(["max", "soft", "average"]), st.sampled_from([0, 9]))
@settings(max_examples=30, deadline=None)
def test_merged_and_refined_poses_obey_the_rotation_and_the_root_stays(seed: int, merge: str, root_joint: int) -> None:
    """The consensus of both views is one pose, and that of a view that sees a joint alone."""
    labels, rotation = labels_of(seed, root_joint, merge=merge)
    merged, refined, aligned = labels.merged, labels.refined, labels.aligned
    torch.testing.assert_close(merged.view_2, merged.view_1 @ rotation)
    valid_1, valid_2 = teacher_answers(seed)[2]
    torch.testing.assert_close(merged.view_1[valid_1 & ~valid_2], aligned.view_1[valid_1 & ~valid_2])
    torch.testing.assert_close(merged.view_2[valid_2 & ~valid_1], aligned.view_2[valid_2 & ~valid_1])
    found = rotation_between(refined.view_1, refined.view_2, labels.common.double())
    torch.testing.assert_close(found, rotation.expand(COUNT, 3, 3), atol=1e-9, rtol=0)
    for poses in (merged.view_1, merged.view_2, refined.view_1, refined.view_2):
        torch.testing.assert_close(poses[:, root_joint], torch.zeros(COUNT, 3, dtype=torch.float64), atol=1e-12, rtol=0)


def test_faithful_labels_move_the_rotation_less_than_a_thousandth_of_a_degree() -> None:
    labels, rotation = labels_of(1, fidelity="faithful")
    moved = momentum_rotation(rotation, label_rotation(labels), 0.999, align_signs=False)
    assert 0 < float(angle_deg(moved, rotation)) < 1e-3


@pytest.mark.parametrize("fidelity", ["faithful", "fixed"])
def test_labels_of_agreeing_views_are_the_poses_themselves(fidelity: str) -> None:
    """Nothing is to be corrected, so nothing changes: scale, anchors and the way back are consistent."""
    (poses_1, _), confidence, valid, rotation = teacher_answers(2)
    poses_2 = 0.6 * poses_1 @ rotation + 3
    answers = (torch.stack([poses_1, poses_2]), confidence, valid, rotation)
    labels = make_pseudo_labels(*answers, root_joint=9, consensus_weight=0.7, fidelity=fidelity)
    torch.testing.assert_close(labels.view_1, poses_1, atol=1e-6, rtol=0)
    torch.testing.assert_close(labels.view_2, poses_2, atol=1e-6, rtol=0)


def test_consensus_weight_one_leaves_the_refinement_out() -> None:
    labels, _ = labels_of(3, consensus_weight=1.0)
    torch.testing.assert_close(labels.view_1, labels.merged.view_1 + labels.aligned.anchor_1)
    assert not bool(labels.refined.unchanged.any())


def test_a_sharp_soft_merge_is_the_hard_one_and_never_overflows() -> None:
    _, confidence, valid, _ = teacher_answers(1)

    def weights(mode: str, sharpness: float = 1.0) -> Tensor:
        both = merge_weights(valid, confidence, mode, sharpness=sharpness)
        torch.testing.assert_close(both[0] + both[1], torch.ones_like(both[0]))
        return both[0]

    torch.testing.assert_close(weights("soft", 1e6), weights("max"))
    torch.testing.assert_close(weights("soft", 1e-9), weights("average"), atol=1e-8, rtol=0)


@pytest.mark.parametrize(("ties", "share"), [("add", 1.0), ("average", 0.5)])
def test_ties(ties: str, share: float) -> None:
    """The released code sums the candidates of a tie: its joint is twice as far from the root."""
    seen, confidence = torch.ones(2, 1, 21, dtype=torch.bool), torch.full((2, 1, 21), 0.5)
    torch.testing.assert_close(merge_weights(seen, confidence, "max", ties=ties), torch.full((2, 1, 21), share))
