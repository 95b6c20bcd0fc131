"""METRO's published checkpoint: a bare state dict, read strictly and without running anything in it."""

import pickle
import re
import struct
import warnings
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from handloom.estimators.metro.architecture import MetroArchitecture
from handloom.estimators.metro.network import Metro
from handloom.estimators.metro.template import template_tokens_m
from handloom.hand.mano import HandModel
from handloom.runtime.errors import InputError

HOME = "https://github.com/microsoft/MeshTransformer"
FILE = "metro_hand_state_dict.bin"
DEAD_WEIGHTS = ("backbone.classifier.*", "trans_encoder.*.bert.embeddings.*", "trans_encoder.*.bert.pooler.*")
"""Entries of the published file that no output depends on (facts/comparisons.md 2.1); they may be absent."""
_PREFIX = "module."
_SHOWN_DIFFERENCES = 4
_DAMAGE = (
    *(pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, TypeError, LookupError, AttributeError),
    *(struct.error, AssertionError, MemoryError),
)
"""What torch's reader raises for bytes that are no checkpoint, or one that was cut off."""


def load_checkpoint(
    path: Path, hand_model: HandModel, architecture: MetroArchitecture | None = None, device: torch.device | str = "cpu"
) -> Metro:
    """METRO filled from its checkpoint file, in evaluation mode; the template comes from MANO's right hand.

    Names may have the prefix `module.`, and half precision becomes float32. Raises InputError for a missing or damaged
    file, for one that holds anything but tensors (nothing in it is run), for names or shapes of another network (the
    first differing ones are named; only `DEAD_WEIGHTS` may lack or be there), for weights that are not finite, and for
    a hand model that is not MANO's right hand.
    """
    template = template_tokens_m(hand_model)
    return filled_network(_read(Path(path)), template, architecture or MetroArchitecture(), str(path)).to(device)


def filled_network(
    state: Mapping[str, Tensor], template_m: Tensor, architecture: MetroArchitecture, source: str
) -> Metro:
    """The network with these weights, in evaluation mode; errors name `source` and are those of `load_checkpoint`."""
    state = {name.removeprefix(_PREFIX): value for name, value in state.items()}
    state = {name: value for name, value in state.items() if not _is_dead(name)}
    with torch.device("meta"):  # allocates nothing: the file's own tensors become the parameters
        network = Metro(architecture, template_m)
    differences = list(islice(_differences(network.state_dict(), state), _SHOWN_DIFFERENCES))
    if differences:
        raise InputError(
            f"{source}: is no checkpoint of METRO's hand network: {'; '.join(differences)}. Expected {FILE} "
            f"from {HOME}, with HRNet-W64 inside; its body network has another size"
        )
    spoilt = [name for name, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if spoilt:
        raise InputError(
            f"{source}: {spoilt[0]} holds NaN or infinite weights ({len(spoilt)} entries do); fetch it again"
        )
    network.load_state_dict(
        {name: value.float() if value.is_floating_point() else value for name, value in state.items()}, assign=True
    )
    return network.requires_grad_(False).eval()


def _is_dead(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in DEAD_WEIGHTS)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(
            f"{path}: no such file, but METRO's checkpoint is expected there; put {FILE} there ({HOME}), or choose "
            "another hand estimator"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols that published files do not use
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        raise InputError(
            f"{path}: is no state dict of tensors only ({_reason(error)}). Fetch {FILE} again ({HOME})"
        ) from error
    if not isinstance(state, Mapping):
        raise InputError(f"{path}: holds a {type(state).__name__}, expected a bare state dict of names and tensors")
    others = [f"{name} is a {type(value).__name__}" for name, value in state.items() if not isinstance(value, Tensor)]
    if others:
        raise InputError(
            f"{path}: holds more than tensors ({'; '.join(others[:_SHOWN_DIFFERENCES])}), but METRO's checkpoint is a "
            f"bare state dict; this is another network's file. Expected {FILE} from {HOME}"
        )
    return {str(name): value for name, value in state.items()}


def _reason(error: Exception) -> str:
    """What is wrong, without torch's advice to run the file nevertheless."""
    asked = re.search(r"GLOBAL (\S+)", str(error))
    return f"it asks to run {asked[1]}, which is refused" if asked else "it is damaged, cut off or of another kind"


def _differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> Iterator[str]:
    """Sentences about entries that do not fit, in the network's order; unexpected entries last."""
    for name, value in expected.items():
        if name not in found:
            yield f"{name} is missing"
        elif found[name].shape != value.shape:
            yield f"{name} is {tuple(found[name].shape)}, expected {tuple(value.shape)}"
        elif found[name].is_floating_point() != value.is_floating_point() or found[name].layout != torch.strided:
            yield f"{name} is of {found[name].dtype} ({found[name].layout}), expected dense {value.dtype}"
    for name in found:
        if name not in expected:
            yield f"{name} is not expected"
