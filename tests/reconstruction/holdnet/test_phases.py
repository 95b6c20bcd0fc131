"""HOLD-Net's phases as stages on a small build folder: the files of any field, and resumed bit for bit."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import roma
import torch
from PIL import Image

from handloom.datasets.hand_and_object import HoldPredictions
from handloom.reconstruction.build_folder import read_build
from handloom.reconstruction.holdnet.checkpoint import load_strictly
from handloom.reconstruction.holdnet.phases import KIND, poses_of_net, set_poses, started_net
from handloom.reconstruction.holdnet.training import HoldNetTraining
from handloom.reconstruction.object_mesh import read_object_mesh
from handloom.reconstruction.predictions import write_predictions
from handloom.reconstruction.refinement import refine_poses
from handloom.reconstruction.tracks import SequencePoses
from handloom.runtime.artifacts import read_weights
from handloom.runtime.config.hold_stages import RefinementSettings
from handloom.runtime.errors import InputError

from ..held_box import MODEL, SCALE, arrays, held_box
from .scene import outputs_in, tiny_settings, trained
from .test_checkpoint import saved

SETTINGS = tiny_settings(hand_refresh_steps=5)
STEPS = 9
Phase = dict[str, Path]


def by_matrices(poses: SequencePoses) -> dict[str, torch.Tensor]:
    """Rotations as matrices, since a vector of half a turn has two signs."""
    named = arrays(poses)
    return named | {name: roma.rotvec_to_rotmat(named[name]) for name in ("hand_rotvec", "object_rotvec")}


def contents(outputs: Phase) -> dict[str, bytes]:
    files = [path for path in outputs["network"].parent.rglob("*") if path.is_file()]
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def phase1(build: Path, prior: Path, tmp_path_factory: pytest.TempPathFactory) -> Phase:
    """A phase 1 that nothing interrupted."""
    return trained(build, prior, tmp_path_factory.mktemp("phase1"), SETTINGS)


def test_phase_1_writes_the_files_of_every_field(phase1: Phase, build: Path, prior: Path) -> None:
    """Protects the contract: loss curve, pictures, poses in camera metres, mesh in SfM units, HOLD's names."""
    history = pd.read_csv(phase1["history"])
    assert history["step"].tolist() == [STEPS]
    assert np.isfinite(history.to_numpy()).all()
    assert {"total", "rgb", "sem", "opacity_sparse", "mano_cano", "eikonal", "object_beta"} <= set(history)
    names = ["step-000004.png", "step-000008.png", "step-000009.png"]
    assert sorted(path.name for path in phase1["previews"].iterdir()) == names
    assert not any((phase1["network"].parent / "work").glob("*"))

    scene = read_build(build, {"right": MODEL})
    weights, header = read_weights(phase1["network"], KIND)
    assert header.seed == 1
    net = started_net(SETTINGS.network, scene, MODEL, prior, None, None, 2)
    load_strictly(net, weights, phase1["network"], "HOLD-Net")
    poses = by_matrices(SequencePoses.load(phase1["poses"]))
    start = by_matrices(held_box().poses)
    assert float(poses["object_scale"]) == pytest.approx(SCALE)
    for name in ("hand_rotvec", "hand_translation_m", "object_rotvec", "object_translation_m", "hand_shape"):
        assert 0 < float((poses[name] - start[name]).abs().max()) < 0.02, name
    mesh = read_object_mesh(phase1["mesh"])
    # The box's centre in the SfM frame, and a radius between the first sphere's and the grid's.
    assert np.abs(mesh.vertices.mean(0) - held_box().vertices_sfm.mean(0)).max() < 0.3 * held_box().cube.radius


