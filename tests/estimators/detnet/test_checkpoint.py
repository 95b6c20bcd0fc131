"""DetNet's checkpoint files know their size and root joint; what does not fit is refused, and in which words."""

import re
from pathlib import Path

import pytest
import torch

from handloom.estimators.detnet.checkpoint import convert_checkpoint, load_checkpoint, save_checkpoint
from handloom.estimators.detnet.network import DetNet, initialise
from handloom.runtime.artifacts import Header, read_weights, write_weights
from handloom.runtime.assets import checkpoint_path
from handloom.runtime.config.load import read_yaml, settings_from
from handloom.runtime.config.sources import DetNetSettings
from handloom.runtime.errors import InputError
from handloom.runtime.seeds import torch_generator

SETTINGS = DetNetSettings(input_px=32, map_cells=8, width=4, blocks=(1, 2, 1), head_width=8)


@pytest.fixture
def network() -> DetNet:
    network = DetNet(SETTINGS, 9)
    initialise(network, torch_generator(1))
    return network


@pytest.fixture
def own(tmp_path: Path, network: DetNet) -> Path:
    """The network in handloom's format."""
    save_checkpoint(tmp_path / "detnet.safetensors", network, seed=3)
    return tmp_path / "detnet.safetensors"


@pytest.fixture
def published(tmp_path: Path, network: DetNet) -> Path:
    """The network as its authors' code writes it."""
    torch.save({f"module.{name}": value for name, value in network.state_dict().items()}, tmp_path / "ckp.pth")
    return tmp_path / "ckp.pth"


def same(first: DetNet, second: DetNet) -> bool:
    return all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


def test_an_own_file_knows_its_size_and_its_root_joint(own: Path, network: DetNet) -> None:
    loaded = load_checkpoint(own)
    assert same(network, loaded)
    assert (loaded.settings, loaded.root_joint, loaded.training) == (SETTINGS, 9, False)
    assert same(network, load_checkpoint(own, SETTINGS, 9))
    assert read_weights(own, "detnet")[1].extra == {"root_joint": 9, "network": SETTINGS.model_dump(mode="json")}


def test_a_published_file_has_the_size_that_its_weights_tell(published: Path, network: DetNet) -> None:
    loaded = load_checkpoint(published)
    assert same(network, loaded)
    sizes = SETTINGS.model_copy(update={"input_px": 128, "map_cells": 32})  # no weight depends on these
    assert (loaded.settings, loaded.root_joint) == (sizes, None)
    assert load_checkpoint(published, SETTINGS, 0).settings == SETTINGS


@pytest.mark.parametrize("form", ["own", "published"])
def test_conversion_writes_the_checked_weights(own: Path, published: Path, network: DetNet, form: str) -> None:
    converted = own.with_name("converted.safetensors")
    convert_checkpoint(converted, SETTINGS, 9, own if form == "own" else published)
    loaded = load_checkpoint(converted)
    assert same(network, loaded)
    assert (loaded.settings, loaded.root_joint) == (SETTINGS, 9)


def test_another_root_joint_or_size_than_the_configured_one_is_refused(own: Path, published: Path) -> None:
    with pytest.raises(InputError, match=r"detnet\.safetensors: was trained with root joint 9, but root joint 0"):
        load_checkpoint(own, SETTINGS, 0)
    wider = SETTINGS.model_copy(update={"width": 8})
    with pytest.raises(InputError, match=r"detnet\.safetensors: is a DetNet of .*width=4.*but `detnet` is .*width=8"):
        load_checkpoint(own, wider)
    with pytest.raises(
        InputError, match=r"ckp\.pth.*resnet50\.conv1\.weight is \(4, 3, 7, 7\), expected \(8, 3, 7, 7\)"
    ):
        load_checkpoint(published, wider)


def test_a_header_that_tells_no_network_is_refused(own: Path, network: DetNet) -> None:
    for extra in ({}, {"root_joint": 9, "network": {"width": -1}}, {"root_joint": "nine", "network": {}}):
        write_weights(own, network.state_dict(), Header("detnet", extra=extra))
        with pytest.raises(InputError, match=r"detnet\.safetensors: its header tells no size and root joint"):
            load_checkpoint(own)


def test_weights_of_another_network_are_refused_by_their_names(published: Path, network: DetNet) -> None:
    state = network.state_dict()
    state["resnet50.stem"] = state.pop("resnet50.conv1.weight")
    torch.save(state, published)
    with pytest.raises(InputError, match=r"resnet50\.conv1\.weight is missing; resnet50\.stem is not expected"):
        load_checkpoint(published, SETTINGS, 0)
    with pytest.raises(InputError, match=r"ckp\.pth: holds no weights of a DetNet"):
        load_checkpoint(published)


def test_weights_that_are_not_finite_are_refused(own: Path, network: DetNet) -> None:
    with torch.no_grad():
        network.lmap_0.prediction.bias[3] = torch.nan
    save_checkpoint(own, network)
    with pytest.raises(InputError, match=r"lmap_0\.prediction\.bias holds NaN or infinite weights \(1 of 144 entries"):
        load_checkpoint(own)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "no such file; expected DetNet's checkpoint; put ckp_detnet_37.pth or"),
        (b"cut", "cannot be read as DetNet's checkpoint"),
        ({"epoch": 3}, "holds the entries epoch, but a bare state dict was expected"),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path: Path, content: object, told: str) -> None:
    path = tmp_path / "a.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(InputError, match=rf"a\.pth: {re.escape(told)}"):
        load_checkpoint(path)


@pytest.mark.parametrize(("name", "root"), [("in", 0), ("cross", 9)])
def test_the_shipped_networks_are_what_the_demo_configures(name: str, root: int) -> None:
    loaded = load_checkpoint(checkpoint_path(f"package:detnet_small_{name}.safetensors"))
    demo = settings_from(read_yaml(Path(__file__).parents[3] / "config.yaml")).detnet
    assert (loaded.settings, loaded.root_joint) == (demo, root)
