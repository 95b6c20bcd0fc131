"""Artifacts hold the same bytes for the same content, come back as they were, and refuse what they are not."""

import json
import os
import zipfile
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from handloom.runtime.artifacts import Artifact, Header, read_arrays, read_weights, write_arrays, write_weights
from handloom.runtime.errors import InputError

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
    with pytest.raises(InputError, match=r"a\.npz: (cannot be read as|is empty; expected) a 'poses' artifact"):
        read_arrays(path, "poses")


@pytest.mark.parametrize("share", [0.0, 0.4, 0.98])
def test_truncated_weights_are_named(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.safetensors"
    write_weights(path, {"x": torch.ones(1000)}, HEADER)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=r"a\.safetensors: (cannot be read as|is empty; expected) a safetensors file"):
        read_weights(path, "poses")


def test_a_pickled_array_is_refused_and_never_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    class Malicious:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(trace),)

    np.savez(tmp_path / "a.npz", x=np.array([Malicious()], dtype=object))
    with pytest.raises(InputError, match="cannot be read as"):
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


def test_headers_are_json_with_sorted_keys() -> None:
    assert list(json.loads(HEADER.to_json())) == sorted(json.loads(HEADER.to_json()))


@dataclass(frozen=True)
class Poses(Artifact, kind="poses_of_the_tests", units="m", frame="camera", may_be_nan=("shape",)):
    joints_m: Float[np.ndarray, "frames 21 3"]
    found: Bool[np.ndarray, " frames"]
    shape: Float[np.ndarray, " components"]
    names: np.ndarray
    weights: Float[Tensor, " frames"]
    vertices_m: Float[np.ndarray, "frames vertices 3"] | None
    side: Literal["right", "left"]
    sources: dict[str, str]
    seed: int | None = None


POSES = Poses(
    joints_m=np.random.default_rng(0).normal(size=(4, 21, 3)),
    found=np.array([True, False, True, True]),
    shape=np.array([0.5, np.nan]),
    names=np.array(["a", "b", "c", "d é"]),
    weights=torch.arange(4.0),
    vertices_m=None,
    side="left",
    sources={"left": "a.mp4"},
)


def test_a_typed_artifact_comes_back_as_it_was_and_equal_ones_have_equal_bytes(tmp_path: Path) -> None:
    with_mesh = replace(POSES, vertices_m=np.ones((4, 7, 3), np.float32), seed=3)
    for name, poses in (("a", POSES), ("b", POSES), ("mesh", with_mesh)):
        poses.save(tmp_path / f"{name}.npz", seed=2, code="abc")
        found = Poses.load(tmp_path / f"{name}.npz")
        for field in fields(Poses):
            expected, value = getattr(poses, field.name), getattr(found, field.name)
            assert type(value) is type(expected)
            np.testing.assert_equal(np.asarray(value), np.asarray(expected))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    _, header = read_arrays(tmp_path / "a.npz", "poses_of_the_tests")
    assert (header.units, header.frame, header.seed, header.code) == ("m", "camera", 2, "abc")
    assert header.extra == {"side": "left", "sources": {"left": "a.mp4"}, "seed": None}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"joints_m": np.zeros((4, 20, 3))}, r"joints_m of .* shape \(4, 20, 3\) .*, but Float 'frames 21 3'"),
        ({"joints_m": np.zeros((3, 21, 3))}, r"found of type bool and shape \(4,\)"),  # as many frames everywhere
        ({"found": np.ones(4)}, r"found of type float64 .*, but Bool 'frames' was expected"),
        ({"vertices_m": np.zeros((5, 2, 3))}, r"vertices_m of .* \(5, 2, 3\)"),
        ({"weights": torch.full((4,), torch.nan)}, "weights holds NaN, but finite numbers were expected"),
        ({"joints_m": np.full((4, 21, 3), np.inf)}, "joints_m holds NaN"),
    ],
)
def test_arrays_that_are_not_as_annotated_are_neither_written_nor_read(
    tmp_path: Path, changed: dict[str, Any], told: str
) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(InputError, match=rf"a\.npz: .*{told}"):
        replace(POSES, **changed).save(path)
    assert not path.exists()
    POSES.save(path)
    arrays, header = read_arrays(path, "poses_of_the_tests")
    write_arrays(path, arrays | {name: np.asarray(value) for name, value in changed.items()}, header)
    with pytest.raises(InputError, match=rf"a\.npz: .*{told}.* run the rule that makes it again"):
        Poses.load(path)


def test_what_a_typed_artifact_lacks_or_has_of_another_value_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    POSES.save(path)
    arrays, header = read_arrays(path, "poses_of_the_tests")
    extra = dict(header.extra)
    del extra["sources"], arrays["found"]
    write_arrays(path, arrays, replace(header, extra=extra))
    with pytest.raises(InputError, match=r"a\.npz: lacks found, sources; delete it and run"):
        Poses.load(path)
    write_arrays(path, arrays, replace(header, extra=header.extra | {"side": "both"}))
    with pytest.raises(InputError, match=r"a\.npz: side is 'both': .*'right' or 'left'"):
        Poses.load(path)

    @dataclass(frozen=True)
    class Other(Artifact, kind="other"):
        rows: Int[np.ndarray, " rows"]

    with pytest.raises(InputError, match="holds 'poses_of_the_tests', but 'other' was expected"):
        Other.load(path)
