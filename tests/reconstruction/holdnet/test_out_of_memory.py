"""A device that runs out of memory in HOLD-Net: the step is done again in smaller parts, for the same result."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from handloom.reconstruction.holdnet.implicit_network import FieldGradientSample, ImplicitNetwork
from handloom.runtime.errors import InputError

from .training_scene import gradients, tiny_settings, tiny_training, totals

SETTINGS = tiny_settings(hand_refresh_steps=1000, meshing_epochs=1000)
WITH_GRADIENT = ImplicitNetwork.with_gradient


class SmallDevice:
    """Shape networks that run out of memory above so many points at a time; counts what they refused."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most_points: int) -> None:
        self.refused = 0

        def with_gradient(network: ImplicitNetwork, points: Tensor, *, differentiable: bool) -> FieldGradientSample:
            if points.shape[:-1].numel() > most_points:
                self.refused += 1
                raise torch.OutOfMemoryError("no room")
            return WITH_GRADIENT(network, points, differentiable=differentiable)

        monkeypatch.setattr(ImplicitNetwork, "with_gradient", with_gradient)


@pytest.mark.parametrize("parts", [2, 5])
def test_parts_give_the_same_loss_and_derivative(build: Path, prior: Path, parts: int) -> None:
    """Protects the result from the fallback: same samples, sums within float32's rounding, second order included."""
    whole = tiny_training(build, prior, SETTINGS)
    pieces = tiny_training(build, prior, SETTINGS.model_copy(update={"parts": parts}))
    found = [totals(training, 1)[0] for training in (whole, pieces)]
    assert found[1] == pytest.approx(found[0], rel=1e-6)
    wanted, made = gradients(whole), gradients(pieces)
    assert wanted.keys() == made.keys()
    assert {
        "nodes.right.params.pose.weight",
        "nodes.object.density.beta",
        "background.bg_implicit_network.lin0.bias",
    } <= (wanted.keys())
    for name, value in wanted.items():
        if value.numel():
            torch.testing.assert_close(made[name], value, atol=2e-6 * float(value.abs().max()), rtol=1e-3, msg=name)


def test_a_full_device_takes_smaller_parts_says_so_and_keeps_them(
    build: Path, prior: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects small GPUs: halved until it fits, told once, kept, and no step of the encoding counted twice."""
    wanted = totals(tiny_training(build, prior, SETTINGS), 3)
    training = tiny_training(build, prior, SETTINGS)
    device = SmallDevice(monkeypatch, most_points=1300)  # 32 rays have 512 samples, and 4 images 1228 eikonal points
    assert totals(training, 1) == pytest.approx(wanted[:1], rel=1e-6)
    assert device.refused == 0
    capsys.readouterr()

    training = tiny_training(build, prior, SETTINGS.model_copy(update={"rays": 32}))
    expected = totals(tiny_training(build, prior, SETTINGS.model_copy(update={"rays": 32, "parts": 2})), 2)
    first = totals(training, 1)
    refused, said = device.refused, capsys.readouterr().err
    assert training.net.parts == 2
    assert "cpu: out of memory at step 0; from here on rays are evaluated in 2 parts of about 64" in said
    assert [*first, *totals(training, 1)] == pytest.approx(expected, rel=1e-6)
    assert device.refused == refused == 1
    assert int(training.net.object_node.encoding.alpha_iter) == 2
    assert capsys.readouterr().err == ""

    again = tiny_training(build, prior, training.settings)
    again.restore(training.state())
    assert again.net.parts == 2


def test_a_device_without_any_memory_says_what_to_lower(
    build: Path, prior: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects from halving for ever: below 16 rays at a time the error names the settings, nothing was stepped."""
    training = tiny_training(build, prior, SETTINGS)
    SmallDevice(monkeypatch, most_points=0)
    message = r"cpu: out of memory at step 0 with 16 rays at a time; lower hold\.holdnet\.pairs"
    with pytest.raises(InputError, match=message):
        training.run_step()
    assert training.step == 0
    assert not training.optimiser.state
