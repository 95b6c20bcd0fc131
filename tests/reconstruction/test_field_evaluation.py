"""A device that runs out of memory: the step is done again in smaller chunks, for the same result, and says so."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from handloom.reconstruction.compact.fields import FieldValues, VoxelField
from handloom.reconstruction.holdnet.networks import FieldSample, ImplicitNetwork
from handloom.runtime.errors import InputError

from .compact.scene import small_settings, small_training
from .holdnet.scene import tiny_settings, tiny_training
from .trainings import Training, chunks_of, gradients, same_gradients, totals

STEPS = 3
AT, WITH_GRADIENT = VoxelField.at, ImplicitNetwork.with_gradient


@dataclass(frozen=True)
class Field:
    """A kind of field: new trainings of it in so many chunks, and how many its first step evaluates at a time."""

    start: Callable[[int], Training]
    most_points: int
    """Too few for a whole step."""
    parameters: set[str]
    """Some that every step has a derivative for."""
    to_lower: str


@pytest.fixture(params=["compact", "holdnet"])
def field(request: pytest.FixtureRequest, build: Path) -> Field:
    if request.param == "compact":

        def compact(chunks: int) -> Training:
            training = small_training(small_settings(6))
            training.scene.chunks = chunks
            return training

        # Of 96 rays about 600 points lie near the object.
        seen = {"object.features", "right.codes", "poses.right.hand_fingers", "poses.right.object_rotvec"}
        return Field(compact, 250, seen, r"24 rays at a time; lower hold\.compact")
    prior: Path = request.getfixturevalue("prior")
    settings = tiny_settings(hand_refresh_steps=1000, meshing_epochs=1000, rays=32)
    seen = {"nodes.right.params.pose.weight", "nodes.object.density.beta", "background.bg_implicit_network.lin0.bias"}
    # Of 128 rays a node has 2048 points, and of 4 images 1228 eikonal points.
    lower = r"16 rays at a time; lower hold\.holdnet\.pairs"
    return Field(lambda chunks: tiny_training(build, prior, settings, chunks=chunks), 1300, seen, lower)


class SmallDevice:
    """Fields that run out of memory above so many points at a time; counts what they refused."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most_points: int) -> None:
        self.refused = 0

        def take(points: int) -> None:
            if points > most_points:
                self.refused += 1
                raise torch.OutOfMemoryError("no room")

        def at(field: VoxelField, volume: Tensor, points_unit: Tensor, frame: Tensor) -> FieldValues:
            take(len(points_unit))
            return AT(field, volume, points_unit, frame)

        def with_gradient(network: ImplicitNetwork, points: Tensor, *, differentiable: bool) -> FieldSample:
            take(points.shape[:-1].numel())
            return WITH_GRADIENT(network, points, differentiable=differentiable)

        monkeypatch.setattr(VoxelField, "at", at)
        monkeypatch.setattr(ImplicitNetwork, "with_gradient", with_gradient)


def test_chunks_give_the_same_loss_and_derivative(field: Field) -> None:
    """Protects the result from the fallback: same rays and samples, sums within float32's rounding."""
    whole, cut = field.start(1), field.start(5)
    assert totals(cut, 1) == pytest.approx(totals(whole, 1), rel=1e-6)
    assert field.parameters <= gradients(whole).keys()
    same_gradients(cut, whole)


def test_a_full_device_takes_smaller_chunks_says_so_and_keeps_them(
    field: Field, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects small GPUs: halved until it fits, told once each, kept over checkpoints, nothing counted twice."""
    wanted = totals(field.start(1), STEPS)
    training = field.start(1)
    device = SmallDevice(monkeypatch, field.most_points)
    found, refused, said = totals(training, 1), device.refused, capsys.readouterr().err
    chunks = chunks_of(training)
    assert chunks == 2 ** said.count("out of memory") == 2**refused > 1
    assert re.search(
        rf"cpu: out of memory at step 0; from here on rays are evaluated in {chunks} chunks of about", said
    )
    found += totals(training, STEPS - 1)
    assert device.refused == refused
    assert capsys.readouterr().err == ""
    assert found == pytest.approx(wanted, rel=1e-4)
    again = field.start(1)
    again.restore(training.state())
    assert chunks_of(again) == chunks


def test_memory_that_runs_out_in_the_derivative_is_caught_too(
    field: Field, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects the step itself: half-summed derivatives of the failed try are thrown away."""
    wanted, training = field.start(1), field.start(1)
    wanted.run_step()
    backward, calls = Tensor.backward, []

    def failing(self: Tensor, *args: Any, **named: Any) -> None:
        backward(self, *args, **named)
        calls.append(1)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(Tensor, "backward", failing)
    training.run_step()
    assert "in 2 chunks" in capsys.readouterr().err
    same_gradients(training, wanted)


def test_a_device_without_any_memory_says_what_to_lower(field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects from halving for ever: below 16 rays at a time the error names the settings, nothing was stepped."""
    training = field.start(1)
    SmallDevice(monkeypatch, 0)
    with pytest.raises(InputError, match=rf"cpu: out of memory at step 0 with {field.to_lower}"):
        training.run_step()
    assert training.step == 0
    assert not training.optimiser.state


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", ["compact", "holdnet"])
def test_a_real_gpu_without_memory_takes_smaller_chunks(
    kind: str, build: Path, prior: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects the fallback where it is needed: PyTorch is given a little more than half of what a step needs."""
    device = torch.device("cuda")
    training: Training
    if kind == "compact":
        settings = small_settings(6).model_copy(update={"rays": 8192, "object_samples": 64, "hidden": 128})
        training = small_training(settings, device="cuda")
    else:
        training = tiny_training(build, prior, tiny_settings(rays=1024), device="cuda")
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
    assert chunks_of(training) > 1
    assert "out of memory at step 1; from here on rays are evaluated in" in capsys.readouterr().err
