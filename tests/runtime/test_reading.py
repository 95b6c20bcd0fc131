"""A file from outside is plain, of a plausible size, and whatever its parser raises is told in one form."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from handloom.datasets.ho3d import read_object_model
from handloom.evaluation.interchange import read_interchange
from handloom.hand.mano_files import read_mano_pickle
from handloom.hand.models import open_hand
from handloom.reconstruction.build_folder import read_text
from handloom.runtime.artifacts import read_arrays, read_weights
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json, read_rows, read_table
from handloom.runtime.pickled_npy import read_data
from handloom.runtime.pickles import load_pickle
from handloom.runtime.reading import MEGABYTE, reading

READERS: dict[str, Callable[[Path], Any]] = {
    "JSON": read_json,
    "text": lambda path: read_text(path, "a text", "write it"),
    "CSV": lambda path: read_rows(path, "a CSV file", "write it"),
    "table": lambda path: read_table(path, ["a"]),
    "pickle": load_pickle,
    "MANO": read_mano_pickle,
    "npz": lambda path: read_arrays(path, "poses"),
    "safetensors": lambda path: read_weights(path, "detnet"),
    "interchange": lambda path: read_interchange(path, open_hand()),
    "data.npy": read_data,
}


def listening(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(str(path))


ODD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a pipe": (os.mkfifo, "is a named pipe, but a plain file was expected"),
    "a link to a pipe": (lambda path: (os.mkfifo(path.with_name("pipe")), path.symlink_to("pipe")), "is a named pipe"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "is a device"),
    "a folder": (Path.mkdir, "is a folder"),
    "a link that leads nowhere": (lambda path: path.symlink_to("nowhere"), "no such file; expected"),
    "nothing": (lambda path: None, "no such file; expected"),
}


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("odd", ODD)
def test_what_is_no_plain_file_is_refused_and_never_waited_for(tmp_path: Path, kind: str, odd: str) -> None:
    make, words = ODD[odd]
    make(tmp_path / "given")
    with pytest.raises(InputError, match=rf"given: {words}"):
        READERS[kind](tmp_path / "given")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    listening(Path("given"))
    with pytest.raises(InputError, match="given: is a socket"):
        read_json(Path("given"))


@pytest.mark.parametrize("kind", sorted(READERS.keys() - {"text", "CSV", "table"}))
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html></html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid 1\n", "git lfs pull"),
        (b"\x1f\x8b\x08", "packed by gzip; unpack it"),
        (b"", "is empty"),
        (b"\x80\x02garbage" * 9, "cannot be read as"),
    ],
)
def test_what_downloads_leave_is_told(tmp_path: Path, kind: str, content: bytes, words: str) -> None:
    (tmp_path / "given").write_bytes(content)
    with pytest.raises(InputError, match=rf"given: .*{words}") as raised:
        READERS[kind](tmp_path / "given")
    assert "\n" not in str(raised.value)


def test_a_huge_file_is_refused_by_its_size(tmp_path: Path) -> None:
    with (tmp_path / "given").open("wb") as file:
        file.truncate(10**12)  # a hole: nothing is written
    for kind in READERS.keys() - {"npz", "interchange"}:  # judged by what they hold, not by their own size
        with pytest.raises(InputError, match=r"given: has 1000000 MB, but at most \d+ MB were expected of"):
            READERS[kind](tmp_path / "given")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RecursionError("maximum recursion depth exceeded"), "it is nested too deeply"),
        (MemoryError(), "it asks for more memory than there is"),
        (OverflowError("int too large\nand more"), r"int too large\)"),
        (NotImplementedError(), "NotImplementedError"),
        (RuntimeError("x" * 900), "x{200} [.]{3}"),
    ],
)
def test_whatever_a_parser_raises_is_told_in_one_line(tmp_path: Path, error: Exception, words: str) -> None:
    (tmp_path / "a.json").write_text("{}")
    with (
        pytest.raises(InputError, match=rf"a\.json: cannot be read as a list \({words}.*; make it$"),
        reading(tmp_path / "a.json", "a list", "make it", most_bytes=MEGABYTE),
    ):
        raise error


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"R": [1], "S": 2, "R": [3]}', "the key 'R' stands there twice"),
        ('[{"deep": {"a": 1, "a": 1}}]', "the key 'a' stands there twice"),
        ("[" * 100_000, "it is nested too deeply"),
        ('{"a":' * 100_000, "it is nested too deeply"),
        (f'{{"frame_idx": {10**40}}}', "frame_idx is 10{23}[.]{3}, more than 64 bits"),
        (f'{{"frame_idx": -{10**19}}}', "frame_idx is -10{19}, more than 64 bits"),
        (f'{{"a": 1, "R": [[0, 1{"0" * 5000}]], "b": 2}}', "R is 10{23}[.]{3}, more than 64 bits"),
        (f"[{10**19}]", "a number is 10{19}, more than 64 bits"),
        ('{"a": 1', "delimiter"),
        ('{"a": "\xff"}'.encode("latin1"), "no text in UTF-8 from byte 7"),
        ('{"a": 1}'.encode("utf-16"), "is text in UTF-16; save it as UTF-8"),
    ],
)
def test_json_has_limits(tmp_path: Path, text: str | bytes, words: str) -> None:
    (tmp_path / "a.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=rf"a\.json: .*{words}"):
        read_json(tmp_path / "a.json")


def test_json_that_windows_wrote_and_large_numbers_are_taken(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"id": 9223372036854775807, "x": -1e300}')
    assert read_json(tmp_path / "a.json") == {"id": 2**63 - 1, "x": -1e300}


@pytest.mark.parametrize(
    ("text", "words"),
    [("a,b\n0," + "1" * 200_000 + "\n", "field larger than field limit"), ('a\n"' + "1\n" * 199_999, "field larger")],
)
def test_csv_fields_have_limits(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=rf"a\.csv: cannot be read as a table \({words}"):
        read_rows(tmp_path / "a.csv", "a table", "make it")


def test_a_safetensors_header_that_claims_more_than_the_file_is_damage(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes((2**62).to_bytes(8, "little") + b"{}")
    with pytest.raises(InputError, match=r"a\.safetensors: cannot be read as a safetensors file of 'detnet' weights"):
        read_weights(tmp_path / "a.safetensors", "detnet")


def test_an_object_in_millimetres_is_told(tmp_path: Path) -> None:
    (tmp_path / "mug").mkdir()
    corners = "".join(f"v {x} {y} {z}\n" for x in (0, 90) for y in (0, 90) for z in (0, 120))
    (tmp_path / "mug" / "textured_simple.obj").write_text(corners + "f 1 2 3\n")
    with pytest.raises(InputError, match=r"textured_simple\.obj: the object's diagonal is 175 m.*millimetres"):
        read_object_model(tmp_path, "mug")
