"""HOLD's metrics in closed form, frames of different sizes, and failed frames."""

import numpy as np
import pytest

from handloom.evaluation.frame_points import FramePoints, nearest_distances_m
from handloom.evaluation.mesh_metrics import frame_metrics, surface_scores, vertex_subsets


def cloud(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.05, 0.05, (count, 3))


def lattice() -> np.ndarray:
    """Points 4 cm apart, so that a small shift leaves every nearest neighbour as it is."""
    return 0.04 * np.stack(np.meshgrid(*[np.arange(4.0)] * 3), axis=-1).reshape(-1, 3)


def test_a_small_shift_has_twice_its_square_as_chamfer_distance() -> None:
    points = lattice()
    scores = surface_scores(FramePoints.of_frames([points + np.array([0.007, 0, 0])]), FramePoints.of_frames([points]))
    np.testing.assert_allclose(scores.chamfer_cm2, 2 * 0.7**2)
    np.testing.assert_allclose(scores.f5_pct, 0)
    np.testing.assert_allclose(scores.f10_pct, 100, atol=1e-4)


def test_f_score_is_the_harmonic_mean_of_both_shares() -> None:
    true = lattice()
    predicted = np.concatenate([true[:16], true[:16] + np.array([0, 0, 10]), true[:16] + np.array([0, 0, 20])])
    scores = surface_scores(FramePoints.of_frames([predicted]), FramePoints.of_frames([true]))
    precision, recall = 1 / 3, 16 / 64
    np.testing.assert_allclose(scores.f5_pct, 100 * 2 * precision * recall / (precision + recall), rtol=1e-5)


def test_frames_of_any_size_are_scored_as_if_alone() -> None:
    predicted, true = [cloud(30), cloud(50, 1), cloud(7, 2)], [cloud(40, 3), cloud(20, 4), cloud(9, 5)]
    together = surface_scores(FramePoints.of_frames(predicted), FramePoints.of_frames(true))
    for frame in range(3):
        alone = surface_scores(FramePoints.of_frames([predicted[frame]]), FramePoints.of_frames([true[frame]]))
        assert together.chamfer_cm2[frame] == pytest.approx(alone.chamfer_cm2[0])
        assert together.f10_pct[frame] == pytest.approx(alone.f10_pct[0])


def test_empty_nan_and_invalid_frames_are_nan_and_touch_no_other() -> None:
    good, broken = cloud(30), cloud(30)
    broken[4, 1] = np.nan
    predicted = FramePoints.of_frames([good, broken, np.zeros((0, 3)), good])
    true = FramePoints.of_frames([good] * 4)
    scores = surface_scores(predicted, true, np.array([True, True, True, False]))
    np.testing.assert_array_equal(np.isnan(scores.chamfer_cm2), [False, True, True, True])
    np.testing.assert_array_equal(np.isnan(predicted.bounding_box_centres_m()).any(axis=1), [False, True, True, False])
    assert scores.chamfer_cm2[0] == 0


def test_nearest_points_are_of_the_same_frame_even_far_from_the_origin() -> None:
    points = FramePoints.of_frames([np.array([[0.0, 0, 0]]), np.array([[50.0, 0, 0]])])
    others = FramePoints.of_frames([np.array([[50.0, 0, 0]]), np.array([[0.0, 0, 0]])])
    np.testing.assert_allclose(nearest_distances_m(points, others), 50)


def test_wrist_offset_changes_only_the_hand_relative_metrics() -> None:
    joints = cloud(21)[None].repeat(2, axis=0)
    points = FramePoints.of_frames([lattice()] * 2)
    offset = np.array([0.0, 0.006, 0.0])
    metrics = frame_metrics(joints + offset, points, joints, points, np.array([True, True]))
    np.testing.assert_allclose(metrics.mpjpe_mm, 0, atol=1e-9)
    np.testing.assert_allclose(metrics.chamfer_root_cm2, 0, atol=1e-12)
    np.testing.assert_allclose(metrics.mrrpe_mm, 6)
    np.testing.assert_allclose(metrics.chamfer_hand_cm2, 2 * 0.6**2)


def test_wrist_counts_in_the_mean_over_joints() -> None:
    true = cloud(21)[None]
    predicted = true.copy()
    predicted[0, 1:] += [0.021, 0, 0]
    points = FramePoints.of_frames([lattice()])
    metrics = frame_metrics(predicted, points, true, points, np.array([True]))
    np.testing.assert_allclose(metrics.mpjpe_mm, 21 * 20 / 21)


def test_at_most_3000_vertices_are_compared() -> None:
    predicted, true = vertex_subsets(
        FramePoints.of_frames([cloud(4000), cloud(10)]), FramePoints.of_frames([cloud(3001)] * 2)
    )
    np.testing.assert_array_equal(predicted.counts, [3000, 10])
    np.testing.assert_array_equal(true.counts, [3000, 3000])
