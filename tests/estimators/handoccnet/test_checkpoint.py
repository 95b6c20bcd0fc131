"""HandOccNet's checkpoint: what is read, and what is refused with which words."""

import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from handloom.estimators.handoccnet.checkpoint import load_checkpoint
from handloom.estimators.handoccnet.network import HandOccNet
from handloom.runtime.errors import InputError

from .small_handoccnet import IMAGE_PX, SMALL, small_handoccnet

LEGACY = {"_use_new_zipfile_serialization": False}
HOWS = pytest.mark.parametrize("how", [{}, LEGACY], ids=["zip", "as torch before 1.6"])
BIAS = "regressor.mano_regHead.shape_reg.bias"


def saved(path: Path, content: object, **how: bool) -> Path:
    torch.save(content, path, **how)
    return path


def read(path: Path) -> HandOccNet:
    return load_checkpoint(path, SMALL)


def state() -> dict[str, Tensor]:
    return dict(small_handoccnet().state_dict())


def snapshot(weights: dict[str, Tensor]) -> dict[str, object]:
    """As training leaves it: the network wrapped for several GPUs, and the state of its optimizer."""
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    names = {f"module.{name}": value for name, value in weights.items()}
    return {"epoch": 24, "network": names, "optimizer": optimizer.state_dict()}


@HOWS
@pytest.mark.parametrize("form", ["snapshot", "weights alone", "weights alone, module."])
def test_the_published_form_and_bare_weights_are_read(tmp_path: Path, form: str, how: dict[str, bool]) -> None:
    expected = small_handoccnet()
    prefix = "module." if form.endswith("module.") else ""
    bare = {prefix + name: value for name, value in expected.state_dict().items()}
    path = saved(tmp_path / "demo.pth.tar", snapshot(state()) if form == "snapshot" else bare, **how)
    network = read(path)
    assert not network.training
    image = torch.rand(1, 3, IMAGE_PX, IMAGE_PX)
    for found, wanted in zip(network(image), expected(image), strict=True):
        torch.testing.assert_close(found, wanted)


def test_mano_and_other_unused_entries_are_not_taken_and_half_precision_becomes_single(tmp_path: Path) -> None:
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state().items()}
    unused = {
        "regressor.mano_regHead.mano_layer.th_v_template": torch.full((1, 778, 3), torch.nan),
        "regressor.mano_regHead.mano_layer.th_faces": torch.zeros(1538, 3).long(),
        "regressor.hand_regHead.uu": torch.zeros(3, 3),
        "regressor.hand_regHead.vv": torch.zeros(3, 3),
        "backbone.smooth2.bias": torch.zeros(8),
    }
    network = read(saved(tmp_path / "demo.pth.tar", snapshot({**halves, **unused})))
    assert {value.dtype for value in network.parameters()} == {torch.float32}
    assert not any("mano_layer" in name for name in network.state_dict())


def test_a_missing_file_names_file_and_home(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.pth: no such file.*snapshot_demo\.pth\.tar.*namepllet/HandOccNet"):
        read(tmp_path / "gone.pth")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({BIAS: None}, r"shape_reg\.bias is missing"),
        ({BIAS: torch.zeros(11)}, r"shape_reg\.bias is \(11,\), expected \(10,\)"),
        ({BIAS: torch.zeros(10).long()}, r"shape_reg\.bias is of torch\.int64"),
        ({"decoder.weight": torch.zeros(2)}, r"decoder\.weight is not expected"),
        ({"regressor.hand_regHead.ww": torch.zeros(2)}, r"hand_regHead\.ww is not expected"),
        ({BIAS: torch.full((10,), torch.inf)}, r"shape_reg\.bias holds NaN or infinite"),
        ({BIAS: 3}, r"holds more than tensors \(module.*shape_reg\.bias is a int\).*as the entry network"),
    ],
)
def test_an_entry_that_does_not_fit_is_named(tmp_path: Path, changed: dict, message: str) -> None:
    assert SMALL.shape == 10
    content = {name: value for name, value in {**state(), **changed}.items() if value is not None}
    with pytest.raises(InputError, match=message):
        read(saved(tmp_path / "demo.pth.tar", snapshot(content)))


def test_another_network_and_another_size_are_refused(tmp_path: Path) -> None:
    other = torch.nn.Linear(2, 2).state_dict()
    words = r"is no checkpoint of HandOccNet: backbone\..* is missing.*Expected snapshot_demo\.pth\.tar"
    for content in (other, snapshot(dict(other))):
        with pytest.raises(InputError, match=words):
            read(saved(tmp_path / "other.pth", content))
    with pytest.raises(InputError, match=r"is \(8, .*\), expected \(16, "):
        load_checkpoint(saved(tmp_path / "small.pth", snapshot(state())), replace(SMALL, width=16))
    with pytest.raises(InputError, match="holds a list"):
        read(saved(tmp_path / "list.pth", [1, 2]))
    with pytest.raises(InputError, match="holds a list"):
        read(saved(tmp_path / "inner.pth", {"epoch": 1, "network": [1, 2]}))
    with pytest.raises(InputError, match=r"holds more than tensors \(epoch is a int; state_dict is a dict\)"):
        read(saved(tmp_path / "elsewhere.pth", {"epoch": 1, "state_dict": state()}))


@HOWS
def test_a_file_cut_off_anywhere_is_damaged(tmp_path: Path, how: dict[str, bool]) -> None:
    whole = saved(tmp_path / "demo.pth", snapshot(state()), **how).read_bytes()
    lengths = [0, 1, 2, 17, *range(30, 400, 37), *(len(whole) * part // 12 for part in range(1, 12)), len(whole) - 1]
    cut = tmp_path / "cut.pth"
    for length in lengths:
        cut.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.pth: is no state dict of tensors only"):
            read(cut)


class Payload:
    """Runs a command when it is unpickled by anyone who trusts it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("place", ["among the weights", "beside them"])
@pytest.mark.parametrize(
    ("write", "message"),
    [
        ("torch", r"it asks to run posix\.system, which is refused"),
        ("torch, long ago", r"it asks to run posix\.system, which is refused"),
        ("pickle", "is no state dict of tensors only"),
    ],
)
def test_nothing_in_a_file_is_run(tmp_path: Path, write: str, message: str, place: str) -> None:
    path, trace = tmp_path / "bad.pth", tmp_path / "trace"
    content = snapshot(state())
    if place == "beside them":
        content["optimizer"] = Payload(trace)
    else:
        content["network"] = {**state(), BIAS: Payload(trace)}
    if write == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        saved(path, content, **({} if write == "torch" else LEGACY))
    with pytest.raises(InputError, match=rf"bad\.pth: .*{message}"):
        read(path)
    assert not trace.exists()
