"""The build folder of the held box is written once."""

from pathlib import Path

import pytest

from handloom.reconstruction.compact.hand_template import template_of_build

from .scene import MODEL, write_small_build


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build folder; tests only read it."""
    return write_small_build(tmp_path_factory.mktemp("held_box"))


@pytest.fixture(scope="session")
def template(build: Path) -> Path:
    """Its hand's template on 12 nodes a side."""
    path = build.parent / "hand_template.npz"
    template_of_build(MODEL, build, path, cells=12)
    return path
