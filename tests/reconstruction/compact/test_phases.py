"""The phases as stages on a small build folder: their files, runs that go on, bad input named in time."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from handloom.datasets.hand_and_object import HoldPredictions
from handloom.reconstruction.compact import phases
from handloom.reconstruction.compact.hand_template import template_of_build
from handloom.reconstruction.compact.training import CompactTraining
from handloom.reconstruction.object_mesh import ObjectMesh, read_object_mesh
from handloom.reconstruction.observations import read_scene
from handloom.reconstruction.phase_run import TILES, write_preview
from handloom.reconstruction.predictions import write_predictions
from handloom.reconstruction.refinement import refine_poses
from handloom.reconstruction.scene_poses import ScenePoses
from handloom.reconstruction.shape.object_shape import shape_of_build
from handloom.reconstruction.tracks import SequencePoses
from handloom.runtime.artifacts import read_weights
from handloom.runtime.config.hold_stages import RefinementSettings
from handloom.runtime.errors import InputError

from ..held_box import FRAMES, HEIGHT, MODEL, WIDTH, arrays, held_box
from ..holdnet.scene import tiny_settings, trained
from .scene import PhaseFiles, small_settings, small_training, train_small

STEPS = 9
SETTINGS = small_settings(STEPS)
REFINEMENT = RefinementSettings(steps=3, long_side_px=40)
ROOT = Path(__file__).parents[3]


def train(build: Path, template: Path, folder: Path, first_poses: Path | None = None) -> PhaseFiles:
    return train_small(build, template, folder, SETTINGS, first_poses)


@pytest.fixture(autouse=True, scope="module")
def _several_previews() -> Iterator[None]:
    """Pictures at steps 4, 8 and 9."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phases, "PREVIEW_STEPS", 4)
        yield


@pytest.fixture(scope="module")
def phase1(build: Path, template: Path, tmp_path_factory: pytest.TempPathFactory) -> PhaseFiles:
    """A phase 1 that nothing interrupted."""
    return train(build, template, tmp_path_factory.mktemp("phase1"))


@pytest.fixture
def own(build: Path, tmp_path: Path) -> Path:
    """A build folder of the test's own."""
    return Path(shutil.copytree(build, tmp_path / "build"))


def test_phase_1_writes_its_files(phase1: PhaseFiles, build: Path) -> None:
    """Protects the outputs that the workflow declares, and that no checkpoint is left behind."""
    history = pd.read_csv(phase1.outputs["history"])
    assert history["step"].tolist() == [STEPS]
    assert np.isfinite(history.to_numpy()).all()
    weights, header = read_weights(phase1.outputs["network"], phases.FIELDS)
    assert weights["object.distance"].shape == (1, 16, 16, 16)
    assert header.seed == 1
    names = ["step-000004.png", "step-000008.png", "step-000009.png"]
    assert sorted(path.name for path in phase1.outputs["previews"].iterdir()) == names
    assert not (phase1.folder / "work").exists()
    scene, mesh = read_scene(build, {"right": MODEL}), read_object_mesh(phase1.mesh)
    assert np.abs(mesh.vertices - scene.cube.centre.numpy()).max() <= 1.1 * scene.cube.radius


KILLED = """
import os, signal, sys
from pathlib import Path
from handloom.reconstruction.compact import phases
from handloom.reconstruction.compact.training import CompactTraining
from tests.reconstruction.compact.test_phases import train
phases.PREVIEW_STEPS = 4
run_step = CompactTraining.run_step
def killed(training):
    if training.step == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return run_step(training)
CompactTraining.run_step = killed
train(*map(Path, sys.argv[1:]))
"""


