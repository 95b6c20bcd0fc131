"""Build folder and prior of the held box are made once."""

from pathlib import Path

import pytest

from handloom.reconstruction.holdnet.hand_prior import hand_prior

from ..compact.scene import MODEL, write_small_build  # noqa: TID252 (the tests are no package)
from .scene import small_settings
from .training_scene import PRIOR


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build folder; tests only read it."""
    return write_small_build(tmp_path_factory.mktemp("held_box"))


@pytest.fixture(scope="session")
def prior(build: Path) -> Path:
    """The hand's first shape, roughly."""
    path = build.parent / "hand_prior.safetensors"
    hand_prior(PRIOR, small_settings().sdf, MODEL, build, path, path.with_suffix(".json"), seed=1)
    return path
