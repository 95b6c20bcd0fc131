"""Configuration files as text: what YAML would misread, and what would never end, is refused with file and line."""

import os
from pathlib import Path

import pytest

from handloom.runtime.config.command_line import named_files, refuse_unreadable
from handloom.runtime.config.load import read_all
from handloom.runtime.config.yaml_files import MOST_BYTES, read_yaml
from handloom.runtime.errors import InputError

LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", r"a is there twice, in lines 1 and 3"),
        ("h:\n  s:\n    m: {}\n    m: {}\n", r"h\.s\.m is there twice, in lines 3 and 4"),
        ('{"a": 1, "a": 2}', r"a is there twice, in lines 1 and 1"),
        ("on: 1\n", r"line 1: `on` is no text"),
        ("s: {1: a}\n", r"line 1: `1` is no text"),
        ("e: 1:30\n", r"line 1: e: YAML reads 1:30 as 90 \(base 60\)"),
        ("e: [1, 010]\n", r"line 1: e\.1: YAML reads 010 as 8 \(base 8\)"),
        ("__use_yte__: true\na: ?1+1\n", r"line 1: __use_yte__ would run"),
        ("a: !!python/name:os.system ''\n", r"line 1: not valid YAML"),
        ("a: 1\n---\na: 2\n", r"line 2: a second document"),
        ("[" * 10_000, r"nested more than 40 deep"),
        ("\n".join("  " * n + "a:" for n in range(300)), r"line \d+: nested more than 40 deep"),
        ('{"a":' * 2000, r"nested more than 40 deep"),
        (LAUGHS, r"line 5: stands for more than 100000 values"),
        ("a: &a [*a]\n", r"stands for something that it is itself in"),
        ("a:\n\tb: 1\n", r"line 2: not valid YAML .*indent with spaces"),
        ("- a\n", r"holds a list, but a mapping"),
        ("just words\n", r"holds a single value"),
        ("# nothing\n", r"holds no settings"),
        ("a: b: c\n", r"line 1: not valid YAML"),
        ("a: \x07\n", r"not valid YAML"),
    ],
)
def test_what_is_no_plain_mapping_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=rf"mine\.yaml.*{message}") as raised:
        read_yaml(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("preset: mine\n".encode("utf-16"), "is UTF-16; save it as UTF-8"),
        ("preset: mine\n".encode("utf-16-le"), "is UTF-16; save it as UTF-8"),
        ("preset: mine\nmano: käse\n".encode("latin-1"), r"is not UTF-8 \(line 2; Latin-1"),
        (
            b"#" * (MOST_BYTES + 1),
            "has 2,000,001 bytes, but at most 2,000,000 bytes were expected of a configuration file",
        ),
    ],
)
def test_what_is_no_text_of_moderate_size_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"mine\.yaml: {message}"):
        read_yaml(path)


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(InputError, match=r"pipe\.yaml: is a named pipe"):
        read_yaml(tmp_path / "pipe.yaml")
    with pytest.raises(InputError, match="is a folder"):
        read_yaml(tmp_path)


def test_plain_files_are_read_with_a_mark_of_utf_8_and_few_aliases(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("\ufeffa: &box {x: 1}\nb: *box\nc: {<<: *box, y: 0}\n'1': 0\n", encoding="utf-8")
    assert read_yaml(path) == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": 0}, "1": 0}


def test_all_files_are_told_of_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("- a\n")
    with pytest.raises(InputError, match=r"a\.yaml: holds a list.*\n.*b\.yaml: no such"):
        read_all([tmp_path / "a.yaml", tmp_path / "b.yaml"])


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        (["--cores", "2", "--configfile", "a.yaml", "b.yaml", "--", "c.csv"], ["a.yaml", "b.yaml"]),
        (["--configfiles=a.yaml", "-n"], ["a.yaml"]),
        (["c.csv", "--", "--configfile", "a.yaml"], []),
        (["--configfile"], []),
    ],
)
def test_the_files_of_a_command_are_found(arguments: list[str], files: list[str]) -> None:
    assert named_files(arguments) == [Path(each) for each in files]


def test_a_command_ends_with_the_words_of_this_reader(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("- a\n")
    refuse_unreadable(["-n"])
    with pytest.raises(SystemExit, match=r"handloom: .*a\.yaml: holds a list"):
        refuse_unreadable(["-n", "--configfile", str(tmp_path / "a.yaml")])
