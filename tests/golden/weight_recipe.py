"""Network weights from a seed, as s2d/README.md describes them: nothing but names, shapes and generators."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch


def published_shapes(golden_folder: Path) -> dict[str, tuple[int, ...]]:
    """Name and shape of all entries of the published state dict, in its order."""
    entries = json.loads((golden_folder / "state_dict.json").read_text())["entries"]
    return {entry["name"]: tuple(entry["shape"]) for entry in entries}


def recipe_arrays(shapes: Mapping[str, Sequence[int]], seed: int) -> dict[str, np.ndarray]:
    """Entry i in the names' sorted order is drawn from a generator of its own, seeded by (seed, i)."""
    return {name: _entry(name, tuple(shapes[name]), seed, index) for index, name in enumerate(sorted(shapes))}


def recipe_weights(golden_folder: Path, seed: int) -> dict[str, torch.Tensor]:
    """The recipe's full-size state dict, ready for `load_state_dict`."""
    arrays = recipe_arrays(published_shapes(golden_folder), seed)
    return {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}


def _entry(name: str, shape: tuple[int, ...], seed: int, index: int) -> np.ndarray:
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    normal = np.asarray(np.random.default_rng([seed, index]).standard_normal(shape))
    if len(shape) == 4:  # He's deviation for a convolution kernel: fan-in is everything but the outputs
        values = normal * math.sqrt(2 / math.prod(shape[1:]))
    elif name.endswith("running_var"):
        values = 1 + 0.1 * np.abs(normal)
    elif name.endswith(("running_mean", ".bias")):
        values = 0.1 * normal
    else:
        values = 1 + 0.1 * normal
    return (_factor(name) * values).astype(np.float32)


def _factor(name: str) -> float:
    """Calm the residual branches and the location head, whose bias is spread out instead."""
    if name.endswith("bn3.weight") or name == "lmap_0.prediction.weight":
        return 0.3
    return 6.0 if name == "lmap_0.prediction.bias" else 1.0
