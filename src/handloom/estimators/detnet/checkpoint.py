"""Checkpoint files of DetNet: the published `.pth` state dicts, and handloom's own safetensors, which know the network.

handloom's files name the network's size and root joint in their header, so that nobody says them twice. A published
file knows neither: its sizes follow from its weights, but for those of image and map, which are the published ones.
"""

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError
from torch import Tensor

from handloom.estimators.detnet.network import DetNet
from handloom.estimators.published_weights import PublishedWeights, filled, read_state
from handloom.runtime.artifacts import Header, read_weights, write_weights
from handloom.runtime.assets import checkpoint_path
from handloom.runtime.config.sources import DetNetSettings
from handloom.runtime.errors import InputError

KIND = "detnet"
PUBLISHED = PublishedWeights(
    network="DetNet",
    owner="DetNet",
    file="ckp_detnet_37.pth or ckp_detnet_68.pth",
    home="https://github.com/ut-vision/S2DHand",
    hint="of the size that `detnet` names",
)


def load_checkpoint(
    path: Path, settings: DetNetSettings | None = None, root_joint: int | None = None, device: str = "cpu"
) -> DetNet:
    """The network of a checkpoint, in evaluation mode; `settings` and `root_joint`, if given, must be the file's own.

    Names of a published file may have the prefix `module.`. Raises InputError for a missing or damaged file, one with
    anything but tensors in it (nothing in it is run), weights that are not finite, names or shapes of another network
    than the header or `settings` tell (the first differing ones are named), and another root joint.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        state, header = read_weights(path, KIND)
        network, of_file = _described(path, header)
        if root_joint not in (None, of_file):
            raise InputError(
                f"{path}: was trained with root joint {of_file}, but root joint {root_joint} is configured; set the "
                "source's `root_joint` to the checkpoint's, or name another checkpoint"
            )
        if settings not in (None, network):
            raise InputError(
                f"{path}: is a DetNet of {network}, but `detnet` is {settings}; set `detnet` to the checkpoint's size, "
                "or name another checkpoint"
            )
    else:
        state = read_state(path, PUBLISHED)
        network, of_file = settings or _size_of(path, state), root_joint
    loaded = filled(lambda: DetNet(network, of_file), state, PUBLISHED, str(path), trained=True)
    return loaded.to(device)


def save_checkpoint(path: Path, network: DetNet, *, seed: int | None = None, code: str = "") -> None:
    """Write the weights as safetensors with a header that names the size and the root joint."""
    extra = {"root_joint": network.root_joint, "network": network.settings.model_dump(mode="json")}
    header = Header(kind=KIND, units="bone 0-9", frame="camera", joint_order="SNAP", seed=seed, code=code, extra=extra)
    write_weights(path, network.state_dict(), header)


def convert_checkpoint(
    network: Path, detnet: DetNetSettings, root_joint: int, checkpoint: Path | None = None, shipped: str | None = None
) -> None:
    """Stage: check a configured checkpoint, a file or `shipped`, and write it in handloom's own format."""
    path = checkpoint_path(str(shipped)) if checkpoint is None else checkpoint
    save_checkpoint(network, load_checkpoint(path, detnet, root_joint))


def _described(path: Path, header: Header) -> tuple[DetNetSettings, int | None]:
    """Size and root joint by a header."""
    try:
        size = header.extra["network"]
        # The shipped files have it as text.
        settings = DetNetSettings.model_validate_json(size) if isinstance(size, str) else DetNetSettings(**size)
        return settings, int(header.extra["root_joint"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: its header tells no size and root joint of a DetNet ({error}); name another checkpoint"
        ) from error


def _size_of(path: Path, state: Mapping[str, Tensor]) -> DetNetSettings:
    """The size of the network by its weights' names and shapes; image and map have the published sizes."""
    blocks = tuple(
        len({name.split(".")[2] for name in state if name.startswith(f"resnet50.block{number}.")})
        for number in (1, 2, 3)
    )
    try:
        width, head_width = len(state["resnet50.conv1.weight"]), len(state["resnet50.squeeze.0.weight"])
        return DetNetSettings(width=width, blocks=blocks, head_width=head_width)
    except (KeyError, ValidationError) as error:
        raise InputError(f"{path}: holds no weights of a DetNet ({error}); {PUBLISHED.file} do") from error
