"""Independent random streams derived from one root seed and the names of what uses them."""

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derived_seed(root: int, *keys: str | int) -> int:
    """A 63-bit seed that depends on the root and on every key, the same on every machine."""
    digest = hashlib.sha256(json.dumps([root, *keys]).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def numpy_generator(root: int, *keys: str | int) -> np.random.Generator:
    """NumPy's generator for the stream named by the keys."""
    return np.random.default_rng(derived_seed(root, *keys))


def torch_generator(root: int, *keys: str | int, device: str = "cpu") -> "torch.Generator":
    """PyTorch's generator, on `device`, for the stream named by the keys."""
    import torch

    return torch.Generator(device=device).manual_seed(derived_seed(root, *keys))