def test_a_killed_phase_goes_on_and_ends_with_the_same_bytes(
    phase1: Phase,
    build: Path,
    prior: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Protects long trainings on shared machines: killed when there are targets, resumed, equal files."""
    run_step: Callable = HoldNetTraining.run_step

    def killed(self: HoldNetTraining) -> object:
        if self.step == 7:
            raise KeyboardInterrupt
        return run_step(self)

    with monkeypatch.context() as patch:
        patch.setattr(HoldNetTraining, "run_step", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(build, prior, tmp_path, SETTINGS)
    assert not outputs_in(tmp_path)["network"].exists()
    again = trained(build, prior, tmp_path, SETTINGS)
    assert "going on at step 7" in capsys.readouterr().err
    assert contents(again) == contents(phase1)


def test_phase_2_predictions_and_phase_3_take_what_phase_1_wrote(
    phase1: Phase, build: Path, prior: Path, tmp_path: Path
) -> None:
    """Protects the chain: poses and scale of phase 2 are phase 3's first ones, and networks start anew."""
    refined, history = tmp_path / "refined.npz", tmp_path / "refined.csv"
    settings = RefinementSettings(steps=2, long_side_px=40)
    refine_poses(build, phase1["poses"], phase1["mesh"], refined, history, refinement=settings)
    wanted = SequencePoses.load(refined)
    assert not torch.equal(wanted.object_scale, SequencePoses.load(phase1["poses"]).object_scale)

    still = tiny_settings(pose_rate=0.0)
    outputs = trained(build, prior, tmp_path / "phase3", still, epochs=1, phase="phase3", first_poses=refined)
    torch.testing.assert_close(
        by_matrices(SequencePoses.load(outputs["poses"])), by_matrices(wanted), atol=5e-6, rtol=1e-5
    )
    first, other = (read_weights(path, KIND)[0] for path in (phase1["network"], outputs["network"]))
    assert int(other["nodes.object.implicit_network.embedder_obj.alpha_iter"]) == 3
    assert not torch.equal(first["nodes.object.implicit_network.lin0.weight_v"],
                           other["nodes.object.implicit_network.lin0.weight_v"])  # fmt: skip

    predictions = tmp_path / "predictions.npz"
    write_predictions(build, outputs["poses"], outputs["mesh"], predictions)
    assert HoldPredictions.load(predictions).hand_joints_cam_m.shape == (8, 21, 3)


def test_a_released_checkpoint_is_written_out_without_training(
    phase1: Phase, build: Path, prior: Path, tmp_path: Path
) -> None:
    """Protects users of released weights: no epoch, and mesh, poses and network are the checkpoint's own."""
    scene = read_build(build, {"right": MODEL})
    net = started_net(SETTINGS.network, scene, MODEL, prior, None, None, 7)
    load_strictly(net, read_weights(phase1["network"], KIND)[0], phase1["network"], "HOLD-Net")
    start = scene.poses_cam(MODEL)
    moved = replace(start, object_scale=start.object_scale * 1.1, hand_translation_m=start.hand_translation_m + 0.01)
    set_poses(net, moved, MODEL, scene.placement)
    path = saved(tmp_path, net)
    given = {"epochs": 0, "phase": "phase3", "checkpoint": path}
    outputs = trained(build, prior, tmp_path / "phase3", SETTINGS, **given)
    torch.testing.assert_close(
        by_matrices(SequencePoses.load(outputs["poses"])), by_matrices(moved), atol=5e-6, rtol=1e-5
    )
    weights, _ = read_weights(outputs["network"], KIND)
    assert all(torch.equal(weights[name], value) for name, value in net.state_dict().items())
    assert list(pd.read_csv(outputs["history"]).columns) == ["step"]
    assert [picture.name for picture in outputs["previews"].iterdir()] == ["step-000000.png"]
    larger = tiny_settings(network=SETTINGS.network.model_copy(update={"frame_code": 5}))
    with pytest.raises(InputError, match=r"last\.ckpt: does not fit HOLD-Net of 8 frames"):
        trained(build, prior, tmp_path / "phase3", larger, **given)


def test_poses_go_to_the_scaled_world_and_back(build: Path, prior: Path) -> None:
    """Protects both directions between files and parameters, with another shape, which moves the wrist at rest."""
    scene = read_build(build, {"right": MODEL})
    net = started_net(SETTINGS.network, scene, MODEL, prior, None, None, 1)
    noise = torch.Generator().manual_seed(0)
    start = scene.poses_cam(MODEL)
    noisy = {name: value + 0.05 * torch.randn(value.shape, generator=noise) for name, value in arrays(start).items()}
    wanted = replace(start, **noisy)
    set_poses(net, wanted, MODEL, scene.placement)
    found = by_matrices(poses_of_net(net, MODEL, scene.placement))
    torch.testing.assert_close(found, by_matrices(wanted), atol=5e-6, rtol=1e-5)


def test_masks_without_a_hand_are_refused(build: Path, prior: Path, tmp_path: Path) -> None:
    """Protects from a hand that nothing was seen of."""
    own = tmp_path / "build"
    shutil.copytree(build, own)
    empty = np.zeros((60, 80), np.uint8)
    empty[20:40, 20:40] = 50
    for path in (own / "mask").iterdir():
        Image.fromarray(empty).save(path)
    with pytest.raises(InputError, match="no pixel of any of the 8 frames is labelled hand"):
        trained(own, prior, tmp_path, SETTINGS)
