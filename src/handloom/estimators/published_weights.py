"""Checkpoints that others published: state dicts read strictly, without running anything that the file asks for."""

import argparse
import pickle
import re
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import torch
from torch import Tensor, nn

from handloom.runtime.artifacts import require_finite
from handloom.runtime.errors import InputError, listed
from handloom.runtime.reading import MEGABYTE, reading

Network = TypeVar("Network", bound=nn.Module)
_SHOWN_DIFFERENCES = 4
"""Differences that an error names: enough to tell another size from another network."""
_MOST_BYTES = 16_000 * MEGABYTE
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
"""What training on several GPUs, compilation and wrapping modules put before all names."""


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
    """The key of a surrounding dict that leads to the weights in the published file; None: they lie bare in it."""
    prefix: str | None = None
    """How the names of the network's weights begin, if others stand beside them."""


def read_state(path: Path, published: PublishedWeights) -> dict[str, Tensor]:
    """The tensors of a checkpoint file, by their names without the prefixes that wrappers of networks add.

    Where the state dict is wrapped in another one, the entry that it is taken from is printed. Raises InputError as
    `reading` does, for a file that holds anything but tensors and plain values (none of it is run), that holds no state
    dict or several, and for entries that are not finite tensors of numbers which the file really holds.
    """
    path = Path(path)
    advice = f"fetch {published.file} again ({published.home})"
    absent = f"put {published.file} there ({published.home}), or choose another network or file"
    expected = f"{published.owner}'s checkpoint"
    with reading(path, expected, advice, absent=absent, most_bytes=_MOST_BYTES) as file:
        _require_weights_archive(file)
        content = _loaded(file)
    state = _state_dict(path, content, published)
    state = {
        name: value for name, value in state.items() if not any(fnmatchcase(name, each) for each in published.unused)
    }
    _require_held(path, state, advice)
    require_finite(path, state)
    return state


def _require_weights_archive(file: BinaryIO) -> None:
    """Raise ValueError for a zip archive that is none of torch's; files of older versions are no archives."""
    if file.read(4) == b"PK\x03\x04":
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
        names = [entry.filename for entry in entries]
        if any("/code/" in name for name in names):
            raise ValueError("it is a TorchScript program; save the state dict of its network instead")
        if not any(name.endswith("data.pkl") for name in names):
            raise ValueError(f"it is a zip archive of {listed(names, 3)}; unpack it")
        if any(entry.flag_bits & 1 or entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("it was packed anew or encrypted; torch leaves its members as they are")
    file.seek(0)


def _loaded(file: BinaryIO) -> Any:
    """What torch reads of tensors and plain values; its own words would advise to run the file."""
    # Lightning may store the command line, a container of plain values.
    with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
        warnings.simplefilter("ignore")  # about pickle protocols that published files do not use
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError) as error:
            asked = re.search(r"GLOBAL (\S+)", str(error))
            if asked:
                raise ValueError(
                    f"it asks to run {asked[1]}, which is refused: a state dict holds tensors only"
                ) from error
            raise ValueError("it is damaged, cut off or of another kind") from error


def _state_dict(path: Path, content: Any, published: PublishedWeights) -> dict[str, Tensor]:
    """The one mapping of names to tensors in a file, its names without prefixes."""
    kind = "a bare state dict" if published.entry is None else f"a state dict, alone or as the entry {published.entry},"
    expected = f"{kind} was expected, as in {published.file} from {published.home}"
    places = dict(_mappings(content))
    whole = {
        place: value for place, value in places.items() if all(isinstance(each, Tensor) for each in value.values())
    }
    partly = {
        place: value for place, value in places.items() if any(isinstance(each, Tensor) for each in value.values())
    }
    found = whole or partly
    if published.entry in found:
        found = {published.entry: found[published.entry]}
    if len(found) != 1:
        what = (
            f"the entries {listed(sorted(map(str, content)))}"
            if isinstance(content, Mapping)
            else f"a {type(content).__name__}"
        )
        several = f"; {' and '.join(found)} could be it, save one of them alone" if found else ""
        raise InputError(f"{path}: holds {what}, but {expected}{several}")
    ((place, state),) = found.items()
    others = [f"{name} is a {type(value).__name__}" for name, value in state.items() if not isinstance(value, Tensor)]
    if others:
        raise InputError(f"{path}: holds more than tensors ({'; '.join(others[:_SHOWN_DIFFERENCES])}), but {expected}")
    if place and place != published.entry:
        print(f"{path}: the weights are taken from its entry {place}", file=sys.stderr)
    if published.prefix is not None:
        own = {name: value for name, value in state.items() if name.startswith(published.prefix)}
        if not own:
            raise InputError(
                f"{path}: none of its {len(state)} entries begins with `{published.prefix}`, as those of "
                f"{published.owner} do; expected {published.file} from {published.home}"
            )
        state = own
    while prefix := next((each for each in _PREFIXES if all(name.startswith(each) for name in state)), None):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return dict(state)


def _mappings(content: Any, place: str = "", depth: int = 2) -> Iterator[tuple[str, dict[str, Any]]]:
    """The dicts by names in a file and in its entries, with the keys that lead there."""
    if isinstance(content, Mapping) and content and all(isinstance(name, str) for name in content):
        yield place, dict(content)
        for name, value in content.items() if depth else ():
            yield from _mappings(value, f"{place}.{name}".removeprefix("."), depth - 1)


def _require_held(path: Path, state: Mapping[str, Tensor], advice: str) -> None:
    """Raise InputError for sparse tensors and for those that claim more numbers than the file has bytes for."""
    bytes_there = path.stat().st_size
    for name, value in state.items():
        dense = value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
        if not dense or value.numel() * value.element_size() > min(value.untyped_storage().nbytes(), bytes_there):
            raise InputError(
                f"{path}: {name} claims the shape {tuple(value.shape)} of {value.dtype} ({value.layout}), but only "
                f"dense tensors that the file holds in full were expected; {advice}"
            )


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
    (the first differing ones are named). Unless `trained`, `build` runs without memory behind the tensors that it
    makes, so all of them must be entries of the state dict.
    """
    # On the device `meta` nothing is allocated: the file's own tensors become the parameters.
    with nullcontext() if trained else torch.device("meta"):
        network = build()
    differences = list(islice(_differences(network.state_dict(), state), _SHOWN_DIFFERENCES))
    if differences:
        raise InputError(
            f"{source}: is no checkpoint of {published.network}: {'; '.join(differences)}. Expected {published.file} "
            f"from {published.home}, {published.hint}"
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
        elif found[name].is_floating_point() != value.is_floating_point():
            yield f"{name} is of {found[name].dtype}, expected {value.dtype}"
    for name in found:
        if name not in expected:
            yield f"{name} is not expected"
