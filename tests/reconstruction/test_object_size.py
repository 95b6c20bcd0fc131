"""Masks move a hand as far as its key points are unsure, what disagrees is told, and a size is between two points."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.reconstruction.object_size import (
    HAND_DEVIATION,
    MASKS_DEVIATION,
    largest_extent,
    points_within_masks,
    size_deviation,
    weighed_distance,
)


def test_masks_count_as_much_as_key_points_are_unsure() -> None:
    sure, half, unsure = (weighed_distance(0.8, confidence).factor for confidence in (1.0, 0.9, 0.0))
    assert 0.9 < sure < 0.93
    assert half == pytest.approx(0.8**0.5)  # at 1 - 0.06 / 0.6 both are equally unsure
    assert 0.8 < unsure < 0.81
    agreed = [weighed_distance(1.0, confidence).deviation for confidence in (1.0, 0.9, 0.0)]
    assert agreed[0] < agreed[1] < agreed[2] < MASKS_DEVIATION


def test_what_disagrees_is_less_sure() -> None:
    agreed, apart, far = (weighed_distance(factor, 0.65).deviation for factor in (1.0, 0.8, 0.5))
    alone = weighed_distance(None, 0.65)
    assert agreed <= apart < far
    assert alone.factor == 1.0
    assert alone.deviation > agreed
    assert HAND_DEVIATION < size_deviation(agreed, held=True) < size_deviation(agreed, held=False)


def test_the_largest_extent_of_a_box_is_its_diagonal() -> None:
    corners = np.stack(np.meshgrid([0.0, 0.3], [0.0, 0.4], [0.0, 1.2], indexing="ij"), -1).reshape(-1, 3)
    inner = np.random.default_rng(0).uniform(0.0, 0.3, (500, 3))
    assert largest_extent(np.concatenate([corners, inner])) == pytest.approx(1.3)
    assert largest_extent(corners[:4] * [0, 1, 1]) == pytest.approx(np.hypot(0.4, 1.2))  # in a plane
    assert largest_extent(corners[:1]) == 0.0


def test_points_that_most_masks_leave_out_are_no_part_of_the_object(tmp_path: Path) -> None:
    """Four frames from far off; a point beside the object, one that a single mask lacks, one out of the picture."""
    points = np.array(
        [[0.0, 0.0, 0.0], [0.2, 0.0, 0.0], [0.0, 0.3, 0.0], [-0.4, 0.0, 0.0], [0.0, 0.0, 0.1], [0.9, 0, 0]]
    )
    pose = np.eye(4)
    pose[2, 3] = 2.0
    intrinsics = np.array([[100.0, 0, 32], [0, 100, 24], [0, 0, 1]])
    thing = ObjectPoses(
        intrinsics, 0.0, np.tile(pose, (6, 1, 1)), np.array([True] * 5 + [False]), points, 0.5, "global"
    )  # fmt: skip
    labels = np.zeros((48, 64), np.uint8)
    labels[20:42, 30:46] = 50
    masks = [tmp_path / f"{frame:04d}.png" for frame in range(6)]
    for frame, path in enumerate(masks):
        shown = labels.copy()
        if frame == 0:
            shown[35:] = 0
        cv2.imwrite(str(path), shown if frame < 5 else 0 * labels)
    np.testing.assert_array_equal(points_within_masks(thing, masks), points[[0, 1, 2, 4, 5]])
    assert len(points_within_masks(thing, [masks[5]] * 6)) == len(points)
