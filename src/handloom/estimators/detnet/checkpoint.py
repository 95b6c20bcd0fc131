"""Checkpoint files of DetNet: the published `.pth` state dicts and handloom's own safetensors."""

import pickle
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from handloom.estimators.detnet.network import DetNet
from handloom.runtime.artifacts import Header, read_weights, write_weights
from handloom.runtime.config.detnet import DetNetSettings
from handloom.runtime.errors import InputError

KIND = "detnet"
_SHOWN_DIFFERENCES = 4


def load_checkpoint(path: Path, settings: DetNetSettings, root_joint: int) -> DetNet:
    """Build the network and fill it from a checkpoint, in evaluation mode on the CPU.

    A published file is a bare state dict, its names optionally prefixed with `module.`; its root joint is unknown.
    Raises InputError for a missing or damaged file, one with anything but tensors in it (nothing in it is run), other
    names or shapes than `settings` give (the first differing ones are named), or another root joint.
    """
    path = Path(path)
    state = _read_safetensors(path, root_joint) if path.suffix == ".safetensors" else _read_published(path)
    network = DetNet(settings)
    differences = list(islice(_differences(network.state_dict(), state), _SHOWN_DIFFERENCES))
    if differences:
        raise InputError(
            f"{path}: is no checkpoint of the configured DetNet ({settings}): {'; '.join(differences)}. "
            "Set `detnet` to the checkpoint's architecture or name another checkpoint."
        )
    network.load_state_dict(state)  # copies, so weights stored in half precision become float32
    return network.eval()


def save_checkpoint(path: Path, network: DetNet, root_joint: int, *, seed: int | None = None, code: str = "") -> None:
    """Write the weights as safetensors with a header that names the architecture and the root joint."""
    extra = {"root_joint": str(root_joint), "network": network.settings.model_dump_json()}
    header = Header(kind=KIND, units="bone 0-9", frame="camera", joint_order="SNAP", seed=seed, code=code, extra=extra)
    write_weights(path, network.state_dict(), header)


def convert_checkpoint(source: Path, output: Path, settings: DetNetSettings, root_joint: int) -> None:
    """Stage: check a configured checkpoint and write it in handloom's own format."""
    save_checkpoint(output, load_checkpoint(source, settings, root_joint), root_joint)


def _read_safetensors(path: Path, root_joint: int) -> dict[str, Tensor]:
    state, header = read_weights(path, KIND)
    found = header.extra.get("root_joint")
    if found != str(root_joint):
        raise InputError(
            f"{path}: was trained with root joint {found}, but root joint {root_joint} is configured; "
            "set the source's `root_joint` to the checkpoint's, or name another checkpoint"
        )
    return state


def _read_published(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(
            f"{path}: no such checkpoint; correct the source's `checkpoint` or set it to null to train one"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{path}: is no state dict of tensors only ({reason}); it is damaged, or holds objects, "
            "which are not loaded"
        ) from error
    if not (isinstance(state, Mapping) and all(isinstance(value, Tensor) for value in state.values())):
        raise InputError(
            f"{path}: holds {type(state).__name__}, but a bare state dict of names and tensors was expected"
        )
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def _differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> Iterator[str]:
    """Sentences about entries that do not fit, in the network's order; unexpected entries last."""
    for name, value in expected.items():
        if name not in found:
            yield f"{name} is missing"
        elif found[name].shape != value.shape:
            yield f"{name} is {tuple(found[name].shape)}, expected {tuple(value.shape)}"
    for name in found:
        if name not in expected:
            yield f"{name} is not expected"
