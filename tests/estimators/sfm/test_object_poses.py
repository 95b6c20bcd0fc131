"""Structure from motion of a masked object: how right it is, and how it fails."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handloom.estimators.sfm import job as job_module
from handloom.estimators.sfm.object_poses import camera_model, estimate_object_poses
from handloom.estimators.sfm.picture import object_pose_sheet
from handloom.runtime.artifacts import read_arrays
from handloom.runtime.config.sfm import SfmSettings
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_grey, read_rgb

from .footage import HEIGHT, INTRINSICS, WIDTH, Footage, turning_box


def rotation_errors_deg(estimated: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Errors after the one rotation between the two object frames is taken out."""
    between = Rotation.from_matrix(true[:, :3, :3].transpose(0, 2, 1) @ estimated[:, :3, :3]).mean().as_matrix()
    left = (true[:, :3, :3] @ between).transpose(0, 2, 1) @ estimated[:, :3, :3]
    return np.degrees(Rotation.from_matrix(left).magnitude())


def translation_errors_m(estimated: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Errors after the similarity between the two object frames: s t = R b + t_true in the least squares sense."""
    system = np.concatenate([estimated[:, :3, 3].reshape(-1, 1), -true[:, :3, :3].reshape(-1, 3)], 1)
    solution = np.linalg.lstsq(system, true[:, :3, 3].reshape(-1), rcond=None)[0]
    return np.linalg.norm((system @ solution - true[:, :3, 3].reshape(-1)).reshape(-1, 3), axis=1)


@pytest.fixture(scope="module")
def with_known_camera(footage: Footage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("known") / "object_poses.npz"
    estimate_object_poses(SfmSettings(), footage.frames, footage.masks, output, known_intrinsics=INTRINSICS, seed=0)
    return output


def test_poses_are_right_when_the_camera_is_known(footage: Footage, with_known_camera: Path) -> None:
    arrays, header = read_arrays(with_known_camera, "object_poses")
    assert arrays["registered"].all()
    np.testing.assert_allclose(arrays["intrinsics"], INTRINSICS, atol=1e-9)
    assert arrays["radial"] == 0
    assert rotation_errors_deg(arrays["cam_from_object"], footage.cam_from_object).mean() < 1.0
    assert translation_errors_m(arrays["cam_from_object"], footage.cam_from_object).max() < 0.008
    assert 0 < arrays["reprojection_px"] < 0.8
    assert len(arrays["points_object"]) > 100
    assert header.extra["registered"] == f"{len(arrays['registered'])} of {len(arrays['registered'])}"


def test_points_lie_on_the_object_in_every_frame(footage: Footage, with_known_camera: Path) -> None:
    """Guards the sense of the pose and the mapping by name: either, if wrong, would move points off the mask."""
    arrays, _ = read_arrays(with_known_camera, "object_poses")
    for path, pose in zip(sorted(footage.masks.iterdir()), arrays["cam_from_object"], strict=True):
        camera = arrays["points_object"] @ pose[:3, :3].T + pose[:3, 3]
        pixels = camera @ arrays["intrinsics"].T
        column, row = np.rint(pixels[:, :2] / pixels[:, 2:]).astype(int).T
        mask = read_grey(path) == 50
        assert mask[row.clip(0, HEIGHT - 1), column.clip(0, WIDTH - 1)].mean() > 0.93


def test_camera_is_estimated_and_runs_are_equal(footage: Footage, tmp_path: Path) -> None:
    outputs = [tmp_path / "first.npz", tmp_path / "second.npz"]
    for output in outputs:
        estimate_object_poses(SfmSettings(), footage.frames, footage.masks, output, known_intrinsics=None, seed=0)
    arrays, _ = read_arrays(outputs[0], "object_poses")
    assert arrays["intrinsics"][0, 0] == pytest.approx(INTRINSICS[0, 0], rel=0.15)
    np.testing.assert_allclose(arrays["intrinsics"][:2, 2], [(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    assert rotation_errors_deg(arrays["cam_from_object"], footage.cam_from_object).mean() < 2.0
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_incremental_mapper_finds_the_poses_too(footage: Footage, tmp_path: Path) -> None:
    output = tmp_path / "object_poses.npz"
    settings = SfmSettings(mapper="incremental")
    estimate_object_poses(settings, footage.frames, footage.masks, output, known_intrinsics=INTRINSICS, seed=0)
    arrays, header = read_arrays(output, "object_poses")
    assert header.extra["mapper"] == "incremental"
    assert rotation_errors_deg(arrays["cam_from_object"], footage.cam_from_object).mean() < 2.0


def test_a_blank_frame_is_interpolated_and_counted(
    footage: Footage, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    frames = tmp_path / "frames"
    shutil.copytree(footage.frames, frames)
    blurred = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    from PIL import Image

    Image.fromarray(blurred).save(frames / "0005.png")
    output = tmp_path / "object_poses.npz"
    estimate_object_poses(SfmSettings(), frames, footage.masks, output, known_intrinsics=INTRINSICS, seed=0)
    arrays, header = read_arrays(output, "object_poses")
    assert not arrays["registered"][5]
    assert arrays["registered"].sum() == len(arrays["registered"]) - 1
    assert header.extra["interpolated"] == "0005.png"
    assert "0005.png" in capfd.readouterr().err
    assert rotation_errors_deg(arrays["cam_from_object"], footage.cam_from_object)[5] < 3


def test_an_object_without_texture_is_an_error(tmp_path: Path) -> None:
    plain = turning_box(tmp_path, frames=5, plain=True)
    with pytest.raises(InputError, match=r"no texture.*sfm\.peak_threshold"):
        estimate_object_poses(
            SfmSettings(), plain.frames, plain.masks, tmp_path / "out.npz", known_intrinsics=INTRINSICS, seed=0
        )
    assert not (tmp_path / "out.npz").exists()


def test_too_few_registered_frames_are_an_error(tmp_path: Path) -> None:
    """Half of the frames jump by 75 degrees each, so that nothing joins them to the others."""
    near, far = turning_box(tmp_path / "near", frames=4), turning_box(tmp_path / "far", frames=6, step_deg=75)
    for kind in ("frames", "masks"):
        for number, path in enumerate(sorted((tmp_path / "far" / kind).iterdir())[1:], start=4):
            shutil.copyfile(path, tmp_path / "near" / kind / f"{number:04d}.png")
    with pytest.raises(InputError, match=r"registered [0-6] of 9 frames.*sfm\.mapper"):
        estimate_object_poses(
            SfmSettings(), near.frames, near.masks, tmp_path / "out.npz", known_intrinsics=INTRINSICS, seed=0
        )
    assert far.frames.is_dir()


def test_empty_masks_and_mixed_sizes_are_errors(footage: Footage, tmp_path: Path) -> None:
    from PIL import Image

    masks, frames = tmp_path / "masks", tmp_path / "frames"
    shutil.copytree(footage.masks, masks)
    for number in range(6):
        Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(masks / f"{number:04d}.png")
    with pytest.raises(InputError, match="empty in 6 of 14 frames"):
        estimate_object_poses(SfmSettings(), footage.frames, masks, tmp_path / "a", known_intrinsics=None, seed=0)
    shutil.copytree(footage.frames, frames)
    Image.fromarray(np.zeros((HEIGHT, WIDTH + 2, 3), np.uint8)).save(frames / "0003.png")
    with pytest.raises(InputError, match=r"1 frames differ in size.*0003\.png"):
        estimate_object_poses(SfmSettings(), frames, footage.masks, tmp_path / "a", known_intrinsics=None, seed=0)


def test_a_backend_that_dies_or_hangs_is_an_error(
    footage: Footage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pycolmap aborts its process where others raise; the run must go on to say so."""
    for text, match in (
        ("echo broken; kill -ABRT $$", r"died of SIGABRT(.|\n)*broken"),
        ("exec sleep 60", "time_limit_s"),
    ):
        script = tmp_path / "python"
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)
        monkeypatch.setattr(job_module.sys, "executable", str(script))
        settings = SfmSettings(time_limit_s=2.0)
        with pytest.raises(InputError, match=match):
            estimate_object_poses(
                settings, footage.frames, footage.masks, tmp_path / "o.npz", known_intrinsics=INTRINSICS, seed=0
            )


