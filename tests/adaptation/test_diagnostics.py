"""The curves' figures are the evaluation's figures, and right in a case worked out by hand."""

import numpy as np
import pytest
import roma
import torch
from torch import Tensor, nn

from handloom.adaptation.diagnostics import Curves, PairLabels
from handloom.adaptation.method import Method
from handloom.adaptation.pairs import PairBatch
from handloom.datasets.views import HandLabels
from handloom.evaluation import pose_metrics

from .rig import Rig


class Answers(Method):
    """What a method tells the curves: one network's poses of all pairs, its labels, and its rotation."""

    def __init__(self, joints: Tensor, rotation_12: Tensor, taught: Tensor | None = None) -> None:
        self.joints, self.rotation_12, self.taught = joints, rotation_12, taught

    def answers(self, rows: Tensor) -> dict[str, Tensor]:
        return {"student": self.joints[rows]}

    def rotations(self) -> dict[str, Tensor]:
        return {"rotation": self.rotation_12}

    def labels(self) -> Tensor | None:
        return self.taught

    def step(self, batch: PairBatch, update: int) -> dict[str, Tensor]:
        return {}

    def adapted(self) -> nn.Module:
        return nn.Identity()


def truth(joints: Tensor, valid: Tensor, rotation_12: Tensor) -> PairLabels:
    """Annotations of pairs; key points do not matter here."""
    count = len(joints)
    by_view = joints.transpose(0, 1), valid.double().transpose(0, 1)
    return PairLabels(*by_view, torch.zeros(2, count, 21, 2), torch.zeros(count, dtype=torch.bool), rotation_12)


def figures(method: Method, labels: PairLabels, root_joint: int, pairs: int = 100) -> dict[str, float]:
    return Curves(labels, root_joint, pairs, torch.eye(3)).of(method)


@pytest.mark.parametrize("root_joint", [0, 9])
def test_mono_dual_and_labels_are_those_of_the_evaluation(root_joint: int) -> None:
    g = torch.Generator().manual_seed(root_joint)
    joints = torch.randn(7, 2, 21, 3, generator=g, dtype=torch.float64) * 0.05
    poses = joints * 9 + 0.1 * torch.randn(joints.shape, generator=g, dtype=torch.float64)
    valid = torch.rand(7, 2, 21, generator=g) < 0.6
    valid[:, :, 13] = False
    rotation = roma.rotvec_to_rotmat(torch.randn(3, generator=g, dtype=torch.float64))
    found = figures(Answers(poses, rotation, poses), truth(joints, valid, rotation), root_joint)
    placed = pose_metrics.place_on_ground_truth(poses.numpy(), joints.numpy(), root_joint)
    seen = valid.numpy().astype(float)
    errors = pose_metrics.joint_errors(*placed)
    assert found["student_mono_mm"] == pytest.approx(pose_metrics.mono_m(errors, seen), rel=1e-9)
    assert found["label_error_mm"] == pytest.approx(errors[valid.numpy()].mean(), rel=1e-9)
    dual = pose_metrics.dual_m(*placed, seen, rotation.numpy())
    assert found["student_dual_mm"] == pytest.approx(float(np.asarray(dual)), rel=1e-9)
    assert found["rotation_error_deg"] == pytest.approx(0, abs=1e-5)


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
    poses = (placed_m - 2) / 0.09  # any scale and place: the bone and the root put them back
    found = figures(Answers(poses, rotation, poses), truth(joints, valid, rotation), 0)
    assert found["student_mono_mm"] == pytest.approx(30 / 4 / 21)
    assert found["label_error_mm"] == pytest.approx(30 / 83)
    assert found["student_dual_mm"] == pytest.approx((15 + 15) / 83)


def test_pairs_are_shown_evenly_and_none_is_allowed() -> None:
    joints = torch.randn(9, 2, 21, 3, dtype=torch.float64)
    labels = truth(joints, torch.ones(9, 2, 21), torch.eye(3, dtype=torch.float64))
    assert Curves(labels, 0, 3, torch.eye(3)).shown.tolist() == [0, 4, 8]
    assert set(figures(Answers(joints, torch.eye(3)), labels, 0, pairs=0)) == {"rotation_error_deg"}


def test_labels_are_those_of_the_paired_rows(rig: Rig) -> None:
    views, rows = [HandLabels.load(path) for path in rig.labels], (np.array([3, 5]), np.array([4, 5]))
    found = PairLabels.of(rig.labels, rows)
    for view in range(2):
        np.testing.assert_array_equal(found.joints_m[view], views[view].joints_cam_m[rows[view]])
        np.testing.assert_array_equal(found.valid[view], views[view].joint_valid[rows[view]])
    assert found.is_left.tolist() == [True, True]
    expected = views[0].cam_from_world_rotation[0] @ views[1].cam_from_world_rotation[0].T
    np.testing.assert_allclose(found.rotation_12, expected, atol=1e-9)
