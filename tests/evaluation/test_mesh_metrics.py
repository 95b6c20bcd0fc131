"""HOLD's metrics beside the goldens: frames of different sizes, and failed frames."""

import numpy as np
import pytest

from handloom.evaluation.mesh_metrics import (
    FramePoints,
    nearest_distances_m,
    surface_scores,
)


def cloud(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.05, 0.05, (count, 3))


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
