"""HOLD-Net's phases as stages on a small build folder: the files of any field, and resumed bit for bit."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import roma
import torch

from handloom.reconstruction.build_folder import read_build
from handloom.reconstruction.compact.object_mesh import read_object_mesh
from handloom.reconstruction.compact.phases import refine_poses
from handloom.reconstruction.compact.predictions import PREDICTIONS, write_predictions
from handloom.reconstruction.compact.scene_input import poses_of, read_poses
from handloom.reconstruction.compact.scene_poses import PoseArrays
from handloom.reconstruction.holdnet.checkpoint import load_strictly
from handloom.reconstruction.holdnet.phases import FIELDS, PhaseOutputs, started_net, train_holdnet_phase
from handloom.reconstruction.holdnet.scene_start import poses_of_net, set_poses
from handloom.reconstruction.holdnet.training import HoldNetTraining
from handloom.runtime.artifacts import read_arrays, read_weights
from handloom.runtime.config.holdnet_training import HoldNetPhaseSettings
from handloom.runtime.config.refinement import RefinementSettings
from handloom.runtime.errors import InputError

from ..compact.scene import MODEL, SCALE, held_box  # noqa: TID252 (the tests are no package)
from .test_checkpoint import saved
from .training_scene import outputs_in, tiny_settings

SETTINGS = tiny_settings(hand_refresh_steps=5)
STEPS = 9


def train(build: Path, prior: Path, folder: Path, **more: object) -> PhaseOutputs:
    outputs = outputs_in(folder)
    train_holdnet_phase(SETTINGS, "phase1", MODEL, build, prior, outputs=outputs, work=folder / "work", seed=1, **more)
    return outputs


def by_matrices(poses: PoseArrays) -> dict[str, torch.Tensor]:
    """Rotations as matrices, since a vector of half a turn has two signs."""
    named = poses._asdict()
    return named | {name: roma.rotvec_to_rotmat(named[name]) for name in ("hand_rotvec", "object_rotvec")}


def contents(outputs: PhaseOutputs) -> dict[str, bytes]:
    files = [outputs.network, outputs.poses, outputs.mesh, outputs.history, *outputs.previews.iterdir()]
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def phase1(build: Path, prior: Path, tmp_path_factory: pytest.TempPathFactory) -> PhaseOutputs:
    """A phase 1 that nothing interrupted."""
    return train(build, prior, tmp_path_factory.mktemp("phase1"))


def test_phase_1_writes_the_files_of_every_field(phase1: PhaseOutputs, build: Path, prior: Path) -> None:
    """Protects the contract: loss curve, pictures, poses in camera metres, mesh in SfM units, HOLD's names."""
    history = pd.read_csv(phase1.history)
    assert history["step"].tolist() == [STEPS]
    assert np.isfinite(history.to_numpy()).all()
    assert {"total", "rgb", "sem", "opacity_sparse", "mano_cano", "eikonal", "object_beta"} <= set(history)
    names = ["step-000004.png", "step-000008.png", "step-000009.png"]
    assert sorted(path.name for path in phase1.previews.iterdir()) == names
    assert not any((phase1.network.parent / "work").glob("*"))

    scene = read_build(build, {"right": MODEL})
    weights, header = read_weights(phase1.network, FIELDS)
    assert header.seed == 1
    net = started_net(SETTINGS, scene, MODEL, prior, None, None, 2)
    load_strictly(net, weights, "network")
    poses = by_matrices(read_poses(phase1.poses, 8, MODEL.shape_count))
    start = by_matrices(held_box().poses)
    assert float(poses["object_scale"]) == pytest.approx(SCALE)
    for name in ("hand_rotvec", "hand_translation_m", "object_rotvec", "object_translation_m", "hand_shape"):
        assert 0 < float((poses[name] - start[name]).abs().max()) < 0.02, name
    mesh = read_object_mesh(phase1.mesh)
    # The box's centre in the SfM frame, and a radius between the first sphere's and the grid's.
    assert np.abs(mesh.vertices.mean(0) - held_box().vertices_sfm.mean(0)).max() < 0.3 * held_box().cube.radius


@pytest.mark.parametrize("stop", [2, 7])
def test_a_killed_phase_goes_on_and_ends_with_the_same_bytes(
    phase1: PhaseOutputs,
    build: Path,
    prior: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stop: int,
) -> None:
    """Protects long trainings on shared machines: killed before or after the first targets, resumed, equal files."""
    run_step: Callable = HoldNetTraining.run_step

    def killed(self: HoldNetTraining) -> object:
        if self.step == stop:
            raise KeyboardInterrupt
        return run_step(self)

    with monkeypatch.context() as patch:
        patch.setattr(HoldNetTraining, "run_step", killed)
        with pytest.raises(KeyboardInterrupt):
            train(build, prior, tmp_path)
    assert not outputs_in(tmp_path).network.exists()
    again = train(build, prior, tmp_path)
    assert f"going on at step {stop}" in capsys.readouterr().err
    assert contents(again) == contents(phase1)


