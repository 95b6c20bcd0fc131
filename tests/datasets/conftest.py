"""A small AssemblyHands split on disk: two sequences, all eight cameras."""

from pathlib import Path

import pytest

from .assembly_hands_files import SplitWriter, small_split


@pytest.fixture
def split(tmp_path: Path) -> SplitWriter:
    """Not yet written."""
    return small_split(tmp_path / "assemblyhands")
