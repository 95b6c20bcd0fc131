"""A network that begins as another one: the same answers, from a larger input, with more channels and bottlenecks.

The stem's kernel is resampled to the finer pixels; channels that the other network lacks begin as copies of its own,
and what follows takes a share of each (Chen et al. 2016, Net2Net, Sec. 2.2); a bottleneck that it lacks begins as the
identity, its last batch norm at zero (Goyal et al. 2017, Sec. 5.1). So a training goes on where another one, even a
smaller one, ended.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from handloom.estimators.detnet.network import DetNet
from handloom.runtime.errors import InputError

_STEM = "resnet50.conv1.weight"
_LAST_NORM = "bn3.weight"


@torch.no_grad()
def begin_as(network: DetNet, start: DetNet) -> None:
    """Give an initialised network another one's weights, in place.

    Raises InputError for another root joint, map or head width, and for fewer channels or bottlenecks than the start's.
    """
    theirs, own = start.state_dict(), network.state_dict()
    alike = [(of.root_joint, of.settings.map_cells, of.settings.head_width) for of in (start, network)]
    smaller = start.settings.width <= network.settings.width and not theirs.keys() - own.keys()
    if alike[0] != alike[1] or not smaller:
        raise InputError(
            f"the start is a DetNet of {start.settings} with root joint {start.root_joint}, which {network.settings} "
            f"with root joint {network.root_joint} cannot begin as; name another start, or a size that holds it"
        )
    for name, value in own.items():
        given = theirs.get(name)
        if given is not None:
            value.copy_(_widened(_resampled(given, value.shape[-1]) if name == _STEM else given, value.shape))
        elif name.endswith(_LAST_NORM):
            value.zero_()


def _widened(given: Shaped[Tensor, "..."], shape: torch.Size) -> Shaped[Tensor, "..."]:
    """Channel i is a copy of channel i modulo their number; of the copies' outputs, unequal shares sum to one.

    Equal shares would let copies learn alike for ever.
    """
    for axis in range(min(given.ndim, 2)):
        old, new = given.shape[axis], shape[axis]
        if old == new:
            continue
        given = given.index_select(axis, torch.arange(new) % old)
        if axis == 1:
            copies = torch.bincount(torch.arange(new) % old)[torch.arange(new) % old]
            turn = torch.arange(new) // old + torch.arange(given.shape[0])[:, None]
            share = (1 + turn % copies) / (copies * (copies + 1) / 2)
            given = given * share.view(*share.shape, *[1] * (given.ndim - 2))
    return given


def _resampled(kernel: Float[Tensor, "out in old old"], size: int) -> Float[Tensor, "out in new new"]:
    """The kernel on a grid that is finer by (size + 1) / (old + 1), linearly interpolated, of equal sum."""
    old = kernel.shape[-1]
    finer = (size + 1) / (old + 1)
    place = (torch.arange(size) - size // 2) / finer
    taps = torch.arange(old) - old // 2
    weights = (1 - (place[:, None] - taps).abs()).clamp_min(0) / finer
    return torch.einsum("rp,cq,oipq->oirc", weights, weights, kernel)
