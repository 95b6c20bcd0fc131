"""HOLD's golden files: where they are, the random hand in MANO's format, and the weights that names alone fix.

The recipes are those of hold/README.md; the seed is read from the files, so that another set of the same layout
runs too.
"""

import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from handloom.hand.joints import MANO_FINGERTIPS_SMPLX
from handloom.hand.mano import HandModel


def hold_folder() -> Path:
    """Our copy of the public set, or the folder that HANDLOOM_GOLDEN_HOLD names."""
    return Path(os.environ.get("HANDLOOM_GOLDEN_HOLD") or Path(__file__).parent / "hold")


def hold_arrays(name: str) -> dict[str, np.ndarray]:
    """All arrays of a golden npz, by its name without suffix."""
    with np.load(hold_folder() / f"{name}.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def hold_tensors(name: str) -> dict[str, torch.Tensor]:
    """The same as tensors; arrays of text are left out."""
    return {key: torch.as_tensor(array) for key, array in hold_arrays(name).items() if array.dtype.kind in "biuf"}


def hold_json(name: str) -> Any:
    """A golden JSON file, by its name without suffix."""
    return json.loads((hold_folder() / f"{name}.json").read_text())


def weight_seed() -> int:
    """The set's seed of the weight recipes."""
    return int(hold_arrays("c01_networks")["seed"])


def random_hand() -> HandModel:
    """The random hand in MANO's format that the set was made with."""
    arrays = hold_arrays("mano_random")
    shapedirs = arrays["shapedirs_q"].astype(np.float64) * arrays["shapedirs_scale"].astype(np.float64)
    posedirs = arrays["posedirs_q"].astype(np.float64) * arrays["posedirs_scale"].astype(np.float64)
    return HandModel(
        v_template=torch.from_numpy(arrays["v_template"]),
        shapedirs=torch.from_numpy(shapedirs.astype(np.float32)),
        posedirs=torch.from_numpy(posedirs.astype(np.float32)),
        J_regressor=torch.from_numpy(arrays["J_regressor"]),
        weights=torch.from_numpy(arrays["weights"]),
        faces=torch.from_numpy(arrays["faces"].astype(np.int64)),
        hands_mean=torch.from_numpy(arrays["hands_mean"]),
        hands_components=torch.eye(45),
        tip_vertices=MANO_FINGERTIPS_SMPLX,
        side="right",
    )


def checkpoint_shapes() -> dict[str, tuple[int, ...]]:
    """Name (without the leading `model.`) and shape of every entry of a HOLD checkpoint."""
    entries = hold_json("c01_hold_keys")["state_dict"]
    return {name.removeprefix("model."): tuple(shape) for name, (shape, _) in entries.items()}


def recipe_value(seed: int, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Recipe (a): the value of a checkpoint entry, from its name without `model.` alone."""
    random = _generator(seed, name)
    if name.endswith("weight_v"):
        value = random.uniform(-1, 1, shape)
    elif name.endswith("weight_g"):
        value = random.uniform(1.0, 1.8, shape)
    elif name.endswith("bias"):
        value = random.uniform(-0.1, 0.1, shape)
    elif name.endswith("density.beta"):
        value = np.asarray(random.uniform(0.03, 0.12, shape))
    elif "frame_latent_encoder" in name:
        value = random.uniform(-1, 1, shape)
    else:
        value = random.uniform(-1, 1, shape) * np.sqrt(6.0 / max(1, shape[1]))
    if name.endswith("implicit_network.lin8.bias") and "bg_" not in name:
        value[0] = 0.25
    return torch.from_numpy(np.asarray(value, np.float32))


def sphere_layer(seed: int, node: str, layer: int, shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Recipe (b): effective weight and bias of a layer of an SDF net near a sphere (c06_full_forward_eval)."""
    gain = 10.0 if node == "right" else 1.0
    rows, columns = shape
    normal = _generator(seed, f"nodes.{node}.implicit_network.lin{layer}.sphere").standard_normal(shape)
    weight, bias = normal * np.sqrt(2.0 / rows), np.zeros(rows)
    if layer == 0:
        weight[:, :3] *= gain
        weight[:, 3:] = 0.003 * normal[:, 3:]
    if layer == 4:
        weight[:, 217:220] *= gain
        weight[:, -36:] = 0
    if layer == 8:
        weight = np.sqrt(np.pi / columns) + 1e-4 * normal
        weight[1:] = np.sqrt(np.pi / columns) + 0.05 * normal[1:]
        bias[:] = -0.6
    return torch.from_numpy(weight.astype(np.float32)), torch.from_numpy(bias.astype(np.float32))


def _generator(seed: int, text: str) -> np.random.RandomState:
    return np.random.RandomState([seed, zlib.crc32(text.encode())])
