"""Placing predictions on the ground truth: bone length and root, and nothing else."""

import numpy as np
import pytest

from handloom.evaluation.alignment import place_on_ground_truth


@pytest.fixture
def truth_m() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(5, 2, 21, 3)) * 0.05 + np.array([0, 0, 0.5])


@pytest.mark.parametrize("root", [0, 9])
def test_scale_and_translation_do_not_matter(truth_m: np.ndarray, root: int) -> None:
    poses = place_on_ground_truth(7.5 * truth_m - 3, truth_m, root)
    np.testing.assert_allclose(poses.predicted_mm, poses.true_mm, atol=1e-9)
    np.testing.assert_allclose(poses.true_mm, 1000 * (truth_m - truth_m[..., root : root + 1, :]), atol=1e-9)


def test_a_rotation_is_not_removed(truth_m: np.ndarray) -> None:
    """A quarter turn about z stays: the metric is not Procrustes-aligned."""
    quarter = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    poses = place_on_ground_truth(truth_m @ quarter, truth_m, 0)
    np.testing.assert_allclose(poses.predicted_mm, poses.true_mm @ quarter, atol=1e-9)


def test_the_bone_from_wrist_to_middle_finger_gets_its_true_length(truth_m: np.ndarray) -> None:
    prediction = np.random.default_rng(4).normal(size=(5, 2, 21, 3))
    poses = place_on_ground_truth(prediction, truth_m, 9)
    bone = np.linalg.norm(poses.predicted_mm[..., 9, :] - poses.predicted_mm[..., 0, :], axis=-1)
    np.testing.assert_allclose(bone, 1000 * np.linalg.norm(truth_m[..., 9, :] - truth_m[..., 0, :], axis=-1))
