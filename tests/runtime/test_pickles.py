"""Pickles from outside: arrays come in, nothing else is called."""

import os
import pickle
from fractions import Fraction

import numpy as np
import pytest

from handloom.runtime.errors import InputError
from handloom.runtime.pickles import load_pickle


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_numbers_containers_and_arrays_of_every_protocol(tmp_path, protocol):
    value = {
        0: {"xyz": np.arange(6.0).reshape(2, 3), "mask": np.array([True, False]), "scale": np.float32(1.5)},
        "names": ["a", ("b", None)],
        "raw": b"\x00\xff",
    }
    (tmp_path / "a.pickle").write_bytes(pickle.dumps(value, protocol))
    read = load_pickle(tmp_path / "a.pickle")
    np.testing.assert_array_equal(read[0]["xyz"], value[0]["xyz"])
    np.testing.assert_array_equal(read[0]["mask"], value[0]["mask"])
    assert read[0]["scale"] == 1.5
    assert read["names"] == value["names"]
    assert read["raw"] == value["raw"]


class _Malicious:
    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("call", [os.system, eval, exec, getattr, __import__, np.load, os.rmdir])
def test_nothing_else_is_called(tmp_path, call):
    trace = tmp_path / "trace"
    attack = _Malicious(call, f"__import__('pathlib').Path({str(trace)!r}).touch()")
    if call is os.system:
        attack = _Malicious(call, f"touch {trace}")
    (tmp_path / "a.pickle").write_bytes(pickle.dumps({0: {"xyz": attack}}))
    with pytest.raises(InputError, match=rf"a\.pickle: .* a pickle of numbers.*{call.__name__}"):
        load_pickle(tmp_path / "a.pickle")
    assert not trace.exists()


def test_a_submodule_cannot_be_reached_through_an_allowed_name(tmp_path):
    # protocol 4 allows dotted names: numpy / "ndarray.__class__"
    (tmp_path / "a.pickle").write_bytes(b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.")
    with pytest.raises(InputError, match=r"ndarray\.__class__"):
        load_pickle(tmp_path / "a.pickle")


def test_further_callables_can_be_allowed(tmp_path):
    (tmp_path / "a.pickle").write_bytes(pickle.dumps(Fraction(1, 3), 2))
    with pytest.raises(InputError, match=r"fractions\.Fraction, which is not allowed"):
        load_pickle(tmp_path / "a.pickle")
    assert load_pickle(tmp_path / "a.pickle", {("fractions", "Fraction"): Fraction}) == Fraction(1, 3)


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps(np.zeros(1000))[:500]])
def test_damaged_files_are_named(tmp_path, content):
    (tmp_path / "a.pickle").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.pickle: .* a pickle of numbers"):
        load_pickle(tmp_path / "a.pickle")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.pickle: no such file"):
        load_pickle(tmp_path / "none.pickle")


class Asks:
    """Pickles as a call, and the state that its result is given."""

    def __init__(self, function: object, *arguments: object, state: object = None) -> None:
        self.parts = (function, arguments, state)

    def __reduce__(self):
        return self.parts


ARRAY = np.zeros(1).__reduce__()[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (Asks(np.dtype, "f8", False, True, state=(3, "<", None, None, None, -1, -1, 63)), "the type float64 the state"),
        (Asks(np.dtype, "O", False, True, state=(3, "|", None, None, None, -1, -1, 0)), "the type object the state"),
        (
            Asks(np.dtype, "f8", False, True, state=(3, "<", None, None, None, 10**9, -1, 0)),
            "the type float64 the state",
        ),
        (Asks(bytes, 10**12), "positional argument"),
        (Asks(np.dtype, "V99999999"), "arrays of the type 'V99999999'"),
        (Asks(np.dtype, ("f8", (10**9,))), "arrays of the type"),
        (Asks(np.ndarray, (10**12,)), "it calls numpy.ndarray itself"),
        (Asks(ARRAY, np.ndarray, (10**12,), b"b"), "it rebuilds an array of shape"),
        (Asks(ARRAY, np.ndarray, (0,), b"b", state=(1, (10**12,), np.dtype("f8"), False, b"12345678")), "buffer size"),
        (Asks(ARRAY, np.ndarray, (0,), b"b", state=(1, (-5,), np.dtype("f8"), False, b"")), ""),
    ],
)
def test_numpy_follows_no_type_or_shape_of_a_file(tmp_path, content, words):
    """NumPy's own code trusts these: the first one clears numbers as if they were pointers."""
    (tmp_path / "a.pickle").write_bytes(pickle.dumps(content, 2))
    with pytest.raises(InputError, match=rf"a\.pickle: cannot be read as a pickle of numbers .*{words}"):
        load_pickle(tmp_path / "a.pickle")


@pytest.mark.parametrize("protocol", range(2, 6))
def test_arrays_of_every_type_and_order_are_read(tmp_path, protocol):
    given = [
        np.arange(6).astype(dtype).reshape(2, 3) for dtype in ("<f4", ">f8", "<i2", ">u4", "|u1", "<c16", "|b1", "<f2")
    ]
    given += [np.array(["a", "bcd"]), np.array([b"ab", b"c"]), np.array({"a": 1}, dtype=object), np.float64(1.5)]
    given += [np.asfortranarray(np.eye(2)), np.zeros((0, 3))]
    (tmp_path / "a.pickle").write_bytes(pickle.dumps(given, protocol))
    for mine, theirs in zip(load_pickle(tmp_path / "a.pickle"), given, strict=True):
        assert np.array_equal(mine, theirs)
        assert mine.dtype.newbyteorder("=") == theirs.dtype.newbyteorder("=")
