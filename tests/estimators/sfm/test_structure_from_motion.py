"""Structure from motion of a masked object: how right it is, and how it fails."""

import inspect
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from handloom.estimators.sfm import BACKENDS, structure_from_motion
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.estimators.sfm.sparse_model import SparseModel, from_reconstruction
from handloom.estimators.sfm.structure_from_motion import camera_model, estimate_object_poses, frame_pairs
from handloom.runtime.config.hold_stages import PairSettings, SfmSettings
from handloom.runtime.config.sequences import SequenceSettings
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_grey, read_rgb
from handloom.runtime.stages import stage_function

from .footage import HEIGHT, INTRINSICS, WIDTH, Footage, listed, turning_box


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


def poses_of(footage: Footage, folder: Path, settings: SfmSettings | None = None) -> ObjectPoses:
    """What the stage writes."""
    places = footage.frames, footage.frames_json, footage.masks, folder / "object_poses.npz", folder / "sheet.png"
    estimate_object_poses(settings or SfmSettings(), *places, seed=0, threads=2, code="")
    return ObjectPoses.load(folder / "object_poses.npz")


@pytest.fixture(scope="module")
def known_folder(footage: Footage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("known")
    poses_of(footage, folder)
    return folder


def test_poses_are_right_when_the_camera_is_known(footage: Footage, known_folder: Path) -> None:
    poses = ObjectPoses.load(known_folder / "object_poses.npz")
    assert poses.registered.all()
    np.testing.assert_allclose(poses.intrinsics, INTRINSICS, atol=1e-9)
    assert poses.radial == 0
    assert rotation_errors_deg(poses.cam_from_object, footage.cam_from_object).mean() < 1.0
    assert translation_errors_m(poses.cam_from_object, footage.cam_from_object).max() < 0.008
    assert 0 < poses.reprojection_px < 0.8
    assert len(poses.points_object) > 100
    assert poses.median_features is not None
    assert poses.median_features > 100


def test_points_lie_on_the_object_in_every_frame(footage: Footage, known_folder: Path) -> None:
    """Guards the sense of the pose and the mapping by name: either, if wrong, would move points off the mask."""
    poses = ObjectPoses.load(known_folder / "object_poses.npz")
    for path, pose in zip(sorted(footage.masks.iterdir()), poses.cam_from_object, strict=True):
        camera = poses.points_object @ pose[:3, :3].T + pose[:3, 3]
        pixels = camera @ poses.intrinsics.T
        column, row = np.rint(pixels[:, :2] / pixels[:, 2:]).astype(int).T
        mask = read_grey(path) == 50
        assert mask[row.clip(0, HEIGHT - 1), column.clip(0, WIDTH - 1)].mean() > 0.93


def test_picture_shows_points_on_the_object(footage: Footage, known_folder: Path) -> None:
    sheet = read_rgb(known_folder / "sheet.png").astype(int)
    assert sheet.shape == (3 * HEIGHT, 4 * WIDTH, 3)
    changed = np.abs(sheet[:HEIGHT, :WIDTH] - read_rgb(footage.frames / "0000.png")).max(-1) > 40
    mask = read_grey(footage.masks / "0000.png") > 0
    changed[:24, :60] = False  # the frame's name
    assert changed[mask].mean() > 0.05
    assert changed[~mask].mean() < 0.01


def test_camera_is_estimated_and_runs_are_equal(footage: Footage, tmp_path: Path) -> None:
    replace(footage.taken, intrinsics=None, focal_px=380.0).write_list(tmp_path / "unknown.json")
    unknown = footage._replace(frames_json=tmp_path / "unknown.json")
    poses, _ = (poses_of(unknown, tmp_path / name) for name in ("first", "second"))
    assert poses.intrinsics[0, 0] == pytest.approx(INTRINSICS[0, 0], rel=0.15)
    assert poses.focal_guess == "the 380 px that the files' metadata tell"
    np.testing.assert_allclose(poses.intrinsics[:2, 2], [(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    assert rotation_errors_deg(poses.cam_from_object, footage.cam_from_object).mean() < 2.0
    written = [(tmp_path / name / "object_poses.npz").read_bytes() for name in ("first", "second")]
    assert written[0] == written[1]


def test_incremental_mapper_finds_the_poses_too(footage: Footage, tmp_path: Path) -> None:
    poses = poses_of(footage, tmp_path, SfmSettings(mapper="incremental"))
    assert poses.mapper == "incremental"
    assert rotation_errors_deg(poses.cam_from_object, footage.cam_from_object).mean() < 2.0


def test_a_blank_frame_is_interpolated_and_counted(
    footage: Footage, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(footage.frames, tmp_path / "frames")
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), 128, np.uint8)).save(tmp_path / "frames" / "0005.png")
    poses = poses_of(footage._replace(frames=tmp_path / "frames"), tmp_path)
    assert not poses.registered[5]
    assert poses.registered.sum() == len(poses.registered) - 1
    assert "1 of 14 object poses interpolated: 0005.png" in capfd.readouterr().err
    assert rotation_errors_deg(poses.cam_from_object, footage.cam_from_object)[5] < 3


def test_an_object_without_texture_is_an_error(tmp_path: Path) -> None:
    plain = turning_box(tmp_path, frames=5, plain=True)
    with pytest.raises(InputError, match=r"no texture.*sfm\.peak_threshold"):
        poses_of(plain, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_frames_that_nothing_joins_are_left_out_or_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Half of the frames jump by 75 degrees each, so that nothing joins them to the others."""
    near, far = turning_box(tmp_path / "near", frames=4), turning_box(tmp_path / "far", frames=6, step_deg=75)
    for kind in ("frames", "masks"):
        for number, path in enumerate(sorted((tmp_path / "far" / kind).iterdir())[1:], start=4):
            shutil.copyfile(path, tmp_path / "near" / kind / f"{number:04d}.png")
    both = listed(tmp_path / "near", 9, np.concatenate([near.cam_from_object, far.cam_from_object[1:]]), INTRINSICS)
    with pytest.raises(InputError, match=r"registered [34] of 9 frames.*sfm\.mapper"):
        poses_of(both, tmp_path / "out", SfmSettings(min_registered=0.7))
    poses = poses_of(both, tmp_path / "out")
    assert not poses.posed[4:].any()
    assert rotation_errors_deg(poses.cam_from_object[:3], both.cam_from_object[:3]).mean() < 2
    assert re.search(r"[56] of 9 frames are left out", capfd.readouterr().err)


def test_empty_masks_are_errors(footage: Footage, tmp_path: Path) -> None:
    shutil.copytree(footage.masks, tmp_path / "masks")
    for number in range(10):
        Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(tmp_path / "masks" / f"{number:04d}.png")
    with pytest.raises(InputError, match="empty in 10 of 14 frames"):
        poses_of(footage._replace(masks=tmp_path / "masks"), tmp_path)


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
        monkeypatch.setattr(structure_from_motion.sys, "executable", str(script))
        with pytest.raises(InputError, match=match):
            poses_of(footage, tmp_path, SfmSettings(time_limit_s=2.0))


def test_compression_works_after_the_import_of_pycolmap(tmp_path: Path) -> None:
    """The wheel's own zlib breaks these calls unless zlib is loaded first."""
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


def test_distortion_is_estimated_only_where_it_can_be(footage: Footage) -> None:
    known = footage.taken
    unknown = replace(known, intrinsics=None)
    labels = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    labels[0, 100:140, 130:180] = 50
    assert camera_model(SfmSettings(), labels, unknown) == "SIMPLE_PINHOLE"
    labels[1, 10:20, 8:16] = 50
    assert camera_model(SfmSettings(), labels, unknown) == "SIMPLE_RADIAL"
    assert camera_model(SfmSettings(camera_model="SIMPLE_PINHOLE"), labels, unknown) == "SIMPLE_PINHOLE"
    assert camera_model(SfmSettings(), labels, known) == "PINHOLE"


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


class FakePose(SimpleNamespace):
    def matrix(self) -> np.ndarray:
        return self.rows


def test_frames_are_found_by_name_not_by_id(tmp_path: Path) -> None:
    """COLMAP's ids need not follow the names; an index of id - 1, as HOLD takes it, would swap these frames."""

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
    model.save(tmp_path / "model.npz")
    again = SparseModel.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.cam_from_object, model.cam_from_object)
    assert (again.mapper, again.radial) == ("global", 0.1)


@pytest.mark.parametrize(
    ("backend", "ignored"),
    [
        ("pycolmap", {"hloc"}),
        ("hloc", {"mapper", "peak_threshold", "field_of_view_deg"}),
        ("known", None),
        ("colmap_model", None),
    ],
)
def test_a_backend_is_given_what_it_uses(backend: str, ignored: set[str] | None) -> None:
    """Protects finished poses: another backend's setting is no argument of this one, so it makes nothing again."""
    settings, row = SfmSettings(backend=backend), BACKENDS[backend]
    arguments = row.arguments(settings, SequenceSettings(kind="ho3d", path="data/own", every=2, colmap_model="model"))
    places = {"frames", "frames_json", "poses", "picture", "source"} | ({"masks"} if row.of_masks else set())
    given = {"seed", "code"} | ({"threads"} if row.of_masks else set())
    function = stage_function(row.stage)
    assert set(inspect.signature(function).parameters) - {"footage"} == places | given | set(arguments) - {"footage"}
    assert ("footage" in arguments) == row.skipped
    if ignored is None:
        assert {**arguments, "models": None} == {"models": None, "min_registered": 0.3}
    else:
        assert set(arguments["settings"]) == set(SfmSettings.model_fields) - ignored
        assert SfmSettings.model_validate(arguments["settings"]) == settings
