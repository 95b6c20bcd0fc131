"""HOLD's data.npy: what its releases hold is read, all else is refused, and nothing in it runs."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from handloom.runtime.errors import InputError
from handloom.runtime.pickled_npy import pickled_npy, read_data

_HEADER = (b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (), }").ljust(127) + b"\n"


class Malicious:
    """Pickled, it asks its reader for a call."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call, self.arguments


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.npy"


def write(path: Path, content: dict[str, Any], protocol: int = 4) -> None:
    path.write_bytes(_HEADER + pickle.dumps(np.array(content, dtype=object), protocol))


@pytest.mark.parametrize("call", [os.system, eval, exec, getattr, torch.load, torch.tensor, np.load])
def test_only_the_list_is_called(path: Path, call: Callable[..., Any]) -> None:
    trace = path.with_name("trace")
    write(path, {"seq_name": Malicious(call, f"touch {trace}")})
    with pytest.raises(InputError, match="not allowed"):
        read_data(path)
    assert not trace.exists()


def test_a_pickle_inside_a_tensor_does_not_run_either(path: Path) -> None:
    trace = path.with_name("trace")
    inner = pickle.dumps(Malicious(os.system, f"touch {trace}"), 2)
    write(path, {"x": Malicious(torch.storage._load_from_bytes, inner)})
    with pytest.raises(InputError, match="damaged tensor"):
        read_data(path)
    assert not trace.exists()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_tensors_in_torch_s_own_form(path: Path, protocol: int, dtype: torch.dtype) -> None:
    """HOLD's released files hold norm_mat so."""
    tensor = torch.arange(16).reshape(4, 4).to(dtype).T[1:]
    write(path, {"norm_mat": tensor, "n": np.float64(2)}, protocol)
    read = read_data(path)
    assert torch.equal(read["norm_mat"], tensor)
    assert read["norm_mat"].dtype == dtype
    assert read["n"] == 2


def test_tensors_beyond_their_numbers_are_refused(path: Path) -> None:
    """Huge ones are not even made."""
    storage = torch.ones(4)._typed_storage()
    rebuilt = [(storage, 0, (8,)), (storage, 2, (4,)), (storage, -1, (4,)), ("numbers", 0, (4,))]
    strange = [Malicious(torch._utils._rebuild_tensor_v2, *start, (1,), False, {}) for start in rebuilt]
    for value in (*strange, Malicious(torch.Tensor, [{}])):
        write(path, {"x": value})
        with pytest.raises(InputError, match="a pickled dictionary"):
            read_data(path)
    write(path, {"x": Malicious(torch.Tensor, 10**12)})
    with pytest.raises(InputError, match="no list of numbers"):
        read_data(path)


WHOLE = pickled_npy({"names": np.arange(20)})


@pytest.mark.parametrize(
    "content", [b"", b"not numpy", b"\x93NUMPY\x01\x00", WHOLE[: len(WHOLE) // 2], _HEADER + pickle.dumps([1])]
)
def test_damaged_files_are_named(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"data\.npy: .*a pickled dictionary"):
        read_data(path)


@pytest.mark.parametrize("value", [np.array([1], dtype=object), np.array(np.zeros(3), dtype=object), np.zeros(3)])
def test_arrays_are_no_dictionary(path: Path, value: np.ndarray) -> None:
    np.save(path, value, allow_pickle=True)
    with pytest.raises(InputError, match="a pickled dictionary"):
        read_data(path)
