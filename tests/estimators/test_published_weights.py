"""Checkpoints that others published: what is read, and what is refused with which words."""

import gzip
import io
import os
import pickle
import re
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from handloom.estimators.published_weights import PublishedWeights, filled, read_state
from handloom.runtime.errors import InputError

PUBLISHED = PublishedWeights(
    network="Kite's network",
    owner="Kite",
    file="kite.pth",
    home="https://kite.example",
    hint="of the right size",
    unused=("old.*",),
    entry="network",
)
BARE = replace(PUBLISHED, entry=None)
LEGACY = {"_use_new_zipfile_serialization": False}
HOWS = pytest.mark.parametrize("how", [{}, LEGACY], ids=["zip", "as torch before 1.6"])


def build() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def state() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return dict(build().state_dict())


def saved(path: Path, content: object, **how: bool) -> Path:
    torch.save(content, path, **how)
    return path


def read(path: Path, published: PublishedWeights = PUBLISHED) -> nn.Module:
    return filled(build, read_state(path, published), published, str(path))


def snapshot(weights: dict[str, Tensor]) -> dict[str, object]:
    """As training leaves it: the network wrapped for several GPUs, and the state of its optimizer."""
    network = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    names = {f"module.{name}": value for name, value in weights.items()}
    return {"epoch": 24, "network": names, "optimizer": optimizer.state_dict()}


@HOWS
@pytest.mark.parametrize("form", ["snapshot", "alone", "alone, module."])
def test_a_snapshot_and_bare_weights_are_read(tmp_path: Path, form: str, how: dict[str, bool]) -> None:
    prefix = "module." if form.endswith("module.") else ""
    bare = {prefix + name: value for name, value in state().items()}
    path = saved(tmp_path / "kite.pth", snapshot(state()) if form == "snapshot" else bare, **how)
    for published in [PUBLISHED] if form == "snapshot" else [PUBLISHED, BARE]:
        network = read(path, published)
        assert not network.training
        assert not any(value.requires_grad for value in network.parameters())
        for name, value in network.state_dict().items():
            torch.testing.assert_close(value, state()[name], rtol=0, atol=0)


def test_unused_weights_may_be_there_and_half_precision_becomes_single(tmp_path: Path) -> None:
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state().items()}
    unused = {"old.table": torch.full((3, 16), torch.nan), "old.faces": torch.zeros(2, 3).long()}
    network = read(saved(tmp_path / "kite.pth", {**halves, **unused}))
    assert {value.dtype for value in network.parameters()} == {torch.float32}


def test_a_network_that_learns_gets_gradients(tmp_path: Path) -> None:
    network = filled(build, state(), PUBLISHED, "recipe", trained=True)
    assert all(value.requires_grad for value in network.parameters())


def test_a_missing_file_names_file_and_home(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.pth: no such file; expected Kite's.*kite\.pth.*https://kite\.example"):
        read(tmp_path / "gone.pth")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"0.bias": None}, r"Kite's network: 0\.bias is missing.*Expected kite\.pth.*of the right size"),
        ({"0.bias": torch.zeros(5)}, r"0\.bias is \(5,\), expected \(4,\)"),
        ({"0.bias": torch.zeros(4).long()}, r"0\.bias is of torch\.int64"),
        ({"0.bias": torch.zeros(4).to_sparse()}, r"0\.bias claims .* torch\.float32 \(torch\.sparse_coo\)"),
        ({"decoder.weight": torch.zeros(2)}, r"decoder\.weight is not expected"),
        ({"0.bias": torch.full((4,), torch.nan)}, r"0\.bias holds NaN"),
        ({"0.bias": torch.full((4,), torch.inf)}, r"0\.bias holds NaN or infinite"),
        ({"0.bias": 3}, r"holds more than tensors \(0\.bias is a int\).*as the entry network"),
    ],
)
def test_an_entry_that_does_not_fit_is_named(tmp_path: Path, changed: dict, message: str) -> None:
    content = {name: value for name, value in {**state(), **changed}.items() if value is not None}
    with pytest.raises(InputError, match=message):
        read(saved(tmp_path / "kite.pth", {"network": content}))


def test_another_network_and_other_contents_are_refused(tmp_path: Path) -> None:
    other = nn.Conv2d(1, 2, 3).state_dict()
    for content in (other, snapshot(dict(other))):
        with pytest.raises(InputError, match=r"is no checkpoint of Kite's network: 0\.weight is missing"):
            read(saved(tmp_path / "other.pth", content))
    for content, found in (([1, 2], "a list"), ({"epoch": 1, "network": [1, 2]}, "the entries epoch, network")):
        with pytest.raises(InputError, match=f"holds {found}, but a state dict, alone or as the entry network, was"):
            read(saved(tmp_path / "list.pth", content))


