"""The curves' figures are the evaluation's figures, and right in a case worked out by hand."""

import numpy as np
import pytest
import roma
import torch

from handloom.adaptation.diagnostics import Truth, pair_errors, pose_error_mm
from handloom.evaluation import pose_metrics
from handloom.evaluation.alignment import place_on_ground_truth


@pytest.mark.parametrize("root_joint", [0, 9])
def test_mono_and_dual_are_those_of_the_evaluation(root_joint: int) -> None:
    g = torch.Generator().manual_seed(root_joint)
    joints = torch.randn(7, 2, 21, 3, generator=g, dtype=torch.float64) * 0.05
    poses = joints * 9 + 0.1 * torch.randn(joints.shape, generator=g, dtype=torch.float64)
    valid = torch.rand(7, 2, 21, generator=g) < 0.6
    valid[:, :, 13] = False
    rotation = roma.rotvec_to_rotmat(torch.randn(3, generator=g, dtype=torch.float64))
    truth = Truth(joints, valid, rotation)
    found = pair_errors(poses, truth, rotation, root_joint)

    placed = place_on_ground_truth(poses.numpy(), joints.numpy(), root_joint)
    seen = valid.numpy().astype(float)
    errors = pose_metrics.joint_errors(placed.predicted_mm, placed.true_mm)
    assert found.mono_mm == pytest.approx(pose_metrics.mono_m(errors, seen), rel=1e-9)
    assert pose_error_mm(poses, truth, root_joint) == pytest.approx(errors[valid.numpy()].mean(), rel=1e-9)
    dual = pose_metrics.dual_m(placed.predicted_mm, placed.true_mm, seen, rotation.numpy())
    assert found.dual_mm == pytest.approx(float(np.asarray(dual)), rel=1e-9)


def test_a_joint_30_mm_off_in_one_view_counts_as_the_metrics_say() -> None:
    """Two pairs, joint 5 of view 1 wrong in the first: one of its four errors in Mono-M, halved by merging in Dual-M.

    Joint 7 is far off where it is not annotated: no figure sees it.
    """
    g = torch.Generator().manual_seed(3)
    rotation = roma.rotvec_to_rotmat(torch.randn(3, generator=g, dtype=torch.float64))
    view_1 = torch.randn(2, 21, 3, generator=g, dtype=torch.float64) * 0.05
    joints = torch.stack([view_1, view_1 @ rotation], 1)
    placed_m = joints.clone()
    placed_m[0, 0, 5, 0] += 0.03
    placed_m[1, 0, 7] += 9.0
    valid = torch.ones(2, 2, 21, dtype=torch.bool)
    valid[1, 0, 7] = False
    truth = Truth(joints, valid, rotation)
    poses = (placed_m - 2) / 0.09  # any scale and place: the bone and the root put them back
    found = pair_errors(poses, truth, rotation, 0)
    assert found.mono_mm == pytest.approx(30 / 4 / 21)
    assert pose_error_mm(poses, truth, 0) == pytest.approx(30 / 83)
    assert found.dual_mm == pytest.approx((15 + 15) / 83)
