"""Checkpoint files: what is read, and what is refused with which words."""

import os
import pickle

import pytest
import torch

from handloom.estimators.detnet.checkpoint import convert_checkpoint, load_checkpoint, save_checkpoint
from handloom.estimators.detnet.network import DetNet, initialise
from handloom.runtime.config.detnet import DetNetSettings
from handloom.runtime.errors import InputError
from handloom.runtime.seeds import torch_generator

SETTINGS = DetNetSettings(input_px=32, map_cells=8, width=4, blocks=(1, 1, 1), head_width=8)


@pytest.fixture
def network() -> DetNet:
    network = DetNet(SETTINGS)
    initialise(network, torch_generator(1))
    return network


def same(first: DetNet, second: DetNet) -> bool:
    return all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_published_state_dict_is_read(tmp_path, network, prefix):
    path = tmp_path / "ckp_detnet_1.pth"
    torch.save({prefix + name: value for name, value in network.state_dict().items()}, path)
    loaded = load_checkpoint(path, SETTINGS, 0)
    assert same(network, loaded)
    assert not loaded.training


def test_own_files_come_back_bit_by_bit(tmp_path, network):
    save_checkpoint(tmp_path / "detnet.safetensors", network, 9, seed=3)
    assert same(network, load_checkpoint(tmp_path / "detnet.safetensors", SETTINGS, 9))


def test_conversion_writes_the_checked_weights(tmp_path, network):
    torch.save(network.state_dict(), tmp_path / "published.pth")
    convert_checkpoint(tmp_path / "published.pth", tmp_path / "detnet.safetensors", SETTINGS, 9)
    assert same(network, load_checkpoint(tmp_path / "detnet.safetensors", SETTINGS, 9))


def test_another_root_joint_is_refused(tmp_path, network):
    save_checkpoint(tmp_path / "detnet.safetensors", network, 9)
    with pytest.raises(InputError, match=r"detnet\.safetensors: was trained with root joint 9, but root joint 0"):
        load_checkpoint(tmp_path / "detnet.safetensors", SETTINGS, 0)


def test_another_width_is_refused_and_the_first_shape_named(tmp_path, network):
    torch.save(network.state_dict(), tmp_path / "a.pth")
    wider = SETTINGS.model_copy(update={"width": 8})
    with pytest.raises(InputError, match=r"a\.pth.*resnet50\.conv1\.weight is \(4, 3, 7, 7\), expected \(8, 3, 7, 7\)"):
        load_checkpoint(tmp_path / "a.pth", wider, 0)


def test_missing_and_unexpected_entries_are_named(tmp_path, network):
    state = network.state_dict()
    state["resnet50.stem"] = state.pop("resnet50.conv1.weight")
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"resnet50\.conv1\.weight is missing; resnet50\.stem is not expected"):
        load_checkpoint(tmp_path / "a.pth", SETTINGS, 0)


class _Malicious:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, 2))])
def test_a_checkpoint_that_runs_code_is_refused_and_not_run(tmp_path, save):
    trace = tmp_path / "trace"
    save({"resnet50.conv1.weight": _Malicious(f"touch {trace}")}, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"a\.pth: is no state dict"):
        load_checkpoint(tmp_path / "a.pth", SETTINGS, 0)
    assert not trace.exists()


def test_a_truncated_checkpoint_is_refused(tmp_path, network):
    path = tmp_path / "a.pth"
    torch.save(network.state_dict(), path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"a\.pth: is no state dict"):
        load_checkpoint(path, SETTINGS, 0)


def test_a_training_state_is_not_taken_for_weights(tmp_path, network):
    torch.save({"epoch": 3, "model": network.state_dict()}, tmp_path / "a.pth")
    with pytest.raises(InputError, match="bare state dict"):
        load_checkpoint(tmp_path / "a.pth", SETTINGS, 0)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.pth: no such checkpoint"):
        load_checkpoint(tmp_path / "none.pth", SETTINGS, 0)
