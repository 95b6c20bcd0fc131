"""METRO's checkpoint: what is read, and what is refused with which words."""

import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from handloom.estimators.metro.checkpoint import load_checkpoint
from handloom.estimators.metro.network import Metro
from handloom.hand.open_hand import open_hand
from handloom.runtime.errors import InputError

from .small_metro import SMALL, hand_of_778, small_metro

HAND = hand_of_778()
LEGACY = {"_use_new_zipfile_serialization": False}


def saved(path: Path, content: object, **how: bool) -> Path:
    torch.save(content, path, **how)
    return path


def read(path: Path) -> Metro:
    return load_checkpoint(path, HAND, SMALL)


def state() -> dict[str, Tensor]:
    return dict(small_metro().state_dict())


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("how", [{}, LEGACY], ids=["zip", "as torch before 1.6"])
def test_a_bare_state_dict_is_read(tmp_path: Path, prefix: str, how: dict[str, bool]) -> None:
    expected = small_metro()
    path = saved(tmp_path / "metro.bin", {prefix + name: value for name, value in expected.state_dict().items()}, **how)
    network = read(path)
    assert not network.training
    image = torch.rand(1, 3, 64, 64)
    for found, wanted in zip(network(image), expected(image), strict=True):
        torch.testing.assert_close(found, wanted)


def test_dead_weights_may_be_there_and_half_precision_becomes_single(tmp_path: Path) -> None:
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state().items()}
    dead = {
        "backbone.classifier.weight": torch.zeros(3, 16),
        "trans_encoder.0.bert.embeddings.word_embeddings.weight": torch.full((3, 16), torch.nan),
        "trans_encoder.2.bert.pooler.dense.bias": torch.zeros(8),
    }
    network = read(saved(tmp_path / "metro.bin", {**halves, **dead}))
    assert {value.dtype for value in network.parameters()} == {torch.float32}


def test_a_missing_file_names_file_and_home(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.bin: no such file.*metro_hand_state_dict\.bin.*MeshTransformer"):
        read(tmp_path / "gone.bin")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"upsampling.bias": None}, r"upsampling\.bias is missing"),
        ({"upsampling.bias": torch.zeros(6890)}, r"upsampling\.bias is \(6890,\), expected \(778,\)"),
        ({"upsampling.bias": torch.zeros(778).long()}, r"upsampling\.bias is of torch\.int64"),
        (
            {"upsampling.bias": torch.zeros(778).to_sparse()},
            r"upsampling\.bias is of torch\.float32 \(torch\.sparse_coo\)",
        ),
        ({"decoder.weight": torch.zeros(2)}, r"decoder\.weight is not expected"),
        ({"trans_encoder.0.bert.position_embeddings.weight": None}, r"position_embeddings\.weight is missing"),
        ({"upsampling.bias": torch.full((778,), torch.nan)}, r"upsampling\.bias holds NaN"),
        ({"epoch": 3}, r"holds more than tensors \(epoch is a int\)"),
    ],
)
def test_an_entry_that_does_not_fit_is_named(tmp_path: Path, changed: dict, message: str) -> None:
    content = {name: value for name, value in {**state(), **changed}.items() if value is not None}
    with pytest.raises(InputError, match=message):
        read(saved(tmp_path / "metro.bin", content))


def test_another_network_and_another_size_are_refused(tmp_path: Path) -> None:
    other = torch.nn.Linear(2, 2).state_dict()
    with pytest.raises(
        InputError, match=r"is no checkpoint of METRO's hand network: backbone\.conv1\.weight is missing"
    ):
        read(saved(tmp_path / "other.bin", other))
    with pytest.raises(InputError, match=r"transition1\.0\.0\.weight is \(4, 16, 3, 3\), expected \(8, 16"):
        load_checkpoint(saved(tmp_path / "small.bin", state()), HAND, replace(SMALL, width=8))
    with pytest.raises(InputError, match="holds a list"):
        read(saved(tmp_path / "list.bin", [1, 2]))
    with pytest.raises(InputError, match="network is a dict"):
        read(saved(tmp_path / "nested.bin", {"epoch": 1, "network": state()}))


@pytest.mark.parametrize("how", [{}, LEGACY], ids=["zip", "as torch before 1.6"])
def test_a_file_cut_off_anywhere_is_damaged(tmp_path: Path, how: dict[str, bool]) -> None:
    whole = saved(tmp_path / "metro.bin", state(), **how).read_bytes()
    lengths = [0, 1, 2, 17, *range(30, 400, 7), *(len(whole) * part // 40 for part in range(1, 40)), len(whole) - 1]
    cut = tmp_path / "cut.bin"
    for length in lengths:
        cut.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.bin: is no state dict of tensors only"):
            read(cut)


class Payload:
    """Runs a command when it is unpickled by anyone who trusts it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        ("torch", r"it asks to run posix\.system, which is refused"),
        ("torch, long ago", r"it asks to run posix\.system, which is refused"),
        ("pickle", "is no state dict of tensors only"),
    ],
)
def test_nothing_in_a_file_is_run(tmp_path: Path, write: str, message: str) -> None:
    path, trace = tmp_path / "bad.bin", tmp_path / "trace"
    content = {**state(), "upsampling.bias": Payload(trace)}
    if write == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        saved(path, content, **({} if write == "torch" else LEGACY))
    with pytest.raises(InputError, match=rf"bad\.bin: .*{message}"):
        read(path)
    assert not trace.exists()


def test_another_hand_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "metro.bin", state())
    with pytest.raises(InputError, match=r"right hand of 1609 vertices, but METRO predicts.*mano\.is\.tue\.mpg\.de"):
        load_checkpoint(path, open_hand(), SMALL)
    with pytest.raises(InputError, match="left hand of 778 vertices"):
        load_checkpoint(path, replace(HAND, side="left"), SMALL)
