"""Gaps, points and distortion of the poses that a backend leaves."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from handloom.datasets.frames import Frames
from handloom.estimators.sfm.object_poses import (
    ObjectPoses,
    filled_poses,
    trimmed_points,
    undistort_sequence,
    undistorted_image,
)
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_grey, read_rgb

K = np.array([[300.0, 0, 79.5], [0, 300.0, 59.5], [0, 0, 1]])


def constant_motion(frames: int) -> np.ndarray:
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(np.outer(np.arange(frames), [0.02, 0.1, -0.05])).as_matrix()
    # The point (1, 2, 3) of the object moves straight; the object's origin does not.
    pivot_cam = np.outer(np.arange(frames), [0.1, 0.0, 0.2]) + np.array([0, 0, 5])
    poses[:, :3, 3] = pivot_cam - poses[:, :3, :3] @ np.array([1.0, 2, 3])
    return poses


def test_gaps_of_a_constant_motion_are_filled_exactly_and_ends_held() -> None:
    poses = constant_motion(9)
    registered = np.array([0, 1, 1, 0, 0, 1, 1, 0, 0], bool)
    given = np.where(registered[:, None, None], poses, np.nan)
    filled = filled_poses(given, registered, np.array([1.0, 2, 3]))
    np.testing.assert_allclose(filled[1:7], poses[1:7], atol=1e-12)
    np.testing.assert_allclose(filled[0], poses[1])
    np.testing.assert_allclose(filled[7:], poses[[6, 6]])
    # With the origin for a pivot, as HOLD has it, the translation itself is linear, which is another path.
    plain = filled_poses(given, registered, np.zeros(3))
    np.testing.assert_allclose(plain[3, :3, 3], poses[2, :3, 3] + (poses[5, :3, 3] - poses[2, :3, 3]) / 3)
    assert np.abs(plain[3] - poses[3]).max() > 1e-3


def test_frames_in_short_gaps_are_posed_and_those_beyond_the_part_are_not() -> None:
    """What is not posed goes into no build folder: a pose held or interpolated over a cut is wrong."""
    registered = np.array([0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], bool)
    poses = replace(poses_of(0.0), cam_from_object=np.tile(np.eye(4), (13, 1, 1)), registered=registered)
    assert np.flatnonzero(~poses.posed).tolist() == [0, 7, 8, 9, 10, 12]


def test_points_beyond_the_quantile_are_trimmed() -> None:
    points = np.random.default_rng(0).normal(size=(200, 3))
    points[:20] *= 10
    distance = np.linalg.norm(points - np.median(points, 0), axis=1)
    kept = trimmed_points(points)
    np.testing.assert_array_equal(kept, points[distance < 1.5 * np.quantile(distance, 0.8)])
    assert 150 < len(kept) < 200


def poses_of(radial: float) -> ObjectPoses:
    return ObjectPoses(
        intrinsics=K,
        radial=radial,
        cam_from_object=np.tile(np.eye(4), (2, 1, 1)),
        registered=np.ones(2, bool),
        points_object=np.zeros((1, 3)),
        reprojection_px=0.0,
        mapper="test",
    )


def test_distorted_pictures_are_straightened() -> None:
    radial = -0.15
    ideal = np.array([140.0, 100.0])
    plane = (ideal - K[:2, 2]) / 300
    seen = plane * (1 + radial * np.square(plane).sum()) * 300 + K[:2, 2]
    assert np.abs(seen - ideal).max() > 0.5
    image = np.zeros((120, 160), np.uint8)
    column, row = seen
    image[round(row) - 1 : round(row) + 2, round(column) - 1 : round(column) + 2] = 50
    rows, columns = np.nonzero(undistorted_image(image, K, radial))
    assert abs(columns.mean() - 140) < 1
    assert abs(rows.mean() - 100) < 1


@pytest.mark.parametrize("radial", [0.0, -0.6])
def test_sequence_is_undistorted_with_its_masks(tmp_path: Path, radial: float) -> None:
    generator = np.random.default_rng(0)
    for folder, shape in (("frames", (120, 160, 3)), ("masks", (120, 160))):
        (tmp_path / folder).mkdir()
        for number in range(2):
            values = generator.choice(np.array([0, 50, 150], np.uint8), shape)
            Image.fromarray(values).save(tmp_path / folder / f"{number:04d}.png")
    poses_of(radial).save(tmp_path / "p.npz")
    out = tmp_path / "out_frames", tmp_path / "out_masks"
    frames = Frames(tmp_path / "frames", ("a", "b"), (0.0, 0.1), "test", 160, 120, "test", None)
    undistort_sequence(frames, tmp_path / "masks", tmp_path / "p.npz", *out)
    before, after = read_rgb(tmp_path / "frames/0001.png"), read_rgb(out[0] / "0001.png")
    labels = read_grey(out[1] / "0001.png")
    assert set(np.unique(labels)) <= {0, 50, 150}
    assert np.array_equal(before, after) == (radial == 0)
    np.testing.assert_array_equal(after, undistorted_image(before, K, radial))


def test_a_camera_that_is_no_number_is_refused(tmp_path: Path) -> None:
    """Protects the pictures: a NaN in the distortion would undistort every frame into one colour, without a word."""
    poses_of(np.nan).save(tmp_path / "p.npz")
    with pytest.raises(InputError, match=r"p\.npz: radial is nan: .*finite"):
        ObjectPoses.load(tmp_path / "p.npz")
