"""Trainings on a device: nothing of theirs stays on the CPU by mistake, and the numbers are the CPU's.

Without a GPU this is tried on `other_device`, whose operations are the CPU's: compact results must be equal bit for
bit. The tests on a real one are skipped where there is none.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from handloom.reconstruction.holdnet.hand_prior import hand_prior
from handloom.reconstruction.holdnet.phases import poses_of_net
from handloom.reconstruction.phase_run import write_preview
from handloom.reconstruction.refinement import refine_poses
from handloom.reconstruction.tracks import SequencePoses
from handloom.runtime.artifacts import read_weights
from handloom.runtime.config.hold_stages import RefinementSettings

from .compact.scene import PhaseFiles, small_settings, small_training, train_small
from .held_box import MODEL, arrays
from .holdnet.scene import PRIOR, tiny_settings, tiny_training, trained
from .holdnet.scene import small_settings as small_networks
from .other_device import NAME, other_device
from .trainings import Training, same_gradients, totals

STEPS = 4
COMPACT = small_settings(STEPS)
HOLDNET = tiny_settings(pairs=1, pairs_per_epoch=1, rays=8)  # epochs of one step, so the object is meshed too
REFINEMENT = RefinementSettings(steps=3, long_side_px=40)
ON_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def run_phases(build: Path, template: Path, folder: Path, device: str) -> PhaseFiles:
    """Phase 1 and phase 2 as stages."""
    files = train_small(build, template, folder, COMPACT, device=device)
    refined = folder / "refined.npz", folder / "refined.csv"
    refine_poses(build, files.poses, files.mesh, *refined, refinement=REFINEMENT, threads=1, device=device)
    return files


def test_the_other_device_refuses_what_a_gpu_refuses() -> None:
    """Protects these tests from passing for nothing: mixed devices and numbers taken without a copy are errors."""
    with other_device():
        there, here = torch.zeros(3, device=NAME), torch.zeros(3)
        assert there.device.type == NAME
        assert torch.equal((there + 1).cpu(), here + 1)
        with pytest.raises(RuntimeError, match=r"add: CPU tensors \[\(3,\)\]"):
            there + here
        with pytest.raises(RuntimeError, match=r"^(stack|cat):"):
            torch.stack([there, here])
        with pytest.raises((RuntimeError, TypeError)):
            there.numpy()
        assert (there + torch.tensor(2.0)).device.type == NAME  # one number may come from the CPU


def test_compact_fields_elsewhere_have_the_same_numbers() -> None:
    """Protects the draws, which are the CPU's on all devices, and every tensor that a step makes in chunks."""
    wanted = small_training(COMPACT)
    wanted.scene.chunks = 3
    expected = totals(wanted, STEPS)
    with other_device():
        training = small_training(COMPACT, device=NAME)
        training.scene.chunks = 3
        assert {value.device.type for value in training.field_state().values()} == {NAME}
        assert {value.device.type for value in training.scene.poses.parameters()} == {NAME}
        assert training.observations.image_u8.device.type == NAME
        assert totals(training, STEPS) == expected
        found = arrays(training.scene.poses.snapshot()["right"])
    for name, value in arrays(wanted.scene.poses.snapshot()["right"]).items():
        assert torch.equal(found[name], value), name


@pytest.mark.filterwarnings("ignore:for .*copying from a non-meta parameter")  # of the name, not of the copy
def test_a_checkpoint_goes_from_one_device_to_another() -> None:
    """Protects resuming, since checkpoints are read on the CPU: half the steps here, half there, the same numbers."""
    wanted, first = small_training(COMPACT), small_training(COMPACT)
    expected = totals(wanted, 4)
    assert totals(first, 2) == expected[:2]
    with other_device():
        second = small_training(COMPACT, device=NAME)
        second.restore(first.state())
        assert {value.device.type for value in second.field_state().values()} == {NAME}
        assert totals(second, 2) == expected[2:]


def test_the_stages_elsewhere_write_the_same_bytes(build: Path, template: Path, tmp_path: Path) -> None:
    """Protects the way from the configuration's `device` to the files: fields, poses, mesh, pictures, phase 2."""
    here = run_phases(build, template, tmp_path / "here", "cpu")
    with other_device():
        there = run_phases(build, template, tmp_path / "there", NAME)
    assert there.contents() == here.contents()


@pytest.mark.filterwarnings("ignore:for .*copying from a non-meta parameter")
def test_hold_net_elsewhere_has_the_cpu_s_numbers(build: Path, prior: Path, tmp_path: Path) -> None:
    """Protects the draws, every tensor that a step makes, and the preview."""
    wanted = tiny_training(build, prior, HOLDNET, chunks=2)
    expected = totals(wanted, 3)
    with other_device():
        training = tiny_training(build, prior, HOLDNET, device=NAME, chunks=2)
        assert {value.device.type for value in training.net.state_dict().values()} == {NAME}
        # Nearest vertices are sought by force there, by a tree here: equal up to rounding.
        assert totals(training, 3) == pytest.approx(expected, rel=1e-4)
        assert training.targets.state()["object"] is not None
        write_preview(tmp_path / "there.png", training, 3)  # all is slow there
        turns = [poses_of_net(each.net, MODEL, each.scene.placement).object_rotvec for each in (training, wanted)]
    assert (tmp_path / "there.png").is_file()
    np.testing.assert_allclose(*turns, atol=1e-4)


@ON_GPU
@pytest.mark.parametrize(("kind", "close"), [("compact", 1e-4), ("holdnet", 1e-3)])
def test_a_gpu_starts_as_the_cpu_does(kind: str, close: float, build: Path, prior: Path) -> None:
    """Protects the draws on a real device: first loss and first derivative within float32's rounding."""
    trainings: list[Training] = [
        small_training(COMPACT, device=device)
        if kind == "compact"
        else tiny_training(build, prior, HOLDNET, device=device)
        for device in ("cpu", "cuda")
    ]
    here, there = trainings
    assert totals(there, 1) == pytest.approx(totals(here, 1), rel=close)
    same_gradients(there, here, "object." if kind == "compact" else "", share=10 * close, rtol=10 * close)


@ON_GPU
def test_the_stages_run_on_a_gpu(build: Path, template: Path, tmp_path: Path) -> None:
    """Protects all stages with a device; numbers drift apart over the steps, so only their scale is compared."""
    files = [run_phases(build, template, tmp_path / device, device) for device in ("cpu", "cuda")]
    wanted, weights = (read_weights(each.outputs["network"], "compact_fields")[0] for each in files)
    assert weights.keys() == wanted.keys()
    torch.testing.assert_close(weights["object.distance"], wanted["object.distance"], atol=2e-3, rtol=0)
    written = [[each.folder / name for each in files] for name in ("poses.npz", "refined.npz")]
    of_networks = []
    for device in ("cpu", "cuda"):
        prior = tmp_path / f"{device}.safetensors"
        hand_prior(build, prior, prior.with_suffix(".json"), PRIOR, small_networks().sdf, seed=1, device=device)
        of_networks.append(trained(build, prior, tmp_path / f"net-{device}", HOLDNET, device=device)["poses"])
    for paths in (*written, of_networks):
        expected, found = (SequencePoses.load(path) for path in paths)
        np.testing.assert_allclose(found.object_translation_m, expected.object_translation_m, atol=3e-3)
