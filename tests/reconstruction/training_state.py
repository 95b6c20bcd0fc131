"""The state of a training as a checkpoint holds it, and its leaves, to compare."""

import io
from collections.abc import Mapping
from typing import Any

import torch


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    """As checkpoints hold it."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """All leaves of nested states by their path."""
    if isinstance(value, Mapping):
        items: list[tuple[Any, Any]] = list(value.items())
    elif isinstance(value, list | tuple):
        items = list(enumerate(value))
    else:
        return {name: value}
    return {key: leaf for part, inner in items for key, leaf in flat(inner, f"{name}.{part}").items()}
