"""Weights that names alone fix: recipe (c) of hold/README.md, for METRO and HandOccNet."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from .hold_files import _generator


def generic_weights(
    entries: Mapping[str, tuple[Sequence[int], str]], seed: int, skipped: Callable[[str], bool]
) -> dict[str, torch.Tensor]:
    """A state dict of the given shapes, without the entries that the recipe leaves alone; counters are zero."""
    return {
        name: generic_value(seed, name, tuple(shape)) if dtype.startswith("float") else torch.zeros(tuple(shape)).long()
        for name, (shape, dtype) in entries.items()
        if not skipped(name)
    }


def generic_value(seed: int, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The value of a floating-point entry."""
    random = _generator(seed, name)
    value: Any
    if name.endswith("running_mean"):
        value = random.uniform(-0.1, 0.1, shape)
    elif name.endswith("running_var"):
        value = random.uniform(0.5, 1.5, shape)
    elif name.endswith("position_embeddings.weight"):
        value = random.uniform(-1, 1, shape)
    elif len(shape) >= 2 and name.endswith("weight"):
        value = random.uniform(-1, 1, shape) * np.sqrt(3.0 / np.prod(shape[1:]))
    elif name.endswith("weight"):
        value = random.uniform(0.6, 1.0, shape)
    elif name.endswith("bias"):
        value = random.uniform(-0.1, 0.1, shape)
    elif name.endswith(".betas"):
        value = random.uniform(2.0, 10.0, shape)
    else:
        value = random.uniform(-0.5, 0.5, shape)
    return torch.from_numpy(np.asarray(value, np.float32))
