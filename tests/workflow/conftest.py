"""Projects to run snakemake in: one that is finished, and as many new ones as a test wants.

Tests that share the finished one are in the group `workflow`, so that one worker makes it once; the others are in
`workflow_fresh`, for another worker.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from .project import Project, copied_project


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which everything was made. Tests that change it undo what they did."""
    project = copied_project(tmp_path_factory.mktemp("built"))
    project.snakemake()
    return project


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[str], Project]:
    """Make copies in which nothing was run."""
    return lambda name: copied_project(tmp_path / name)
