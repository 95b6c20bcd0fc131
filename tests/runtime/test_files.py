"""Files and folders appear whole or not at all; a full disk, a folder in the way and a file cut short are named."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from handloom.runtime.artifacts import Header, write_arrays
from handloom.runtime.errors import InputError, OutputError
from handloom.runtime.files import (
    atomic_path,
    files_state,
    read_json,
    read_table,
    require_writable,
    whole_folder,
    write_json,
    write_table,
    write_text,
)


def test_a_writer_that_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def write_half() -> None:
        with atomic_path(path) as temporary:
            assert temporary.suffix == ".txt"
            temporary.write_text("ne")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_path(path) as first, atomic_path(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # the outer block ends last; each file is whole
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_writer_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    program = (
        "import os, signal, sys; from pathlib import Path; from handloom.runtime.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('ne'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    finished = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert finished.returncode == -9
    assert path.read_text() == "old"


@pytest.mark.parametrize("writer", ["atomic_path", "whole_folder"])
def test_what_a_killed_writer_left_goes_at_the_next_write(tmp_path: Path, writer: str) -> None:
    """Names are unique, so nobody else would ever remove it. What lives, here or elsewhere, stays."""
    program = (
        f"import os, signal, sys; from pathlib import Path; from handloom.runtime.files import {writer} as writer\n"
        "with writer(Path(sys.argv[1])) as temporary:\n"
        "    (temporary / 'x' if temporary.is_dir() else temporary).write_text('ne')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.mp4")], check=False)
    (left,) = tmp_path.iterdir()
    here = left.name.split(".")[2].split("-")[0]
    mine = tmp_path / f".b.{here}-{os.getpid()}-01234567.tmp.mp4"
    elsewhere = tmp_path / f".b.{'f' * 6}-1-01234567.tmp.mp4"
    for path in (mine, elsewhere, tmp_path / ".mine.tmp"):
        path.write_text("being written")
    write_text(tmp_path / "another.txt", "new")
    assert {path.name for path in tmp_path.iterdir()} == {mine.name, elsewhere.name, ".mine.tmp", "another.txt"}


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("may not mount a file system")
    yield disk
    subprocess.run(["umount", disk], check=True)


def pictures(folder: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(30):
        Image.fromarray(random.integers(0, 255, (200, 300, 3), np.uint8)).save(folder / f"{number}.png")


def silent(path: Path) -> None:
    """An encoder that tells nothing but that it failed."""
    with suppress(OSError):
        path.write_bytes(bytes(2**21))
    raise RuntimeError("could not encode")


def test_a_full_disk_is_told_with_what_is_there_and_what_is_needed(tiny_disk: Path) -> None:
    words = (
        r"no room to write .*: No space left .*; \d\.\d MB of it were written and more is needed, 0\.\d MB are free in "
    )
    for write, wrapper in ((pictures, whole_folder), (silent, atomic_path)):
        with pytest.raises(OutputError, match=words) as raised, wrapper(tiny_disk / "result.mp4") as temporary:
            write(temporary)
        assert raised.value.errno == errno.ENOSPC
    assert list(tiny_disk.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_named_and_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(OutputError, match=r"no room to write .*a\.txt.*free some space") as raised, atomic_path(path):
        Path("/dev/full").write_text("new" * 10_000)
    assert raised.value.errno == errno.ENOSPC
    assert path.read_text() == "old"


def test_a_disk_that_fills_while_arrays_are_written_loses_nothing(
    tmp_path: Path, small_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    path, random = tmp_path / "a.npz", np.random.default_rng(0)
    write_arrays(path, {"x": np.ones(3)}, Header("poses"))
    before = path.read_bytes()
    with small_disk(2000), pytest.raises(OutputError, match=f"no room to write {path}"):
        write_arrays(path, {"x": random.normal(size=9999)}, Header("poses"))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("ordinary_user")
def test_an_unwritable_folder_is_named() -> None:
    with pytest.raises(OutputError, match=r"cannot write .*make .*results a writable folder"):
        write_text(Path("/results/a.txt"), "new")


def test_a_file_in_place_of_the_results_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot write .*a\.txt"):
        write_text(tmp_path / "results" / "tables" / "a.txt", "new")


def test_json_is_refused_when_cut_short_and_when_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, 2.5], "a": None})
    assert read_json(tmp_path / "a.json") == {"a": None, "b": [1, 2.5]}
    (tmp_path / "a.json").write_text((tmp_path / "a.json").read_text()[:-6])
    with pytest.raises(InputError, match=r"a\.json: cannot be read as JSON"):
        read_json(tmp_path / "a.json")
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", float("nan"))
    assert not (tmp_path / "b.json").exists()
    with pytest.raises(InputError, match="no such file"):
        read_json(tmp_path / "b.json")


def test_a_table_is_plain_csv(tmp_path: Path) -> None:
    write_table(tmp_path / "a.csv", pd.DataFrame({"pair": ["1-2"], "mono_mm": [12.5]}))
    assert (tmp_path / "a.csv").read_text() == "pair,mono_mm\n1-2,12.5\n"


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


@pytest.mark.usefixtures("ordinary_user")
def test_a_folder_for_results_that_cannot_be_written_to_is_named() -> None:
    for folder in (Path("/usr"), Path("/usr/results")):
        with pytest.raises(OutputError, match=f"{folder}: /usr cannot be written to; make it writable"):
            require_writable(folder)


def test_a_table_may_have_more_columns_than_are_needed(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("epoch,loss,note\n1,2.5,\n")
    assert read_table(path, ["epoch", "loss"])["loss"].tolist() == [2.5]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "no such file; expected a table"),
        (b"", "is empty"),
        (b'epoch,loss\n1,"2', "cannot be read as a table"),
        (b"\x89PNG\xff\x00", "cannot be read"),
        (b"epoch,total\n1,2\n", r"lacks the columns \['loss'\]"),
        (b"epoch,loss\n", "has no rows"),
    ],
    ids=["missing", "empty", "cut short", "no text", "another table", "only a header"],
)
def test_anything_else_is_refused(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "history.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"history\.csv: {problem}.*run the rule"):
        read_table(path, ["epoch", "loss"])


def test_the_state_of_a_folder_is_that_of_its_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the everyday loop: what is repainted counts, by an older file too; a touch, a move and litter do not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".snakemake").mkdir()
    folder = tmp_path / "masks"
    (folder / "object").mkdir(parents=True)

    def state() -> str:
        return files_state(folder, ("*.png", "object/*"))

    for name in ("a.png", "b.png", "object/a.png", "note.txt"):
        (folder / name).write_text("one")
    before = state()
    for name in ("note.txt", ".DS_Store", "object/._a.png", "object/Thumbs.db"):
        (folder / name).write_text("other")
    (folder / "a.png").touch()
    os.mkfifo(folder / "pipe.png")
    assert state() == before
    folder = folder.rename(tmp_path / "moved")
    assert state() == before
    (folder / "object" / "a.png").write_text("two")
    os.utime(folder / "object" / "a.png", ns=(0, 5))
    repainted = state()
    (folder / "c.png").write_text("one")
    added = state()
    (folder / "c.png").rename(folder / "d.png")
    assert len({before, repainted, added, state()}) == 4


def test_the_state_of_a_file_is_that_of_its_contents(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("one")
    before = files_state(tmp_path / "a.mp4")
    (tmp_path / "a.mp4").write_text("two")
    os.utime(tmp_path / "a.mp4", ns=(0, 5))
    assert files_state(tmp_path / "a.mp4") != before
