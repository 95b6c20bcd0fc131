"""The result files of one small headset, scored, and a small reconstructed sequence."""

import pytest

from ..evaluation.headset_files import HeadsetFiles, score, write_headset
from .hold_files import HoldFiles, write_sequence


@pytest.fixture(scope="session")
def headset(tmp_path_factory: pytest.TempPathFactory) -> HeadsetFiles:
    """In a folder of the headset's name, scored; made once, as nothing changes it."""
    folder = tmp_path_factory.mktemp("results") / "headset1"
    folder.mkdir()
    files = write_headset(folder)
    score(files)
    return files


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> HoldFiles:
    """Made once, as nothing changes it."""
    return write_sequence(tmp_path_factory.mktemp("sequence"))
