"""Metrics at their edges, beside the goldens: what averages, what does not count, what is not known."""

import math

import numpy as np
import pytest

from handloom.evaluation.pose_metrics import (
    auc,
    mean_over_instances,
    mean_per_joint,
    median_m,
    merge_views,
    mono_m,
    pck_curve,
    rotation_error_deg,
)

QUARTER_ABOUT_Z = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])


def test_mono_m_is_the_mean_of_joint_means_not_of_instances() -> None:
    """Joint 0 is seen once with 10 mm, joint 1 three times with 20 mm: 15 mm, where a micro average gives 17.5."""
    errors = np.zeros((3, 21))
    errors[:, 0], errors[:, 1] = 10, 20
    valid = np.zeros((3, 21))
    valid[0, 0] = 1
    valid[:, 1] = 1
    assert mono_m(errors, valid) == pytest.approx(15)
    assert mean_over_instances(errors, valid) == pytest.approx(17.5)


def test_joints_never_seen_do_not_count_and_the_root_does() -> None:
    errors = np.full((4, 21), 30.0)
    errors[:, 0] = 0  # the root joint
    valid = np.ones((4, 21))
    assert mono_m(errors, valid) == pytest.approx(30 * 20 / 21)
    valid[:, 19] = 0
    per_joint, count = mean_per_joint(errors, valid)
    assert math.isnan(per_joint[19])
    assert count[19] == 0
    assert mono_m(errors, valid) == pytest.approx(30 * 19 / 20)


def test_errors_of_invalid_instances_do_not_leak_even_as_nan() -> None:
    errors, valid = np.full((2, 21), 5.0), np.ones((2, 21))
    errors[0, 3], valid[0, 3] = math.nan, 0
    assert mono_m(errors, valid) == pytest.approx(5)
    assert median_m(errors, valid) == pytest.approx(5)


def test_nothing_valid_gives_nan() -> None:
    errors, valid = np.ones((2, 21)), np.zeros((2, 21))
    for metric in (mono_m, median_m, mean_over_instances, auc):
        assert math.isnan(metric(errors, valid))


@pytest.mark.parametrize(("seen", "expected"), [((1, 1), 5.0), ((1, 0), 0.0), ((0, 1), 10.0), ((0, 0), 5.0)])
def test_merging_averages_what_is_valid(seen: tuple[int, int], expected: float) -> None:
    """A joint that neither view sees gets the plain mean."""
    poses = np.zeros((1, 2, 21, 3))
    poses[0, 1, :, 0] = 10
    valid = np.broadcast_to(np.array(seen, dtype=float)[None, :, None], (1, 2, 21))
    merged = merge_views(poses, valid, np.eye(3))
    np.testing.assert_allclose(merged[0, :, 4, 0], expected)


def test_pck_counts_an_error_on_the_threshold() -> None:
    errors = np.array([[20.0] * 21, [40.0] * 21])
    thresholds = np.array([20.0, 30.0, 40.0])
    assert pck_curve(errors, np.ones((2, 21)), thresholds).tolist() == [0.5, 0.5, 1.0]
    assert auc(errors, np.ones((2, 21)), thresholds) == pytest.approx((0.5 + 0.75) / 2)


@pytest.mark.parametrize("angle_deg", [0.0, 1e-3, 30.0, 179.0])
def test_rotation_error_is_the_angle(angle_deg: float) -> None:
    angle = math.radians(angle_deg)
    turn = np.array([[1, 0, 0], [0, math.cos(angle), -math.sin(angle)], [0, math.sin(angle), math.cos(angle)]])
    assert rotation_error_deg(QUARTER_ABOUT_Z @ turn, QUARTER_ABOUT_Z) == pytest.approx(angle_deg, abs=1e-5)
