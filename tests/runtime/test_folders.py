"""A folder that cannot take results is refused by name before anything runs."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from handloom.runtime.errors import OutputError
from handloom.runtime.files import require_writable


def test_folders_that_are_there_or_can_be_made_are_fine_and_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    require_writable(tmp_path / "results", tmp_path / "new" / "deep")
    assert list(tmp_path.iterdir()) == [tmp_path / "results"]


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("in the way")
    with pytest.raises(OutputError, match=r"results/s2d: a folder .*results is a file; move it away"):
        require_writable(tmp_path / "results" / "s2d")
    (tmp_path / "logs").symlink_to(tmp_path / "gone")
    with pytest.raises(OutputError, match="logs is a link that leads nowhere"):
        require_writable(tmp_path / "logs")


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """Root may write everywhere, so give up that right for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.usefixtures("ordinary_user")
def test_an_unwritable_folder_is_named() -> None:
    for folder in (Path("/usr"), Path("/usr/results")):
        with pytest.raises(OutputError, match=f"{folder}: /usr cannot be written to; make it writable"):
            require_writable(folder)
