"""A network that begins as another one: the same answers from a larger input and with more bottlenecks.

The stem's kernel is resampled to the finer pixels; a bottleneck that the other network lacks begins as the identity,
its last batch norm at zero (Goyal et al. 2017, Sec. 5.1). So a training goes on where another one, even a smaller one,
ended.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from handloom.estimators.detnet.network import DetNet
from handloom.runtime.errors import InputError

_STEM = "resnet50.conv1.weight"
_LAST_NORM = "bn3.weight"


def begin_as(network: DetNet, start: DetNet) -> None:
    """Give an initialised network another one's weights, in place.

    Raises InputError for another root joint or map, another width, and more bottlenecks than the network has.
    """
    theirs, own = start.state_dict(), network.state_dict()
    lacking = sorted(theirs.keys() - own.keys())
    if (start.root_joint, start.settings.map_cells) != (network.root_joint, network.settings.map_cells) or lacking:
        raise InputError(
            f"the start is a DetNet of {start.settings} with root joint {start.root_joint}, which {network.settings} "
            f"with root joint {network.root_joint} cannot begin as; name another start, or a size that holds it"
        )
    for name, value in own.items():
        given = theirs.get(name)
        if given is None:
            if name.endswith(_LAST_NORM):
                value.zero_()
            continue
        if name == _STEM:
            given = _resampled(given, value.shape[-1])
        if given.shape != value.shape:
            raise InputError(
                f"{name} of the start has the shape {tuple(given.shape)}, but {tuple(value.shape)} is configured; name "
                "another start, or its width and head width"
            )
        value.copy_(given)


def _resampled(kernel: Float[Tensor, "out in old old"], size: int) -> Float[Tensor, "out in new new"]:
    """The kernel on a grid that is finer by (size + 1) / (old + 1), linearly interpolated, of equal sum."""
    old = kernel.shape[-1]
    finer = (size + 1) / (old + 1)
    place = (torch.arange(size) - size // 2) / finer
    taps = torch.arange(old) - old // 2
    weights = (1 - (place[:, None] - taps).abs()).clamp_min(0) / finer
    return torch.einsum("rp,cq,oipq->oirc", weights, weights, kernel)
