"""Values on a regular grid over the cube [-1, 1]^3, looked up by trilinear interpolation.

Volumes are laid out (channel, x, y, z); node (i, j, k) of `cells` nodes a side lies at -1 + 2 (i, j, k) / (cells - 1).
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def look_up(
    volume: Float[Tensor, "channel cells cells cells"], points: Float[Tensor, "point 3"]
) -> Float[Tensor, "point channel"]:
    """Trilinear values at points of the cube; points outside take the value of the nearest point of its surface."""
    # grid_sample's first coordinate runs along the last axis.
    places = points.flip(-1).view(1, -1, 1, 1, 3)
    found = functional.grid_sample(volume[None], places, padding_mode="border", align_corners=True)
    return found.view(volume.shape[0], -1).mT


def with_gradient(
    distance: Float[Tensor, "1 cells cells cells"],
) -> Float[Tensor, "4 cells cells cells"]:
    """A volume of values and, beside them, their central differences along x, y, z (per unit of the cube).

    Looking this up gives smooth normals in one pass, and only first derivatives are needed to train on them.
    """
    spacing = 2.0 / (distance.shape[-1] - 1)
    padded = functional.pad(distance[None], (1, 1, 1, 1, 1, 1), mode="replicate")[0]
    inner = slice(1, -1)
    along = [
        padded[:, 2:, inner, inner] - padded[:, :-2, inner, inner],
        padded[:, inner, 2:, inner] - padded[:, inner, :-2, inner],
        padded[:, inner, inner, 2:] - padded[:, inner, inner, :-2],
    ]
    return torch.cat([distance, *(difference / (2.0 * spacing) for difference in along)])


def node_points(cells: int) -> Float[Tensor, "nodes 3"]:
    """The nodes of a grid in the order of a flattened volume."""
    axis = torch.linspace(-1.0, 1.0, cells)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).view(-1, 3)


def refined(volume: Float[Tensor, "channel cells cells cells"], cells: int) -> Float[Tensor, "channel new new new"]:
    """The same function on a finer grid."""
    size = (cells, cells, cells)
    return functional.interpolate(volume[None], size=size, mode="trilinear", align_corners=True)[0]


def roughness(volume: Float[Tensor, "channel cells cells cells"]) -> Float[Tensor, ""]:
    """Mean square of the second differences along the three axes: zero for a linear function."""
    parts = [volume.diff(n=2, dim=axis).square().mean() for axis in (1, 2, 3)]
    return torch.stack(parts).sum()
