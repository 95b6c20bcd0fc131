"""The footage that the tests share."""

import pytest

from .footage import Footage, turning_box


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Footage:
    """A textured box turning by 9 degrees per frame."""
    return turning_box(tmp_path_factory.mktemp("footage"))
