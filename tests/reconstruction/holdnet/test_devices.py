"""HOLD-Net's training on a device: nothing stays on the CPU by mistake, and the numbers are the CPU's.

Without a GPU this is tried on the compact fields' `other_device`. The tests on a real one are skipped where there is
none.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from handloom.reconstruction.compact.scene_input import read_poses
from handloom.reconstruction.holdnet.hand_prior import hand_prior
from handloom.reconstruction.holdnet.phases import PhaseOutputs, train_holdnet_phase
from handloom.reconstruction.holdnet.preview import write_preview

from ..compact.other_device import NAME, other_device  # noqa: TID252 (the tests are no package)
from ..compact.scene import MODEL  # noqa: TID252
from .scene import small_settings
from .training_scene import PRIOR, gradients, outputs_in, tiny_settings, tiny_training, totals

SETTINGS = tiny_settings(pairs=1, pairs_per_epoch=1, rays=8)  # epochs of one step, so the object is meshed too
STEPS = 3
ON_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def run_phase(build: Path, prior: Path, folder: Path, device: str) -> PhaseOutputs:
    outputs = outputs_in(folder)
    run = {"outputs": outputs, "work": folder / "work", "seed": 1, "device": device}
    train_holdnet_phase(SETTINGS, "phase1", MODEL, build, prior, **run)
    return outputs


@pytest.mark.filterwarnings("ignore:for .*copying from a non-meta parameter")  # of the name, not of the copy
def test_a_training_elsewhere_has_the_cpu_s_numbers(build: Path, prior: Path, tmp_path: Path) -> None:
    """Protects the draws, which are the CPU's on all devices, every tensor that a step makes, and the preview."""
    settings = SETTINGS.model_copy(update={"parts": 2})
    wanted = tiny_training(build, prior, settings)
    expected = totals(wanted, STEPS)
    with other_device():
        training = tiny_training(build, prior, settings, device=NAME)
        assert {value.device.type for value in training.net.state_dict().values()} == {NAME}
        # Nearest vertices are sought by force there, by a tree here: equal up to rounding.
        assert totals(training, STEPS) == pytest.approx(expected, rel=1e-4)
        assert training.targets.state()["object"] is not None
        write_preview(tmp_path / "there.png", training)
        poses = training.poses()
    assert (tmp_path / "there.png").stat().st_size > 500
    np.testing.assert_allclose(poses.object_rotvec, wanted.poses().object_rotvec, atol=1e-4)


@ON_GPU
def test_a_gpu_starts_as_the_cpu_does(build: Path, prior: Path) -> None:
    """Protects the draws on a real device: first loss and first derivative within float32's rounding."""
    here, there = (tiny_training(build, prior, SETTINGS, device=device) for device in ("cpu", "cuda"))
    assert totals(there, 1) == pytest.approx(totals(here, 1), rel=1e-3)
    wanted = gradients(here)
    for name, found in gradients(there).items():
        if found.numel():
            torch.testing.assert_close(
                found.cpu(), wanted[name], atol=1e-2 * float(wanted[name].abs().max()), rtol=1e-2, msg=name
            )


@ON_GPU
def test_the_stages_run_on_a_gpu(build: Path, tmp_path: Path) -> None:
    """Protects prior and phase as stages; numbers drift apart over the steps, so only their scale is compared."""
    found = []
    for device in ("cpu", "cuda"):
        prior = tmp_path / f"{device}.safetensors"
        hand_prior(PRIOR, small_settings().sdf, MODEL, build, prior, prior.with_suffix(".json"), seed=1, device=device)
        found.append(read_poses(run_phase(build, prior, tmp_path / device, device).poses))
    np.testing.assert_allclose(found[1].object_translation_m, found[0].object_translation_m, atol=3e-3)


@ON_GPU
def test_a_real_gpu_without_memory_takes_smaller_parts(
    build: Path, prior: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects the fallback where it is needed: PyTorch is given a little more than half of what a step needs."""
    device = torch.device("cuda")
    training = tiny_training(build, prior, SETTINGS.model_copy(update={"rays": 1024}), device="cuda")
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
    assert training.net.parts > 1
    assert "out of memory at step 1; from here on rays are evaluated in" in capsys.readouterr().err
