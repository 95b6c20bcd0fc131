"""A result folder is there whole or not at all."""

from pathlib import Path

import pytest

from handloom.runtime.files import whole_folder


def test_a_finished_folder_replaces_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "old.txt").write_text("old")
    with whole_folder(tmp_path / "result") as folder:
        (folder / "new.txt").write_text("new")
        assert (tmp_path / "result" / "old.txt").exists()
    assert [path.name for path in (tmp_path / "result").iterdir()] == ["new.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "old.txt").write_text("old")
    with pytest.raises(RuntimeError, match="half way"):
        _half_written(tmp_path / "result")
    assert [path.name for path in (tmp_path / "result").iterdir()] == ["old.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def _half_written(path: Path) -> None:
    with whole_folder(path) as folder:
        (folder / "new.txt").write_text("new")
        raise RuntimeError("half way")