@pytest.mark.parametrize(
    ("wrapped", "place"),
    [
        (lambda weights: {"epoch": 1, "state_dict": weights}, "state_dict"),
        (lambda weights: {"checkpoint": {"model": weights}, "loss": torch.tensor(0.5)}, "checkpoint.model"),
        (lambda weights: {"net": {f"module.{name}": value for name, value in weights.items()}}, "net"),
        (
            lambda weights: {"model_state_dict": {f"_orig_mod.net.{k}": v for k, v in weights.items()}},
            "model_state_dict",
        ),
    ],
)
def test_a_wrapped_state_dict_is_taken_with_a_word(tmp_path: Path, wrapped, place: str, capsys) -> None:
    network = read(saved(tmp_path / "kite.pth", wrapped(state())), BARE)
    torch.testing.assert_close(dict(network.state_dict()), state())
    assert f"the weights are taken from its entry {place}\n" in capsys.readouterr().err


def test_two_state_dicts_in_one_file_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "kite.pth", {"model": state(), "model_ema": state()})
    with pytest.raises(InputError, match="model and model_ema could be it"):
        read(path)


def zipped(path: Path, name: str, method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, b"weights")


FORMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a web page": (lambda path: path.write_text("\n<!DOCTYPE html><html>...</html>"), "is a web page"),
    "git-LFS": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid 1\n"), "git lfs pull"),
    "gzip": (lambda path: path.write_bytes(gzip.compress(b"weights")), "packed by gzip; unpack it"),
    "tar": (lambda path: path.write_bytes(tarred()), "a tar archive; unpack it"),
    "zip": (lambda path: zipped(path, "kite/kite.pth"), "a zip archive of kite/kite.pth; unpack it"),
    "packed anew": (lambda path: zipped(path, "kite/data.pkl"), "packed anew"),
    "TorchScript": (lambda path: torch.jit.save(torch.jit.script(nn.Linear(1, 1)), str(path)), "TorchScript program"),
    "a network": (lambda path: torch.save(build(), path), "asks to run torch.nn.modules.container.Sequential"),
    "a pipe": (os.mkfifo, "is a named pipe, but a plain file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "is a device, but a plain file"),
    "stretched": (lambda path: torch.save({"0.bias": torch.zeros(1).expand(10**12)}, path), "0.bias claims the shape"),
    "on no device": (
        lambda path: torch.save({"0.bias": torch.empty(4, device="meta")}, path),
        "0.bias claims the shape",
    ),
    "beyond single precision": (
        lambda path: torch.save({"0.bias": torch.full((4,), 1e300, dtype=torch.float64)}, path),
        "0.bias",
    ),
}


def tarred() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("kite.pth"))
    return content.getvalue()


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("form", FORMS)
def test_what_is_often_found_under_the_name_of_a_checkpoint_is_told(tmp_path: Path, form: str) -> None:
    write, words = FORMS[form]
    write(tmp_path / "kite.pth")
    with pytest.raises(InputError, match=rf"kite\.pth: .*{re.escape(words)}") as raised:
        read(tmp_path / "kite.pth")
    assert "weights_only" not in str(raised.value)
    assert "\n" not in str(raised.value)


@HOWS
def test_a_file_cut_off_anywhere_is_damaged(tmp_path: Path, how: dict[str, bool]) -> None:
    whole = saved(tmp_path / "kite.pth", snapshot(state()), **how).read_bytes()
    lengths = [0, 1, 2, 17, *range(30, 400, 7), *(len(whole) * part // 40 for part in range(1, 40)), len(whole) - 1]
    cut = tmp_path / "cut.pth"
    for length in lengths:
        cut.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.pth: (cannot be read as|is empty; expected) Kite's checkpoint"):
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
        ("pickle", "(cannot be read as|is empty; expected) Kite's checkpoint"),
    ],
)
def test_nothing_in_a_file_is_run(tmp_path: Path, write: str, message: str, place: str) -> None:
    path, trace = tmp_path / "bad.pth", tmp_path / "trace"
    content = snapshot(state())
    if place == "beside them":
        content["optimizer"] = Payload(trace)
    else:
        content["network"] = {**state(), "0.bias": Payload(trace)}
    if write == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        saved(path, content, **({} if write == "torch" else LEGACY))
    with pytest.raises(InputError, match=rf"bad\.pth: .*{message}"):
        read(path)
    assert not trace.exists()
