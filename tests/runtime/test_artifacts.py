"""Artifacts appear whole or not at all, hold the same bytes for the same content, and refuse what they are not."""

import errno
import json
import os
import resource
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from handloom.runtime.artifacts import Header, read_arrays, read_weights, write_arrays, write_weights
from handloom.runtime.errors import InputError, OutputError
from handloom.runtime.files import atomic_path, read_json, write_json, write_table, write_text

HEADER = Header(kind="poses", units="m", frame="camera", joint_order="snap", seed=3, code="abc", extra={"root": "0"})


def test_arrays_come_back_with_their_header(tmp_path: Path) -> None:
    arrays = {"joints_m": np.random.default_rng(0).normal(size=(4, 21, 3)), "name": np.array(["left", "right é"])}
    write_arrays(tmp_path / "a.npz", arrays, HEADER)
    read, header = read_arrays(tmp_path / "a.npz", "poses")
    assert header == HEADER
    assert set(read) == set(arrays)
    for name in arrays:
        np.testing.assert_array_equal(read[name], arrays[name])


def test_equal_arrays_give_equal_bytes_in_any_order(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", {"x": np.arange(9), "y": np.ones(2)}, HEADER)
    write_arrays(tmp_path / "b.npz", {"y": np.ones(2), "x": np.arange(9)}, HEADER)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_equal_weights_give_equal_bytes_and_come_back(tmp_path: Path) -> None:
    state = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2, dtype=torch.int64)}
    write_weights(tmp_path / "a.safetensors", state, HEADER)
    write_weights(tmp_path / "b.safetensors", dict(reversed(state.items())), HEADER)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    read, header = read_weights(tmp_path / "a.safetensors", "poses")
    assert header == HEADER
    assert all(torch.equal(read[name], state[name]) for name in state)


def test_transposed_weights_are_written_as_they_look(tmp_path: Path) -> None:
    weight = torch.arange(6.0).reshape(2, 3).T
    write_weights(tmp_path / "a.safetensors", {"w": weight}, HEADER)
    assert torch.equal(read_weights(tmp_path / "a.safetensors", "poses")[0]["w"], weight)


@pytest.mark.parametrize("share", [0.0, 0.4, 0.98])
def test_a_truncated_npz_is_named(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.npz"
    write_arrays(path, {"x": np.random.default_rng(0).normal(size=1000)}, HEADER)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=r"a\.npz: not a readable 'poses' artifact"):
        read_arrays(path, "poses")


@pytest.mark.parametrize("share", [0.0, 0.4, 0.98])
def test_truncated_weights_are_named(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.safetensors"
    write_weights(path, {"x": torch.ones(1000)}, HEADER)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=r"a\.safetensors: not a readable safetensors file"):
        read_weights(path, "poses")


def test_a_pickled_array_is_refused_and_never_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    class Malicious:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(trace),)

    np.savez(tmp_path / "a.npz", x=np.array([Malicious()], dtype=object))
    with pytest.raises(InputError, match="not a readable"):
        read_arrays(tmp_path / "a.npz", "poses")
    assert not trace.exists()


def test_object_arrays_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="refused"):
        write_arrays(tmp_path / "a.npz", {"x": np.array([None, "a"], dtype=object)}, HEADER)
    assert list(tmp_path.iterdir()) == []


def test_the_wrong_kind_a_newer_version_and_no_header_are_told_apart(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", {}, HEADER)
    with pytest.raises(InputError, match="holds 'poses', but 'views' was expected"):
        read_arrays(tmp_path / "a.npz", "views")
    write_arrays(tmp_path / "b.npz", {}, Header(kind="poses", schema_version=2))
    with pytest.raises(InputError, match="newer than this handloom"):
        read_arrays(tmp_path / "b.npz", "poses")
    np.savez(tmp_path / "c.npz", x=np.ones(1))
    with pytest.raises(InputError, match="no header"):
        read_arrays(tmp_path / "c.npz", "poses")
    with pytest.raises(InputError, match="no such file"):
        read_arrays(tmp_path / "d.npz", "poses")
    with zipfile.ZipFile(tmp_path / "e.npz", "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(InputError, match=r"e\.npz"):
        read_arrays(tmp_path / "e.npz", "poses")


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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_named_and_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(OutputError, match=r"no room to write .*a\.txt.*free some space") as raised, atomic_path(path):
        Path("/dev/full").write_text("new" * 10_000)
    assert raised.value.errno == errno.ENOSPC
    assert path.read_text() == "old"


def test_a_disk_that_fills_while_arrays_are_written_loses_nothing(tmp_path: Path) -> None:
    """A limit on file sizes stands in for the full disk: the write itself fails part way."""
    program = (
        "import resource, signal, sys; import numpy as np; from pathlib import Path\n"
        "from handloom.runtime.artifacts import Header, write_arrays\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "write_arrays(Path(sys.argv[1]), {'x': np.random.default_rng(0).normal(size=9999)}, Header('poses'))\n"
    )
    path = tmp_path / "a.npz"
    write_arrays(path, {"x": np.ones(3)}, HEADER)
    before = path.read_bytes()
    finished = subprocess.run([sys.executable, "-c", program, str(path)], check=False, capture_output=True, text=True)
    assert finished.returncode != 0
    assert "OutputError" in finished.stderr
    assert f"no room to write {path}" in finished.stderr
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 2000


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
    with pytest.raises(InputError, match=r"a\.json: not whole"):
        read_json(tmp_path / "a.json")
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", float("nan"))
    assert not (tmp_path / "b.json").exists()
    with pytest.raises(InputError, match="no such file"):
        read_json(tmp_path / "b.json")


def test_a_table_is_plain_csv(tmp_path: Path) -> None:
    write_table(tmp_path / "a.csv", pd.DataFrame({"pair": ["1-2"], "mono_mm": [12.5]}))
    assert (tmp_path / "a.csv").read_text() == "pair,mono_mm\n1-2,12.5\n"


def test_headers_are_json_with_sorted_keys() -> None:
    assert list(json.loads(HEADER.to_json())) == sorted(json.loads(HEADER.to_json()))
