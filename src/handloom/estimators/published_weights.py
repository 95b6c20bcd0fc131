"""Checkpoints that others published: state dicts read strictly, without running anything that the file asks for."""

import pickle
import re
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from handloom.runtime.errors import InputError

Network = TypeVar("Network", bound=nn.Module)
_SHOWN_DIFFERENCES = 4
"""Differences that an error names: enough to tell another size from another network."""
_DAMAGE = (
    *(pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, TypeError, LookupError, AttributeError),
    *(struct.error, AssertionError, MemoryError),
)
"""What torch's reader raises for bytes that are no checkpoint, or one that was cut off."""


@dataclass(frozen=True)
class PublishedWeights:
    """What is known of a file before it is read, for its reader and for the words of its errors."""

    network: str
    """Whose weights it holds, such as "METRO's hand network"."""
    owner: str
    file: str
    """The name that it was published under."""
    home: str
    hint: str
    """What a reader with another file of the same authors should look for."""
    unused: tuple[str, ...] = ()
    """Patterns of entries that our network does without; they may be absent."""
    entry: str | None = None
    """The key of a surrounding dict that leads to the weights; a bare state dict is read too. None: always bare."""


def read_state(path: Path, published: PublishedWeights) -> dict[str, Tensor]:
    """The tensors of a checkpoint file, by their names without the prefix `module.` of training on several GPUs.

    Raises InputError for a missing or damaged file, and for one that holds anything but tensors (none of it is run).
    """
    if not path.is_file():
        raise InputError(
            f"{path}: no such file, but {published.owner}'s checkpoint is expected there; put {published.file} there "
            f"({published.home}), or choose another network or file"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols that published files do not use
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))  # torch goes on to advise to run the file nevertheless
        reason = (
            f"it asks to run {asked[1]}, which is refused" if asked else "it is damaged, cut off or of another kind"
        )
        raise InputError(
            f"{path}: is no state dict of tensors only ({reason}). Fetch {published.file} again ({published.home})"
        ) from error
    if isinstance(state, Mapping) and published.entry is not None and published.entry in state:
        state = state[published.entry]
    kind = "a bare state dict" if published.entry is None else "a state dict"
    if not isinstance(state, Mapping):
        raise InputError(f"{path}: holds a {type(state).__name__}, expected {kind} of names and tensors")
    others = [f"{name} is a {type(value).__name__}" for name, value in state.items() if not isinstance(value, Tensor)]
    if others:
        where = "" if published.entry is None else f", alone or as the entry {published.entry}"
        raise InputError(
            f"{path}: holds more than tensors ({'; '.join(others[:_SHOWN_DIFFERENCES])}), but {published.owner}'s "
            f"checkpoint is {kind}{where}; this is another network's file. Expected {published.file} from "
            f"{published.home}"
        )
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def filled(
    build: Callable[[], Network],
    state: Mapping[str, Tensor],
    published: PublishedWeights,
    source: str,
    *,
    trained: bool = False,
) -> Network:
    """The network that `build` makes, with these weights, in evaluation mode; without gradients unless `trained`.

    Half precision becomes float32. Raises InputError, naming `source`, for names, shapes or types of another network
    (the first differing ones are named; only `unused` ones may lack or be there), and for weights that are not finite.
    Unless `trained`, `build` runs without memory behind the tensors that it makes, so all of them must be entries of
    the state dict.
    """
    unused = published.unused
    state = {name: value for name, value in state.items() if not any(fnmatchcase(name, each) for each in unused)}
    # On the device `meta` nothing is allocated: the file's own tensors become the parameters.
    with nullcontext() if trained else torch.device("meta"):
        network = build()
    differences = list(islice(_differences(network.state_dict(), state), _SHOWN_DIFFERENCES))
    if differences:
        raise InputError(
            f"{source}: is no checkpoint of {published.network}: {'; '.join(differences)}. Expected {published.file} "
            f"from {published.home}, {published.hint}"
        )
    spoilt = [name for name, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if spoilt:
        raise InputError(
            f"{source}: {spoilt[0]} holds NaN or infinite weights ({len(spoilt)} entries do); fetch it again"
        )
    single = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    network.load_state_dict(single, assign=not trained)
    return network.requires_grad_(trained).eval()


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
