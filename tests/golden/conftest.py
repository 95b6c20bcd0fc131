"""Where the golden numbers are, and how to open them."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

GoldenFile = Callable[[str], dict[str, np.ndarray]]


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
