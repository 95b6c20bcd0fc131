"""A device that runs out of memory: the step is done again in smaller parts, for the same result, and says so."""

from typing import Any

import pytest
import torch
from torch import Tensor

from handloom.reconstruction.compact.fields import FieldValues, VoxelField
from handloom.reconstruction.compact.refinement import Refinement
from handloom.reconstruction.compact.training import CompactTraining
from handloom.runtime.config.refinement import RefinementSettings
from handloom.runtime.errors import InputError

from .scene import held_box, small_settings, small_training

STEPS = 6
SETTINGS = small_settings(STEPS)
AT = VoxelField.at


class SmallDevice:
    """Fields that run out of memory above so many points at a time; counts what they refused."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most_points: int) -> None:
        self.refused = 0

        def at(field: VoxelField, volume: Tensor, points_unit: Tensor, frame: Tensor) -> FieldValues:
            if len(points_unit) > most_points:
                self.refused += 1
                raise torch.OutOfMemoryError("no room")
            return AT(field, volume, points_unit, frame)

        monkeypatch.setattr(VoxelField, "at", at)


def gradients(training: CompactTraining) -> dict[str, Tensor]:
    scene = training.scene
    parts = {"object": scene.object_field, "hand": scene.hand_field, "poses": scene.poses}
    return {
        f"{part}.{name}": value.grad
        for part, module in parts.items()
        for name, value in module.named_parameters()
        if value.grad is not None
    }


@pytest.mark.parametrize("chunks", [2, 5])
def test_parts_give_the_same_loss_and_derivative(chunks: int) -> None:
    """Protects the result from the fallback: same rays, same samples, sums within float32's rounding."""
    whole, parts = small_training(SETTINGS), small_training(SETTINGS)
    parts.scene.chunks = chunks
    totals = [float(training.run_step().total.detach()) for training in (whole, parts)]
    assert totals[1] == pytest.approx(totals[0], rel=1e-6)
    wanted, found = gradients(whole), gradients(parts)
    assert wanted.keys() == found.keys()
    assert {"object.distance", "hand.codes", "poses.hand_fingers", "poses.object_rotvec"} <= wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, atol=2e-6 * float(value.abs().max()), rtol=1e-4, msg=name)


def test_a_full_device_takes_smaller_parts_says_so_once_and_keeps_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects small GPUs: halved until it fits, one line for each halving, no further failure in later steps."""
    wanted = small_training(SETTINGS)
    totals = [float(wanted.run_step().total.detach()) for _ in range(STEPS)]
    training = small_training(SETTINGS)
    device = SmallDevice(monkeypatch, most_points=250)  # of 96 rays about 600 points lie near the object
    first = float(training.run_step().total.detach())
    refused, said = device.refused, capsys.readouterr().err
    assert training.scene.chunks == 2 ** said.count("out of memory") > 1
    assert f"cpu: out of memory at step 0; from here on rays are evaluated in {training.scene.chunks} parts" in said
    later = [float(training.run_step().total.detach()) for _ in range(STEPS - 1)]
    assert device.refused == refused
    assert capsys.readouterr().err == ""
    assert [first, *later] == pytest.approx(totals, rel=1e-4)


def test_memory_that_runs_out_in_the_derivative_is_caught_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects the step itself: half-summed derivatives of the failed try are thrown away."""
    wanted, training = small_training(SETTINGS), small_training(SETTINGS)
    wanted.run_step()
    backward, calls = Tensor.backward, []

    def failing(self: Tensor, *args: Any, **named: Any) -> None:
        backward(self, *args, **named)
        calls.append(1)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(Tensor, "backward", failing)
    training.run_step()
    assert "in 2 parts" in capsys.readouterr().err
    for name, value in gradients(wanted).items():
        found = gradients(training)[name]
        torch.testing.assert_close(found, value, atol=2e-6 * float(value.abs().max()), rtol=1e-4, msg=name)


def test_smaller_parts_survive_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects a resumed training from running into the same wall again."""
    training = small_training(SETTINGS)
    SmallDevice(monkeypatch, most_points=250)
    training.run_step()
    again = small_training(SETTINGS)
    again.restore(training.state())
    assert again.scene.chunks == training.scene.chunks > 1


def test_a_device_without_any_memory_says_what_to_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects from halving for ever: below 16 rays at a time the error names the settings, nothing was stepped."""
    training = small_training(SETTINGS)
    SmallDevice(monkeypatch, most_points=0)
    with pytest.raises(InputError, match=r"cpu: out of memory at step 0 with 24 rays at a time; lower hold\.compact"):
        training.run_step()
    assert training.step == 0
    assert not training.optimiser.state


def test_a_refinement_without_memory_says_what_to_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects phase 2, which takes all frames at once: the setting to lower is named."""
    held = held_box()
    settings = RefinementSettings(steps=2, long_side_px=40)
    refinement = Refinement(held.scene_poses(), held.mesh_unit, held.observations(), settings)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(Refinement, "terms", full)
    with pytest.raises(InputError, match=r"out of memory in the pose refinement; lower hold\.refinement\.long_side_px"):
        refinement.run()
