"""What trainings of both kinds of fields have in common, to compare them: losses, derivatives, states."""

import io
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from handloom.reconstruction.compact.training import CompactTraining
from handloom.reconstruction.holdnet.training import HoldNetTraining

Training = CompactTraining | HoldNetTraining


def totals(training: Training, steps: int) -> list[float]:
    """The losses of so many steps."""
    return [float(training.run_step().total.detach()) for _ in range(steps)]


def gradients(training: Training) -> dict[str, Tensor]:
    """All that a step has left, on the CPU."""
    if isinstance(training, CompactTraining):
        scene = training.scene
        fields = {f"{side}.": node.field for side, node in scene.hands.items()}
        modules = {"object.": scene.object_field, **fields, "poses.": scene.poses}
    else:
        modules = {"": training.net}
    named = [(of + name, value) for of, module in modules.items() for name, value in module.named_parameters()]
    return {name: value.grad.cpu() for name, value in named if value.grad is not None and value.numel()}


def same_gradients(found: Training, wanted: Training, of: str = "", *, share: float = 2e-6, rtol: float = 1e-3) -> None:
    """Equal up to a share of each parameter's largest derivative, of the parameters whose names begin so."""
    one, other = gradients(found), gradients(wanted)
    assert one.keys() == other.keys()
    for name in (name for name in other if name.startswith(of)):
        atol = share * float(other[name].abs().max())
        torch.testing.assert_close(one[name], other[name], atol=atol, rtol=rtol, msg=name)


def chunks_of(training: Training) -> int:
    """In how many chunks fields are evaluated."""
    return training.scene.chunks if isinstance(training, CompactTraining) else training.net.chunks


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    """As checkpoints hold it."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """The leaves in which two states differ."""
    one, other = _flat(found), _flat(expected)
    assert one.keys() == other.keys()
    return [
        name
        for name, value in other.items()
        if not (torch.equal(one[name], value) if isinstance(value, Tensor) else one[name] == value)
    ]


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        items: list[tuple[Any, Any]] = list(value.items())
    elif isinstance(value, list | tuple):
        items = list(enumerate(value))
    else:
        return {name: value}
    return {key: leaf for part, inner in items for key, leaf in _flat(inner, f"{name}.{part}").items()}
