"""A COLMAP model of the user's: both formats, names, pixels, and what is refused."""

import zlib  # noqa: F401, I001 (must precede pycolmap)

import pycolmap

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from handloom.estimators.sfm.colmap_model import poses_of_colmap_model
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.runtime.errors import InputError

from .footage import HEIGHT, WIDTH, Footage


def write_model(
    folder: Path,
    footage: Footage,
    names: dict[int, str],
    kind: str,
    camera_model: str = "SIMPLE_RADIAL",
    scale: int = 1,
) -> Path:
    """The true poses of some of the footage's frames as COLMAP writes them, images in an order that is not theirs."""
    parameters = {"SIMPLE_RADIAL": [420.0, 163.5, 117.5], "OPENCV": [420.0, 420.0, 163.5, 117.5]}[camera_model]
    values = [scale * value for value in parameters] + {"SIMPLE_RADIAL": [0.01], "OPENCV": [0.0] * 4}[camera_model]
    made = pycolmap.Reconstruction()
    camera = pycolmap.Camera(model=camera_model, width=scale * WIDTH, height=scale * HEIGHT, params=values, camera_id=4)
    made.add_camera_with_trivial_rig(camera)
    rows = list(names)
    for image_id, row in enumerate(reversed(rows), start=1):
        pose = pycolmap.Rigid3d(footage.cam_from_object[row][:3])
        image = pycolmap.Image(name=names[row], camera_id=4, image_id=image_id)
        image.points2D = pycolmap.Point2DList([pycolmap.Point2D(np.array([5.0, 6.0])) for _ in range(40)])
        made.add_image_with_trivial_frame(image, pose)
    generator = np.random.default_rng(0)
    for place in range(40):
        track = pycolmap.Track()
        for image_id in range(1, len(rows) + 1):
            track.add_element(image_id, place)
        made.add_point3D(generator.normal(0, 0.03, 3), track)
    folder.mkdir(parents=True)
    made.write_text(folder) if kind == "txt" else made.write_binary(folder)
    return folder


def poses_of(footage: Footage, model: Path, folder: Path) -> ObjectPoses:
    places = footage.frames, footage.frames_json, folder / "poses.npz", folder / "sheet.png"
    poses_of_colmap_model(model, *places, min_registered=0.5, seed=0, code="")
    return ObjectPoses.load(folder / "poses.npz")


@pytest.mark.parametrize(("kind", "scale"), [("bin", 1), ("txt", 2)])
def test_a_model_gives_each_frame_its_pose(footage: Footage, tmp_path: Path, kind: str, scale: int) -> None:
    """By original names; a model of frames twice as large has its camera made smaller."""
    names = {row: f"shots/shot{row}.jpg" for row in range(14) if row != 6}
    found = poses_of(footage, write_model(tmp_path / "model", footage, names, kind, scale=scale), tmp_path)
    assert np.flatnonzero(~found.registered).tolist() == [6]
    kept = found.registered
    np.testing.assert_allclose(found.cam_from_object[kept], footage.cam_from_object[kept], atol=1e-6)
    np.testing.assert_allclose(found.intrinsics, [[420, 0, 163], [0, 420, 117], [0, 0, 1]], atol=0.26)
    assert found.radial == pytest.approx(0.01)
    assert len(found.points_object) > 20
    assert [path.name for path in tmp_path.glob("*.log")] == []


def test_images_may_be_named_as_the_extracted_frames(footage: Footage, tmp_path: Path) -> None:
    names = {row: f"{row:04d}.png" for row in range(14)}
    found = poses_of(footage, write_model(tmp_path / "model", footage, names, "bin"), tmp_path)
    assert found.registered.all()
    np.testing.assert_allclose(found.cam_from_object, footage.cam_from_object, atol=1e-6)


def test_what_is_no_model_of_these_frames_is_refused(footage: Footage, tmp_path: Path) -> None:
    whole = {row: f"shot{row}.jpg" for row in range(14)}
    few = write_model(tmp_path / "few", footage, {row: whole[row] for row in range(5)}, "bin")
    other = write_model(tmp_path / "other", footage, {row: f"left_{'abcdefghijklmn'[row]}" for row in whole}, "txt")
    fisheye = write_model(tmp_path / "lens", footage, whole, "bin", camera_model="OPENCV")
    broken = write_model(tmp_path / "broken", footage, whole, "bin")
    (broken / "images.bin").write_bytes((broken / "images.bin").read_bytes()[:200])
    (tmp_path / "empty").mkdir()
    for folder, words in (
        (few, r"poses for 5 of 14 frames"),
        (other, r"named neither as the frames"),
        (fisheye, r"OPENCV, expected one of(.|\n)*undistort"),
        (broken, r"reading the COLMAP model"),
        (tmp_path / "empty", "holds no cameras, images and points3D"),
    ):
        with pytest.raises(InputError, match=words):
            poses_of(footage, folder, tmp_path)
    assert not (tmp_path / "poses.npz").exists()


def test_names_that_mean_two_frames_are_refused(footage: Footage, tmp_path: Path) -> None:
    """Every second picture of a folder was used; a model of 0000 to 0007 may be either's."""
    names = tuple(f"{2 * row:04d}.png" for row in range(14))
    replace(footage.taken, names=names).write_list(tmp_path / "frames.json")
    model = write_model(tmp_path / "model", footage, {row: f"{2 * row:04d}.png" for row in range(7)}, "bin")
    with pytest.raises(InputError, match="original and as extracted"):
        poses_of(footage._replace(frames_json=tmp_path / "frames.json"), model, tmp_path)
