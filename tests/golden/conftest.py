"""Where the golden numbers are, and how to open them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

GoldenFile = Callable[[str], dict[str, np.ndarray]]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Two threads on a busy machine wait for each other most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """Our copy of the public set, or the folder that HANDLOOM_GOLDEN_S2D names."""
    return Path(os.environ.get("HANDLOOM_GOLDEN_S2D") or Path(__file__).parent / "s2d")


@pytest.fixture(scope="session")
def golden(golden_folder: Path) -> GoldenFile:
    """All arrays of one golden file, by its name without suffix."""

    def read(name: str) -> dict[str, np.ndarray]:
        with np.load(golden_folder / f"{name}.npz", allow_pickle=False) as arrays:
            return dict(arrays)

    return read