def test_phase_2_predictions_and_phase_3_take_what_phase_1_wrote(
    phase1: PhaseOutputs, build: Path, prior: Path, tmp_path: Path
) -> None:
    """Protects the chain: poses and scale of phase 2 are phase 3's first ones, and networks start anew."""
    refined, history = tmp_path / "refined.npz", tmp_path / "refined.csv"
    settings = RefinementSettings(steps=2, long_side_px=40)
    refine_poses(settings, 1.35, MODEL, build, phase1.poses, phase1.mesh, refined, history)
    wanted = read_poses(refined)
    assert not torch.equal(wanted.object_scale, read_poses(phase1.poses).object_scale)

    still = tiny_settings(pose_rate=0.0, phase3=HoldNetPhaseSettings(epochs=1))
    outputs = outputs_in(tmp_path / "phase3")
    work = tmp_path / "work"
    train_holdnet_phase(still, "phase3", MODEL, build, prior, refined, outputs=outputs, work=work, seed=1)
    torch.testing.assert_close(by_matrices(read_poses(outputs.poses)), by_matrices(wanted), atol=5e-6, rtol=1e-5)
    trained, other = (read_weights(path, FIELDS)[0] for path in (phase1.network, outputs.network))
    assert int(other["nodes.object.implicit_network.embedder_obj.alpha_iter"]) == 3
    assert not torch.equal(trained["nodes.object.implicit_network.lin0.weight_v"],
                           other["nodes.object.implicit_network.lin0.weight_v"])  # fmt: skip

    predictions = tmp_path / "predictions.npz"
    write_predictions(MODEL, build, outputs.poses, outputs.mesh, predictions)
    found, _ = read_arrays(predictions, PREDICTIONS)
    assert found["hand_joints_cam_m"].shape == (8, 21, 3)
    assert np.isfinite(found["object_vertices_m"]).all()


def test_a_released_checkpoint_is_written_out_without_training(
    phase1: PhaseOutputs, build: Path, prior: Path, tmp_path: Path
) -> None:
    """Protects users of released weights: no epoch, and mesh, poses and network are the checkpoint's own."""
    scene = read_build(build, {"right": MODEL})
    net = started_net(SETTINGS, scene, MODEL, prior, None, None, 7)
    load_strictly(net, read_weights(phase1.network, FIELDS)[0], "phase 1")
    start = poses_of(scene, MODEL)
    moved = start._replace(object_scale=start.object_scale * 1.1, hand_translation_m=start.hand_translation_m + 0.01)
    set_poses(net, moved, MODEL, scene.placement)
    path = saved(tmp_path, net)
    none = tiny_settings(phase3=HoldNetPhaseSettings(epochs=0))
    outputs = outputs_in(tmp_path / "phase3")
    given = {"checkpoint": path, "outputs": outputs, "work": tmp_path / "work", "seed": 1}
    train_holdnet_phase(none, "phase3", MODEL, build, prior, **given)
    torch.testing.assert_close(by_matrices(read_poses(outputs.poses)), by_matrices(moved), atol=5e-6, rtol=1e-5)
    weights, _ = read_weights(outputs.network, FIELDS)
    assert all(torch.equal(weights[name], value) for name, value in net.state_dict().items())
    assert list(pd.read_csv(outputs.history).columns) == ["step"]
    assert [picture.name for picture in outputs.previews.iterdir()] == ["step-000000.png"]
    larger = none.model_copy(update={"network": none.network.model_copy(update={"frame_code": 5})})
    with pytest.raises(InputError, match=r"last\.ckpt: does not fit HOLD-Net of 8 frames"):
        train_holdnet_phase(larger, "phase3", MODEL, build, prior, **given)


def test_poses_go_to_the_scaled_world_and_back(build: Path, prior: Path) -> None:
    """Protects both directions between files and parameters, with another shape, which moves the wrist at rest."""
    scene = read_build(build, {"right": MODEL})
    net = started_net(SETTINGS, scene, MODEL, prior, None, None, 1)
    noise = torch.Generator().manual_seed(0)
    start = poses_of(scene, MODEL)
    wanted = type(start)(*(value + 0.05 * torch.randn(value.shape, generator=noise) for value in start))
    set_poses(net, wanted, MODEL, scene.placement)
    found = by_matrices(poses_of_net(net, MODEL, scene.placement))
    torch.testing.assert_close(found, by_matrices(wanted), atol=5e-6, rtol=1e-5)


def test_masks_without_a_hand_are_refused(build: Path, prior: Path, tmp_path: Path) -> None:
    """Protects from a hand that nothing was seen of."""
    own = tmp_path / "build"
    shutil.copytree(build, own)
    empty = np.zeros((60, 80), np.uint8)
    empty[20:40, 20:40] = 50
    from PIL import Image

    for path in (own / "mask").iterdir():
        Image.fromarray(empty).save(path)
    with pytest.raises(InputError, match="no pixel of any of the 8 frames is labelled hand"):
        train(own, prior, tmp_path)
