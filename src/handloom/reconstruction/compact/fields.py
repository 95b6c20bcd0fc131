"""The two fields f(x) = (signed distance, colour): voxel grids with a small colour network.

Distances are metres, for both nodes: the reference mixes canonical units with those of the scaled world.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from handloom.geometry.voxels import look_up, with_gradient
from handloom.reconstruction.scene_poses import frame_rows
from handloom.runtime.config.fields import CompactSettings

_FIRST_FEATURES = 0.1
"""Standard deviation: small, so that the first colours hardly depend on the place."""


class FieldValues(NamedTuple):
    """What a field answers at points of its cube."""

    distance_m: Float[Tensor, " points"]
    gradient: Float[Tensor, "points 3"]
    """Of the distance, in the field's own frame: metres per metre."""
    colour: Float[Tensor, "points 3"]


class VoxelField(nn.Module):
    """Distance and features on grids; colour = sigmoid(MLP(features, normal, frame code)).

    Distances are learnt or, with `fixed`, stay as they are given.
    As in the reference, colour sees the normal and no view direction, and a code per frame takes up changing light.
    """

    def __init__(
        self,
        distance_m: Float[Tensor, "1 cells cells cells"],
        settings: CompactSettings,
        frames: int,
        generator: torch.Generator,
        *,
        fixed: bool = False,
    ) -> None:
        super().__init__()
        self.distance = nn.Parameter(distance_m.clone(), requires_grad=not fixed)
        cells, hidden = settings.feature_cells, settings.hidden
        size = (settings.features, cells, cells, cells)
        self.features = nn.Parameter(_FIRST_FEATURES * torch.randn(size, generator=generator))
        self.codes = nn.Parameter(torch.zeros(frames, settings.code_size))
        widths = (settings.features + 3 + settings.code_size, hidden, hidden, 3)
        layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
        for layer in layers:
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)
        self.layers = nn.ModuleList(layers)

    def distances(self, radius_m: Tensor | float) -> Float[Tensor, "4 cells cells cells"]:
        """The volume that `at` looks up, made once per step: distance and its gradient in metres per metre."""
        volume = with_gradient(self.distance)
        return torch.cat([volume[:1], volume[1:] / radius_m])

    def at(
        self,
        volume: Float[Tensor, "4 cells cells cells"],
        points_unit: Float[Tensor, "points 3"],
        frame: Int[Tensor, " points"],
    ) -> FieldValues:
        """Values at points of the cube; frames choose the colour's code."""
        found = look_up(volume, points_unit)
        gradient = found[:, 1:]
        normal = functional.normalize(gradient, dim=-1)
        values = torch.cat([look_up(self.features, points_unit), normal, frame_rows(self.codes, frame)], -1)
        *hidden, last = self.layers
        for layer in hidden:
            values = functional.relu(layer(values))
        return FieldValues(found[:, 0], gradient, last(values).sigmoid())
