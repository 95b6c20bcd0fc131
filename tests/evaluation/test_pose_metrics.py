"""Metrics in closed form, above all the order in which they average."""

import math

import numpy as np
import pytest

from handloom.evaluation.pose_metrics import (
    auc,
    dual_m,
    euler_angles,
    joint_errors,
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


def test_dual_m_is_the_mean_of_instances_over_both_views() -> None:
    """With a perfect partner view nothing is merged away: validity decides, and all instances weigh the same."""
    truth = np.zeros((3, 2, 21, 3))
    predicted = truth.copy()
    predicted[0, 0, 0] = [10, 0, 0]
    predicted[:, 0, 1] = [0, 20, 0]
    valid = np.zeros((3, 2, 21))
    valid[0, 0, 0] = 1
    valid[:, 0, 1] = 1
    assert dual_m(predicted, truth, valid, np.eye(3)) == pytest.approx(17.5)


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


def test_joint_errors_are_euclidean() -> None:
    predicted = np.zeros((1, 21, 3))
    predicted[0, 5] = [2, 3, 6]
    assert joint_errors(predicted, np.zeros((1, 21, 3)))[0, 5] == 7


def test_views_are_merged_in_each_views_own_frame() -> None:
    """p2 = p1 R12 exactly: merging changes nothing, in either view."""
    pose_1 = np.random.default_rng(0).normal(size=(4, 21, 3))
    poses = np.stack([pose_1, pose_1 @ QUARTER_ABOUT_Z], axis=1)
    valid = (np.random.default_rng(1).random((4, 2, 21)) > 0.5) * 1.0
    np.testing.assert_allclose(merge_views(poses, valid, QUARTER_ABOUT_Z), poses, atol=1e-12)


@pytest.mark.parametrize(("seen", "expected"), [((1, 1), 5.0), ((1, 0), 0.0), ((0, 1), 10.0), ((0, 0), 5.0)])
def test_merging_averages_what_is_valid(seen: tuple[int, int], expected: float) -> None:
    """A joint that neither view sees gets the plain mean."""
    poses = np.zeros((1, 2, 21, 3))
    poses[0, 1, :, 0] = 10
    valid = np.broadcast_to(np.array(seen, dtype=float)[None, :, None], (1, 2, 21))
    merged = merge_views(poses, valid, np.eye(3))
    np.testing.assert_allclose(merged[0, :, 4, 0], expected)


def test_every_pair_can_have_its_own_rotation() -> None:
    pose_1 = np.random.default_rng(2).normal(size=(2, 21, 3))
    rotations = np.stack([np.eye(3), QUARTER_ABOUT_Z])
    poses = np.stack([pose_1, pose_1 @ rotations], axis=1)
    assert dual_m(poses, poses, np.ones((2, 2, 21)), rotations) == pytest.approx(0, abs=1e-12)
    assert dual_m(poses, poses, np.ones((2, 2, 21)), np.eye(3)) > 0.1


def test_pck_counts_an_error_on_the_threshold() -> None:
    errors = np.array([[20.0] * 21, [40.0] * 21])
    thresholds = np.array([20.0, 30.0, 40.0])
    assert pck_curve(errors, np.ones((2, 21)), thresholds).tolist() == [0.5, 0.5, 1.0]
    assert auc(errors, np.ones((2, 21)), thresholds) == pytest.approx((0.5 + 0.75) / 2)


def test_auc_is_one_for_perfect_poses_and_zero_for_hopeless_ones() -> None:
    assert auc(np.zeros((2, 21)), np.ones((2, 21))) == 1
    assert auc(np.full((2, 21), 51.0), np.ones((2, 21))) == 0


def test_median_is_per_joint() -> None:
    errors = np.zeros((3, 21))
    errors[:, 0] = [1, 2, 300]
    assert median_m(errors, np.ones((3, 21))) == pytest.approx(2 / 21)


def test_euler_angles_of_turns_about_one_axis() -> None:
    angle = 0.3
    turn = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    np.testing.assert_allclose(euler_angles(turn), [0, 0, angle], atol=1e-12)


@pytest.mark.parametrize("angle_deg", [0.0, 1e-3, 30.0, 179.0])
def test_rotation_error_is_the_angle(angle_deg: float) -> None:
    angle = math.radians(angle_deg)
    turn = np.array([[1, 0, 0], [0, math.cos(angle), -math.sin(angle)], [0, math.sin(angle), math.cos(angle)]])
    assert rotation_error_deg(QUARTER_ABOUT_Z @ turn, QUARTER_ABOUT_Z) == pytest.approx(angle_deg, abs=1e-5)
