"""Gaps, points, pairs, distortion and known poses: what needs no reconstruction."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from handloom.estimators.sfm.distortion import undistort_sequence, undistorted_image, undistorted_points
from handloom.estimators.sfm.image_pairs import frame_pairs
from handloom.estimators.sfm.known_poses import known_object_poses, poses_from_ho3d
from handloom.estimators.sfm.point_cloud import trimmed_points
from handloom.estimators.sfm.sparse_model import SparseModel, from_reconstruction
from handloom.estimators.sfm.trajectory import filled_poses
from handloom.runtime.artifacts import Header, read_arrays, write_arrays
from handloom.runtime.config.sfm import PairSettings
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
    # Without the pivot the translation itself is linear, which is another path.
    plain = filled_poses(given, registered)
    np.testing.assert_allclose(plain[3, :3, 3], poses[2, :3, 3] + (poses[5, :3, 3] - poses[2, :3, 3]) / 3)
    assert np.abs(plain[3] - poses[3]).max() > 1e-3
    with pytest.raises(InputError, match="no frame is registered"):
        filled_poses(given, np.zeros(9, bool))


def test_points_beyond_the_quantile_are_trimmed() -> None:
    points = np.concatenate([np.eye(3), -np.eye(3), np.zeros((1, 3)), [[1.4, 0, 0], [1.6, 0, 0], [0, 99.0, 0]]])
    kept = trimmed_points(points, quantile=0.7, factor=1.5)
    median = np.median(points, 0)
    limit = 1.5 * np.quantile(np.linalg.norm(points - median, axis=1), 0.7)
    assert (np.linalg.norm(kept - median, axis=1) < limit).all()
    assert [99.0 in point for point in kept].count(True) == 0
    assert len(kept) == 9 - int(1.6 - median[0] >= limit)


def test_pairs_are_all_or_a_window_with_loops() -> None:
    assert len(frame_pairs(10, PairSettings(exhaustive_up_to=10))) == 45
    pairs = {
        tuple(pair) for pair in frame_pairs(60, PairSettings(exhaustive_up_to=10, window=3, loop_stride=20)).tolist()
    }
    expected = {
        (i, j)
        for i in range(60)
        for j in range(i + 1, 60)
        if j - i <= 3 or j - i in (6, 12, 24, 48) or (i % 20 == 0 and j % 20 == 0)
    }
    assert pairs == expected
    assert len(pairs) < 60 * 59 / 2


def test_distorted_points_and_pictures_are_undone(tmp_path: Path) -> None:
    radial = -0.15
    ideal = np.array([[10.0, 20.0], [79.5, 59.5], [140.0, 100.0], [np.nan, np.nan]])
    plane = (ideal - K[:2, 2]) / 300
    seen = plane * (1 + radial * np.square(plane).sum(1, keepdims=True)) * 300 + K[:2, 2]
    assert np.nanmax(np.abs(seen - ideal)) > 0.5
    np.testing.assert_allclose(undistorted_points(seen, K, radial), ideal, atol=1e-3)
    np.testing.assert_array_equal(undistorted_points(seen, K, 0.0), seen)
    image = np.zeros((120, 160), np.uint8)
    column, row = seen[2]
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
    write_arrays(tmp_path / "p.npz", {"radial": np.array(radial), "intrinsics": K}, Header("object_poses"))
    out = tmp_path / "out_frames", tmp_path / "out_masks"
    undistort_sequence(tmp_path / "frames", tmp_path / "masks", tmp_path / "p.npz", *out)
    before, after = read_rgb(tmp_path / "frames/0001.png"), read_rgb(out[0] / "0001.png")
    labels = read_grey(out[1] / "0001.png")
    assert set(np.unique(labels)) <= {0, 50, 150}
    assert np.array_equal(before, after) == (radial == 0)
    np.testing.assert_array_equal(after, undistorted_image(before, K, radial))


class FakePose(SimpleNamespace):
    def matrix(self) -> np.ndarray:
        return self.rows


def test_frames_are_found_by_name_not_by_id(tmp_path: Path) -> None:
    """COLMAP's ids need not follow the names; facts/hold.md 1.7's index = id - 1 would swap these frames."""

    def image(name: str, depth: float, seen: int) -> SimpleNamespace:
        rows = np.hstack([np.eye(3), [[0], [0], [depth]]])
        return SimpleNamespace(name=name, camera_id=7, num_points3D=seen, cam_from_world=lambda: FakePose(rows=rows))

    calibration = np.array([[500.0, 0, 80], [0, 500, 60], [0, 0, 1]])
    camera = SimpleNamespace(
        calibration_matrix=lambda: calibration, params=[500, 80, 60, 0.1], model=SimpleNamespace(name="SIMPLE_RADIAL")
    )
    reconstruction = SimpleNamespace(
        images={1: image("0002.png", 2.0, 20), 2: image("0000.png", 1.0, 10), 3: image("x", 9, 0)},
        cameras={7: camera},
        points3D={4: SimpleNamespace(xyz=np.arange(3.0))},
        reg_image_ids=lambda: [1, 2],
        compute_mean_reprojection_error=lambda: 0.4,
    )
    model = from_reconstruction(reconstruction, ["0000.png", "0001.png", "0002.png"], np.array([5, 6, 7]), "global")
    assert model.registered.tolist() == [True, False, True]
    assert model.cam_from_object[[0, 2], 2, 3].tolist() == [1.0, 2.0]
    assert model.observed.tolist() == [10, 0, 20]
    np.testing.assert_allclose(model.intrinsics[:2, 2], [79.5, 59.5])
    assert model.radial == 0.1
    model.write(tmp_path / "model.npz")
    again = SparseModel.read(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.cam_from_object, model.cam_from_object)
    assert (again.mapper, again.radial) == ("global", 0.1)


def test_annotated_poses_become_opencv_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rotvec, translation = np.zeros((4, 3)), np.tile([0.1, 0.2, -0.5], (4, 1))
    rotvec[:, 2] = [0, 0.2, np.nan, 0.6]
    poses = poses_from_ho3d(rotvec, translation)
    point = np.array([0.3, 0.1, 0.2])
    opengl = Rotation.from_rotvec(rotvec[1]).apply(point) + translation[1]
    np.testing.assert_allclose(poses[1, :3, :3] @ point + poses[1, :3, 3], opengl * [1, -1, -1])
    assert np.isnan(poses[2]).all()
    points = np.random.default_rng(0).normal(size=(5000, 3))
    known_object_poses(K, poses, points, tmp_path / "object_poses.npz")
    arrays, header = read_arrays(tmp_path / "object_poses.npz", "object_poses")
    assert arrays["registered"].tolist() == [True, True, False, True]
    assert len(arrays["points_object"]) == 2000
    middle = Rotation.from_matrix(np.diag([1.0, -1, -1]) @ arrays["cam_from_object"][2, :3, :3]).as_rotvec()
    np.testing.assert_allclose(middle, [0, 0, 0.4], atol=1e-9)
    assert header.extra["interpolated"] == "2"
    assert "1 of 4" in capsys.readouterr().err
    with pytest.raises(InputError, match="1 of 4 frames"):
        known_object_poses(K, poses, points, tmp_path / "o.npz", valid=np.array([True, False, True, False]))
