"""The compact phases on a device: nothing of theirs stays on the CPU by mistake, and the numbers are the CPU's.

Without a GPU this is tried on `other_device`, whose operations are the CPU's: results must be equal bit for bit. The
tests on a real one are skipped where there is none.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from handloom.reconstruction.compact.observations import Observations
from handloom.reconstruction.compact.phases import PhaseOutputs, refine_poses, train_phase
from handloom.reconstruction.compact.preview import write_preview
from handloom.reconstruction.compact.scene_input import read_poses
from handloom.reconstruction.compact.training import CompactTraining
from handloom.runtime.artifacts import read_weights
from handloom.runtime.config.compact import CompactSettings
from handloom.runtime.config.refinement import RefinementSettings

from .other_device import NAME, other_device
from .scene import MODEL, held_box, small_settings, small_template

STEPS = 6
SETTINGS = small_settings(STEPS).model_copy(update={"checkpoint_seconds": 0.0})
REFINEMENT = RefinementSettings(steps=3, long_side_px=40)
ON_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def training_on(device: str, settings: CompactSettings = SETTINGS) -> CompactTraining:
    held = held_box()
    given = held.observations(), MODEL, held.poses, held.cube, settings, settings.phase1
    return CompactTraining.start(*given, template=small_template(), seed=3, device=device)


def totals(training: CompactTraining, steps: int) -> list[float]:
    return [float(training.run_step().total.detach()) for _ in range(steps)]


def run_phases(build: Path, template: Path, folder: Path, device: str) -> PhaseOutputs:
    """Phase 1 and phase 2 as stages."""
    folder.mkdir()
    names = ("network.safetensors", "poses.npz", "object.npz", "history.csv", "previews")
    outputs = PhaseOutputs(*(folder / name for name in names))
    run = {"outputs": outputs, "work": folder / "work", "seed": 1, "threads": 1, "device": device}
    train_phase(SETTINGS, "phase1", MODEL, build, template, **run)
    given = SETTINGS.cube_margin, MODEL, build, outputs.poses, outputs.mesh
    refine_poses(REFINEMENT, *given, folder / "refined.npz", folder / "refined.csv", threads=1, device=device)
    return outputs


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


@pytest.mark.parametrize("chunks", [1, 3])
def test_a_training_elsewhere_has_the_same_numbers(chunks: int) -> None:
    """Protects the draws, which are the CPU's on all devices, and every tensor that a step makes, also in parts."""
    wanted = training_on("cpu")
    wanted.scene.chunks = chunks
    expected = totals(wanted, STEPS)
    with other_device():
        training = training_on(NAME)
        training.scene.chunks = chunks
        assert {value.device.type for value in training.field_state().values()} == {NAME}
        assert {value.device.type for value in training.scene.poses.parameters()} == {NAME}
        assert training.observations.image_u8.device.type == NAME
        assert totals(training, STEPS) == expected
        found = training.scene.poses.arrays()
    for name, value in wanted.scene.poses.arrays()._asdict().items():
        assert torch.equal(getattr(found, name), value), name


@pytest.mark.filterwarnings("ignore:for .*copying from a non-meta parameter")  # of the name, not of the copy
def test_a_checkpoint_goes_from_one_device_to_another() -> None:
    """Protects resuming, since checkpoints are read on the CPU: half the steps here, half there, the same numbers."""
    expected = totals(training_on("cpu"), STEPS)
    first = training_on("cpu")
    assert totals(first, 3) == expected[:3]
    with other_device():
        second = training_on(NAME)
        second.restore(first.state())
        assert {value.device.type for value in second.field_state().values()} == {NAME}
        assert totals(second, STEPS - 3) == expected[3:]


def test_the_stages_elsewhere_write_the_same_bytes(build: Path, template: Path, tmp_path: Path) -> None:
    """Protects the way from the configuration's `device` to the files: fields, poses, mesh, pictures, phase 2."""
    here = run_phases(build, template, tmp_path / "here", "cpu")
    with other_device():
        there = run_phases(build, template, tmp_path / "there", NAME)
    for one, other in zip(sorted(here.network.parent.rglob("*")), sorted(there.network.parent.rglob("*")), strict=True):
        assert one.name == other.name
        assert one.is_dir() or one.read_bytes() == other.read_bytes(), one.name


@ON_GPU
def test_a_gpu_starts_as_the_cpu_does() -> None:
    """Protects the draws on a real device: first loss and first derivative within float32's rounding."""
    here, there = training_on("cpu"), training_on("cuda")
    assert totals(there, 1) == pytest.approx(totals(here, 1), rel=1e-4)
    for (name, wanted), found in zip(
        here.scene.object_field.named_parameters(), there.scene.object_field.parameters(), strict=True
    ):
        assert wanted.grad is not None
        assert found.grad is not None
        torch.testing.assert_close(
            found.grad.cpu(), wanted.grad, atol=1e-3 * float(wanted.grad.abs().max()), rtol=1e-3, msg=name
        )


@ON_GPU
def test_the_stages_run_on_a_gpu(build: Path, template: Path, tmp_path: Path) -> None:
    """Protects both phases as stages; numbers drift apart over the steps, so only their scale is compared."""
    here = run_phases(build, template, tmp_path / "here", "cpu")
    there = run_phases(build, template, tmp_path / "there", "cuda")
    weights, _ = read_weights(there.network, "compact_fields")
    wanted, _ = read_weights(here.network, "compact_fields")
    assert weights.keys() == wanted.keys()
    torch.testing.assert_close(weights["object.distance"], wanted["object.distance"], atol=2e-3, rtol=0)
    for name in ("poses.npz", "refined.npz"):
        found, expected = (read_poses(outputs.poses.with_name(name)) for outputs in (there, here))
        np.testing.assert_allclose(found.object_translation_m, expected.object_translation_m, atol=3e-3)


@ON_GPU
def test_a_real_gpu_without_memory_takes_smaller_parts(capsys: pytest.CaptureFixture[str]) -> None:
    """Protects the fallback where it is needed: PyTorch is given a little more than a quarter of a step needs."""
    device = torch.device("cuda")
    settings = SETTINGS.model_copy(update={"rays": 8192, "object_samples": 64, "hidden": 128})
    training = training_on("cuda", settings)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    training.run_step()
    need = torch.cuda.max_memory_allocated(device) - before
    torch.cuda.empty_cache()
    share = (torch.cuda.memory_reserved(device) + 0.6 * need) / torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(share, device)
    try:
        training.run_step()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    assert training.scene.chunks > 1
    assert "out of memory at step 1; from here on rays are evaluated in" in capsys.readouterr().err


@ON_GPU
def test_a_preview_of_a_gpu_is_that_of_the_cpu(tmp_path: Path) -> None:
    """Protects pictures from the device's tensors."""
    pictures = []
    for device in ("cpu", "cuda"):
        path = tmp_path / f"{device}.png"
        write_preview(path, training_on(device))
        pictures.append(np.frombuffer(path.read_bytes(), np.uint8).size)
    assert abs(pictures[0] - pictures[1]) < 0.05 * pictures[0]
    assert isinstance(training_on("cuda").observations, Observations)
