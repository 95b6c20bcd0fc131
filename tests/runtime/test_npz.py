"""An npz is judged before it is unpacked, and only what is wanted is read."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from handloom.runtime.artifacts import Header, read_arrays, write_arrays
from handloom.runtime.errors import InputError
from handloom.runtime.npz import mapped_array, read_npz


def npy(array: np.ndarray, **layout: object) -> bytes:
    """An npy member, its header changed."""
    file = io.BytesIO()
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(file, {**header, **layout})
    return file.getvalue() + array.tobytes()


def archive(path: Path, method: int = zipfile.ZIP_DEFLATED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def read(path: Path) -> dict[str, np.ndarray]:
    return read_npz(path, "an archive", "make it again")


def twice(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for _ in range(2):
            file.writestr("x.npy", npy(np.ones(3)))


def edited(path: Path, offset: int, value: int) -> None:
    """The two entries of an archive's one member, in its directory and before it, with another 16-bit number."""
    content = bytearray(archive(path, x=npy(np.ones(3))).read_bytes())
    for start, place in ((content.index(b"PK\x01\x02"), offset + 2), (0, offset)):
        content[start + place : start + place + 2] = value.to_bytes(2, "little")
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: edited(path, 6, 1), "x is encrypted"),
        (lambda path: edited(path, 8, 97), "x is packed by method 97"),
        (lambda path: archive(path, zipfile.ZIP_BZIP2, x=npy(np.ones(3))), "x is packed by method 12"),
        (lambda path: archive(path, x=npy(np.ones(3), shape=(10**12,))), r"x claims the shape \(1000000000000,\)"),
        (lambda path: archive(path, x=npy(np.ones(3), shape=(-1, -3))), "x claims the shape"),
        (lambda path: archive(path, x=npy(np.ones(3), shape=(2,))), "x claims the shape"),
        (lambda path: archive(path, x=npy(np.ones(3), descr="|O")), "x holds object"),
        (lambda path: archive(path, x=npy(np.ones(3), descr=[("a", "<f8")])), "x holds "),
        (lambda path: archive(path, x=b"no array"), "magic string"),
        (lambda path: path.write_bytes(archive(path, x=npy(np.ones(999))).read_bytes()[:-30]), "not a zip file"),
        (lambda path: path.write_bytes(npy(np.ones(3))), "not a zip file"),
    ],
)
def test_what_is_no_plain_array_is_refused(tmp_path: Path, write: Callable[[Path], object], words: str) -> None:
    write(tmp_path / "a.npz")
    with pytest.raises(InputError, match=rf"a\.npz: cannot be read as an archive \(.*{words}.*; make it again"):
        read(tmp_path / "a.npz")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_array_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    twice(tmp_path / "a.npz")
    with pytest.raises(InputError, match="an array stands there twice"):
        read(tmp_path / "a.npz")


def test_a_bomb_is_refused_unread_and_does_no_harm_where_it_is_not_wanted(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", x=npy(np.ones(3)))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file, file.open("bomb.npy", "w") as member:
        member.write(npy(np.zeros(0), shape=(75 * 10**6,)))
        for _ in range(600):
            member.write(bytes(10**6))
    with pytest.raises(InputError, match="x, bomb would take 600 MB in memory, more than 512 MB"):
        read(path)
    assert read_npz(path, "an archive", "make it", wanted=["x"])["x"].tolist() == [1, 1, 1]


def test_many_real_numbers_and_other_orders_are_taken(tmp_path: Path) -> None:
    given = {
        "a": np.asfortranarray(np.random.default_rng(0).random((30, 40))),
        "b": np.array(["ä", "bc"]),
        "c": np.zeros(0),
    }
    np.savez_compressed(tmp_path / "a.npz", **given)
    found = read(tmp_path / "a.npz")
    assert all(np.array_equal(found[name], given[name]) for name in given)


@pytest.mark.parametrize(
    ("header", "where"),
    [
        ('{"kind": "poses", "schema_version": null}', "schema_version: Input should be a valid integer"),
        ('{"kind": "poses", "schema_version": "1"}', "schema_version"),
        ('{"kind": ["poses"]}', "kind"),
        ('{"kind": "poses", "extra": []}', "extra"),
        ("[]", "text"),
        ("{", "text: Invalid JSON"),
    ],
)
def test_a_headers_values_have_types(tmp_path: Path, header: str, where: str) -> None:
    path = archive(tmp_path / "a.npz", x=npy(np.ones(3)), header=npy(np.array(header)))
    with pytest.raises(InputError, match=rf"a\.npz: its header cannot be read \({where}"):
        read_arrays(path, "poses")


def test_a_mapped_array_is_checked_as_well(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", zipfile.ZIP_STORED, x=npy(np.arange(3.0)))
    assert mapped_array(path, "x", "an archive", "make it").tolist() == [0, 1, 2]
    for name, members in (("x", {"x": npy(np.ones(3), shape=(10**9,))}), ("x", {"y": npy(np.ones(3))})):
        with pytest.raises(InputError, match=r"a\.npz: cannot be read as an archive"):
            mapped_array(archive(path, zipfile.ZIP_STORED, **members), name, "an archive", "make it")
    write_arrays(path, {"x": np.ones(3)}, Header("poses"))
    with pytest.raises(InputError, match="x is packed"):
        mapped_array(path, "x", "an archive", "make it")
