"""From DetNet's maps to joints: the cell of highest heat decides, per joint."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from handloom.estimators.detnet.network import DetNetMaps


class Readout(NamedTuple):
    """One hand per image, in network units (relative to the root joint, bone 0-9 about 1 long)."""

    joints: Float[Tensor, "batch 21 3"]
    delta: Float[Tensor, "batch 21 3"]
    """Direction from each joint's parent."""
    cell_rowcol: Int64[Tensor, "batch 21 2"]
    """Row and column of the cell that was read."""
    confidence: Float[Tensor, "batch 21"]
    """Heat in that cell."""


def read_out(maps: DetNetMaps) -> Readout:
    """Read delta and location maps where the heat map is highest; the first such cell in row-major order wins ties."""
    confidence, cell = maps.heat.flatten(2).max(dim=2)
    row_length = maps.heat.shape[3]
    rowcol = torch.stack([cell // row_length, cell % row_length], dim=-1)
    return Readout(_at(maps.location, cell), _at(maps.delta, cell), rowcol, confidence)


def _at(maps: Float[Tensor, "batch 21 3 rows cols"], cell: Int64[Tensor, "batch 21"]) -> Float[Tensor, "batch 21 3"]:
    index = cell[:, :, None, None].expand(-1, -1, 3, 1)
    return maps.flatten(3).gather(3, index)[..., 0]
