"""The three phases as stages on a small build folder, and what they predict."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from handloom.reconstruction.compact.object_mesh import read_object_mesh
from handloom.reconstruction.compact.phases import FIELDS, PhaseOutputs, refine_poses, train_phase
from handloom.reconstruction.compact.predictions import PREDICTIONS, write_predictions
from handloom.reconstruction.compact.scene_input import read_poses, read_scene
from handloom.reconstruction.compact.scene_poses import ScenePoses
from handloom.reconstruction.compact.training import CompactTraining
from handloom.runtime.artifacts import read_arrays, read_weights
from handloom.runtime.config.refinement import RefinementSettings

from .scene import MODEL, small_settings

STEPS = 9
SETTINGS = small_settings(STEPS).model_copy(update={"checkpoint_seconds": 0.0})


def outputs_in(folder: Path) -> PhaseOutputs:
    folder.mkdir(parents=True, exist_ok=True)
    return PhaseOutputs(
        folder / "network.safetensors",
        folder / "poses.npz",
        folder / "object.npz",
        folder / "history.csv",
        folder / "previews",
    )


def train(build: Path, template: Path, folder: Path, **more: object) -> PhaseOutputs:
    outputs = outputs_in(folder)
    train_phase(
        SETTINGS,
        "phase1",
        MODEL,
        build,
        template,
        outputs=outputs,
        work=folder / "work",
        seed=1,
        **more,
    )
    return outputs


def contents(outputs: PhaseOutputs) -> dict[str, bytes]:
    files = [outputs.network, outputs.poses, outputs.mesh, outputs.history, *outputs.previews.iterdir()]
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def phase1(build: Path, template: Path, tmp_path_factory: pytest.TempPathFactory) -> PhaseOutputs:
    """A phase 1 that nothing interrupted."""
    return train(build, template, tmp_path_factory.mktemp("phase1"))


def test_phase_1_writes_its_files(phase1: PhaseOutputs, build: Path) -> None:
    """Protects the outputs that the workflow declares, and that no checkpoint is left behind."""
    history = pd.read_csv(phase1.history)
    assert history["step"].tolist() == [STEPS]
    assert np.isfinite(history.to_numpy()).all()
    weights, header = read_weights(phase1.network, FIELDS)
    assert weights["object.distance"].shape == (1, 16, 16, 16)
    assert header.seed == 1
    assert sorted(path.name for path in phase1.previews.iterdir()) == [
        "step-000004.png",
        "step-000008.png",
        "step-000009.png",
    ]
    assert not any((phase1.network.parent / "work").glob("*"))
    scene, mesh = read_scene(build, MODEL, SETTINGS.cube_margin), read_object_mesh(phase1.mesh)
    assert np.abs(mesh.vertices - scene.cube.centre.numpy()).max() <= 1.1 * scene.cube.radius


@pytest.mark.parametrize("stop", [4, 8])
def test_an_interrupted_phase_goes_on_and_ends_with_the_same_bytes(
    phase1: PhaseOutputs,
    build: Path,
    template: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stop: int,
) -> None:
    """Protects long trainings on shared machines: killed before or after the finer grid, resumed, equal files."""
    run_step: Callable = CompactTraining.run_step

    def killed(self: CompactTraining) -> object:
        if self.step == stop:
            raise KeyboardInterrupt
        return run_step(self)

    with monkeypatch.context() as patch:
        patch.setattr(CompactTraining, "run_step", killed)
        with pytest.raises(KeyboardInterrupt):
            train(build, template, tmp_path)
    assert not outputs_in(tmp_path).network.exists()
    again = train(build, template, tmp_path)
    assert f"going on at step {stop}" in capsys.readouterr().err
    assert contents(again) == contents(phase1)


def test_other_masks_never_go_on_from_the_old_checkpoint(
    build: Path, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects a user who corrects the masks of a killed run: it starts again instead of mixing both."""
    run_step: Callable = CompactTraining.run_step
    own = tmp_path / "build"
    shutil.copytree(build, own)

    def killed(self: CompactTraining) -> object:
        if self.step == 3:
            raise KeyboardInterrupt
        return run_step(self)

    with monkeypatch.context() as patch:
        patch.setattr(CompactTraining, "run_step", killed)
        with pytest.raises(KeyboardInterrupt):
            train(own, template, tmp_path)
    mask = sorted((own / "mask").glob("*.png"))[0]
    shutil.copyfile(sorted((own / "mask").glob("*.png"))[-1], mask)
    train(own, template, tmp_path)
    assert "going on" not in capsys.readouterr().err


def test_phase_2_moves_poses_and_phase_3_starts_from_them(
    phase1: PhaseOutputs, build: Path, template: Path, tmp_path: Path
) -> None:
    """Protects the chain of phases: a phase 3 that may not move poses returns those of phase 2."""
    settings = RefinementSettings(steps=3, long_side_px=40)
    refined, history = tmp_path / "refined.npz", tmp_path / "refinement.csv"
    refine_poses(settings, SETTINGS.cube_margin, MODEL, build, phase1.poses, phase1.mesh, refined, history, code="abc")
    table = pd.read_csv(history)
    assert table["step"].tolist() == [0, 1, 2]
    assert {"total", "object_mask", "hand_mask", "contact", "penetration", "prior"} <= set(table)
    before, after = read_poses(phase1.poses), read_poses(refined)
    moved = [name for name, value in after._asdict().items() if not torch.equal(value, getattr(before, name))]
    assert set(moved) == set(before._fields)

    still = SETTINGS.model_copy(update={"pose_rate": 0.0})
    outputs = outputs_in(tmp_path / "phase3")
    train_phase(still, "phase3", MODEL, build, template, refined, outputs=outputs, work=tmp_path / "work", seed=1)
    torch.testing.assert_close(read_poses(outputs.poses), after, atol=1e-6, rtol=1e-6)


def test_predictions_are_metres_in_the_camera(phase1: PhaseOutputs, build: Path, tmp_path: Path) -> None:
    """Protects what is scored: the mesh under its rigid pose is where the scene has it, the hand is the posed model."""
    path = tmp_path / "predictions.npz"
    write_predictions(MODEL, build, phase1.poses, phase1.mesh, path)
    found, header = read_arrays(path, PREDICTIONS)
    assert (header.units, header.joint_order) == ("m", "SNAP")
    scene = read_scene(build, MODEL, SETTINGS.cube_margin)
    assert found["names"].tolist() == list(scene.names)
    poses, mesh = ScenePoses(MODEL, read_poses(phase1.poses), scene.cube), read_object_mesh(phase1.mesh)
    unit = (torch.from_numpy(mesh.vertices) - scene.cube.centre) / scene.cube.radius
    turn, shift = found["cam_from_object"][:, :3, :3], found["cam_from_object"][:, :3, 3]
    cam = found["object_vertices_m"] @ turn.transpose(0, 2, 1) + shift[:, None]
    np.testing.assert_allclose(cam, poses.object_to_cam(unit).detach().numpy(), atol=2e-5)
    np.testing.assert_allclose(turn @ turn.transpose(0, 2, 1), np.broadcast_to(np.eye(3), turn.shape), atol=1e-5)
    hand = poses.hand()
    np.testing.assert_allclose(found["hand_vertices_cam_m"], hand.vertices_m.detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(found["hand_joints_cam_m"], hand.keypoints_m.detach().numpy(), atol=1e-6)
    np.testing.assert_array_equal(found["hand_faces"], MODEL.faces.numpy())