def test_compression_works_after_the_import_of_pycolmap(tmp_path: Path) -> None:
    """The wheel's own zlib breaks these calls unless zlib is loaded first (facts/assets.md C)."""
    code = (
        "import handloom.estimators.sfm.pycolmap_backend, sys, zlib, numpy as np, cv2\n"
        "from PIL import Image\n"
        "from pathlib import Path\n"
        "folder = Path(sys.argv[1]); image = np.arange(30000, dtype=np.uint32).astype(np.uint8).reshape(100, 100, 3)\n"
        "assert cv2.imwrite(str(folder / 'a.png'), image)\n"
        "Image.fromarray(image).save(folder / 'b.png')\n"
        "np.savez_compressed(folder / 'c.npz', image=image)\n"
        "assert zlib.decompress(zlib.compress(b'x' * 9999)) == b'x' * 9999\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=120)
    image = np.arange(30000, dtype=np.uint32).astype(np.uint8).reshape(100, 100, 3)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), image[..., ::-1])
    np.testing.assert_array_equal(read_rgb(tmp_path / "b.png"), image)
    with np.load(tmp_path / "c.npz") as archive:
        np.testing.assert_array_equal(archive["image"], image)


def test_distortion_is_estimated_only_where_it_can_be() -> None:
    labels = np.zeros((2, 90, 120), np.uint8)
    labels[0, 40:50, 50:70] = 50
    assert camera_model(SfmSettings(), labels, None) == "SIMPLE_PINHOLE"
    labels[1, 5:9, 3:6] = 50
    assert camera_model(SfmSettings(), labels, None) == "SIMPLE_RADIAL"
    assert camera_model(SfmSettings(camera_model="SIMPLE_PINHOLE"), labels, None) == "SIMPLE_PINHOLE"
    assert camera_model(SfmSettings(), labels, np.eye(3)) == "PINHOLE"


def test_picture_shows_points_on_the_object(footage: Footage, with_known_camera: Path, tmp_path: Path) -> None:
    object_pose_sheet(footage.frames, with_known_camera, tmp_path / "sheet.png", tiles=4, columns=2)
    sheet = read_rgb(tmp_path / "sheet.png").astype(int)
    assert sheet.shape == (2 * HEIGHT, 2 * WIDTH, 3)
    changed = np.abs(sheet[:HEIGHT, :WIDTH] - read_rgb(footage.frames / "0000.png")).max(-1) > 40
    mask = read_grey(footage.masks / "0000.png") > 0
    changed[:24, :60] = False  # the frame's name
    assert changed[mask].mean() > 0.05
    assert changed[~mask].mean() < 0.01