def test_a_killed_phase_goes_on_and_ends_with_the_same_bytes(
    build: Path, template: Path, phase1: PhaseFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects long trainings from the out-of-memory killer: SIGKILL before the eighth step, resumed, equal files."""
    command = [sys.executable, "-c", KILLED, str(build), str(template), str(tmp_path)]
    killed = subprocess.run(command, cwd=ROOT, env=dict(os.environ, TQDM_DISABLE="1"), capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not PhaseFiles(tmp_path).outputs["network"].exists()
    again = train(build, template, tmp_path)
    assert "going on at step 7" in capsys.readouterr().err
    assert again.contents() == phase1.contents()
    assert not (tmp_path / "work").exists()


def test_other_masks_never_go_on_from_the_old_checkpoint(
    own: Path, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects a user who corrects the masks of a killed run: it starts again instead of mixing both."""
    run_step: Callable[[CompactTraining], Any] = CompactTraining.run_step

    def killed(self: CompactTraining) -> object:
        if self.step == 3:
            raise KeyboardInterrupt
        return run_step(self)

    monkeypatch.setattr(CompactTraining, "run_step", killed)
    for number in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(own, template, tmp_path / "out")
        assert "going on" not in capsys.readouterr().err, number
        masks = sorted((own / "mask").glob("*.png"))
        shutil.copyfile(masks[-1], masks[0])
    with pytest.raises(KeyboardInterrupt):
        train(own, template, tmp_path / "out")
    assert "going on at step 3" in capsys.readouterr().err


def test_phase_2_moves_poses_and_phase_3_starts_from_them(
    phase1: PhaseFiles, build: Path, template: Path, tmp_path: Path
) -> None:
    """Protects the chain of phases: a phase 3 that may not move poses returns those of phase 2."""
    refined, history = tmp_path / "refined.npz", tmp_path / "refinement.csv"
    refine_poses(build, phase1.poses, phase1.mesh, refined, history, refinement=REFINEMENT, code="abc")
    table = pd.read_csv(history)
    assert table["step"].tolist() == [0, 1, 2]
    assert {"total", "object_mask", "hand_mask", "contact", "penetration", "prior"} <= set(table)
    before, after = (arrays(SequencePoses.load(path)) for path in (phase1.poses, refined))
    assert [name for name, value in after.items() if torch.equal(value, before[name])] == []

    still = SETTINGS.model_copy(update={"pose_rate": 0.0})
    found = train_small(build, template, tmp_path / "phase3", still, refined)
    torch.testing.assert_close(arrays(SequencePoses.load(found.poses)), after, atol=1e-6, rtol=1e-6)


def test_predictions_are_metres_in_the_camera(phase1: PhaseFiles, build: Path, tmp_path: Path) -> None:
    """Protects what is scored: the mesh under its rigid pose is where the scene has it, the hand is the posed model."""
    path = tmp_path / "predictions.npz"
    write_predictions(build, phase1.poses, phase1.mesh, path)
    found = HoldPredictions.load(path)
    scene = read_scene(build, {"right": MODEL})
    assert found.names.tolist() == list(scene.names)
    poses, mesh = ScenePoses(MODEL, SequencePoses.load(phase1.poses), scene.cube), read_object_mesh(phase1.mesh)
    unit = torch.from_numpy(mesh.in_cube(scene.cube).vertices)
    turn, shift = found.cam_from_object[:, :3, :3], found.cam_from_object[:, :3, 3]
    cam = found.object_vertices_m @ turn.transpose(0, 2, 1) + shift[:, None]
    np.testing.assert_allclose(cam, poses.object_to_cam(unit).detach().numpy(), atol=2e-5)
    np.testing.assert_allclose(turn @ turn.transpose(0, 2, 1), np.broadcast_to(np.eye(3), turn.shape), atol=1e-5)
    hand = poses.hand()
    np.testing.assert_allclose(found.hand_vertices_cam_m, hand.vertices_m.detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(found.hand_joints_cam_m, hand.keypoints_m.detach().numpy(), atol=1e-6)
    np.testing.assert_array_equal(found.hand_faces, MODEL.faces.numpy())


def test_preview_shows_photographs_renderings_and_classes(tmp_path: Path) -> None:
    """Protects the picture's layout and that looking at a training does not change it."""
    training = small_training(small_settings())
    before = {name: value.clone() for name, value in training.field_state().items()}
    for name in ("one.png", "two.png"):
        write_preview(tmp_path / name, training, WIDTH)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    torch.testing.assert_close(training.field_state(), before, atol=0, rtol=0)
    picture = cv2.imread(str(tmp_path / "one.png"))[..., ::-1]
    assert picture.shape == (3 * HEIGHT, TILES * WIDTH, 3)
    last = picture[:HEIGHT, -WIDTH:].astype(int)
    assert np.abs(last - held_box().image_u8[FRAMES - 1].numpy()).max() <= 1
    classes = picture[2 * HEIGHT :, :WIDTH].astype(int)
    shows_background = (classes - 40).__abs__().max(-1) <= 2
    true_background = held_box().class_u8[0].numpy() == 0
    assert (shows_background == true_background).mean() > 0.8


def relabel(build: Path, label: int, frames: range) -> None:
    """Take a label out of the masks of some frames."""
    for path in [sorted((build / "mask").glob("*.png"))[frame] for frame in frames]:
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        mask[mask == label] = 0
        cv2.imwrite(str(path), mask)


def change_data(build: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    content = np.load(build / "data.npy", allow_pickle=True).item()
    edit(content)
    np.save(build / "data.npy", content, allow_pickle=True)


def test_masks_empty_in_some_frames_are_counted(
    own: Path, template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects sequences that lose hand or object for a moment: they are reconstructed, the frames are told."""
    relabel(own, 50, range(2, 4))
    relabel(own, 150, range(5, 6))
    outputs = train(own, template, tmp_path / "out")
    said = capsys.readouterr().err
    assert f"no object in 2 of {FRAMES} frames: 0002.jpg, 0003.jpg" in said
    assert f"no hand in 1 of {FRAMES} frames: 0005.jpg" in said
    assert (np.ptp(read_object_mesh(outputs.mesh).vertices, axis=0) > 0.05).all()


def test_one_frame_is_no_sequence(own: Path, template: Path, prior: Path, tmp_path: Path) -> None:
    """Protects users of a build folder, which no extraction has counted: one view has no shape."""
    for kind in ("image", "mask"):
        for path in sorted((own / kind).glob("*.png"))[1:]:
            path.unlink()
    (own / "corres.txt").write_text("0000.jpg\n")

    def shorten(content: dict[str, Any]) -> None:
        content["cameras"] = {key: value for key, value in content["cameras"].items() if key.endswith("_0")}
        hand, thing = content["entities"]["right"], content["entities"]["object"]
        hand.update(hand_poses=hand["hand_poses"][:1], hand_trans=hand["hand_trans"][:1])
        thing.update(object_poses=thing["object_poses"][:1])

    change_data(own, shorten)
    for run in (lambda: train(own, template, tmp_path), lambda: trained(own, prior, tmp_path, tiny_settings())):
        with pytest.raises(InputError, match=r"build: has 1 frame; a shape needs at least two"):
            run()


def test_foreign_keys_are_told_and_change_nothing(
    own: Path, template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects folders of other versions of HOLD: they are used, and what was left alone is listed."""
    change_data(own, lambda d: (d.update(note="x"), d["entities"]["object"].update(colour=1)))
    template_of_build(own, tmp_path / "template.npz", cells=12)
    assert "foreign keys ['note', 'entities.object.colour'] are left alone" in capsys.readouterr().err
    assert (tmp_path / "template.npz").read_bytes() == template.read_bytes()


Stage = Callable[[Path, Path, Path, Path, Path], Any]
STAGES: dict[str, Stage] = {
    "phase 3": lambda build, template, poses, mesh, out: train(build, template, out, poses),
    "phase 2": lambda build, template, poses, mesh, out: refine_poses(
        build, poses, mesh, out / "poses.npz", out / "history.csv", refinement=REFINEMENT
    ),
    "predictions": lambda build, template, poses, mesh, out: write_predictions(
        build, poses, mesh, out / "predictions.npz"
    ),
}


@pytest.mark.parametrize("stage", STAGES)
def test_what_does_not_fit_stops_every_stage_before_it_writes(
    stage: str, own: Path, template: Path, phase1: PhaseFiles, tmp_path: Path
) -> None:
    """Protects the chain of phases from poses of another video, a mesh without faces, and a broken build folder."""
    run, out = STAGES[stage], tmp_path / "out"
    poses, mesh = SequencePoses.load(phase1.poses), read_object_mesh(phase1.mesh)
    replace(poses, hand_shape=poses.hand_shape[:3]).save(tmp_path / "bad.npz")
    with pytest.raises(InputError, match=r"bad\.npz: .*3 shape coefficients .* instead of"):
        run(own, template, tmp_path / "bad.npz", phase1.mesh, out)
    if stage != "phase 3":
        ObjectMesh(mesh.vertices[:9], mesh.faces).save(tmp_path / "bad.npz")
        with pytest.raises(InputError, match=r"bad\.npz: .*do not fit its 9 vertices"):
            run(own, template, phase1.poses, tmp_path / "bad.npz", out)
    change_data(own, lambda d: d["entities"]["right"]["hand_poses"].__setitem__((3, 5), np.nan))
    with pytest.raises(InputError, match=r"hand_poses holds NaN .*\[3\]"):
        run(own, template, phase1.poses, phase1.mesh, out)
    assert not any(path.is_file() for path in out.rglob("*"))


def test_an_object_that_no_pose_explains_is_refused(own: Path, tmp_path: Path) -> None:
    """Protects from a mesh of wrong poses: the object aside of its masks has no hull, and the error names both."""

    def move(content: dict[str, Any]) -> None:
        content["entities"]["object"]["object_poses"][:, 3] += 0.1

    change_data(own, move)
    outputs = [tmp_path / name for name in ("shape.npz", "hull.npz", "poses.npz")]
    with pytest.raises(InputError, match=r"visual hull: only \d+ of \d+ points .* do not fit each other"):
        shape_of_build(own, *outputs, cells=16, points_reach=None)
    assert not any(path.exists() for path in outputs)
