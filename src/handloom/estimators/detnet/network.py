"""DetNet: a dilated ResNet with heat-map, delta-map and location-map heads (Zhou et al., CVPR 2020).

Parameter names and shapes are those of the published checkpoints, so that `state_dict` is their file format.
"""

from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional

from handloom.estimators.bottleneck import Bottleneck, convolution
from handloom.hand.joints import JOINT_COUNT
from handloom.runtime.config.sources import DetNetSettings


class DetNetMaps(NamedTuple):
    """What the three heads give, per cell of the map."""

    heat: Float[Tensor, "batch 21 rows cols"]
    """Probability-like score that the joint is seen in this cell, in (0, 1)."""
    delta: Float[Tensor, "batch 21 3 rows cols"]
    """Direction from the parent joint to the joint."""
    location: Float[Tensor, "batch 21 3 rows cols"]
    """Position of the joint relative to the root joint, in units of the bone from joint 0 to joint 9."""


_bottleneck = partial(Bottleneck, name="shortcut", activation=partial(functional.relu, inplace=True))


def block(inputs: int, inner: int, count: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """`count` bottlenecks; the first one changes the number of channels and, if asked to, halves the map."""
    first = _bottleneck(inputs, inner, stride=stride, dilation=dilation)
    return nn.Sequential(first, *(_bottleneck(4 * inner, inner, dilation=dilation) for _ in range(count - 1)))


class Backbone(nn.Module):
    """Image to features of `head_width` channels on the map's cells; dilation takes the place of deeper strides."""

    def __init__(self, settings: DetNetSettings) -> None:
        super().__init__()
        width, (count1, count2, count3) = settings.width, settings.blocks
        stem, halving = settings.strides
        self.conv1 = convolution(3, width, 4 * stem - 1, stride=stem)
        self.bn1 = nn.BatchNorm2d(width)
        self.block1 = block(width, width, count1)
        self.pool = nn.Sequential(_bottleneck(4 * width, width, stride=2, shortcut=nn.MaxPool2d(2)))
        self.block2 = block(4 * width, 2 * width, count2, stride=halving, dilation=2)
        self.block3 = block(8 * width, 4 * width, count3, dilation=4)
        self.squeeze = nn.Sequential(
            convolution(16 * width, settings.head_width, 3), nn.BatchNorm2d(settings.head_width), nn.ReLU(inplace=True)
        )

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch features rows cols"]:
        return self.upper(self.lower(image))

    def lower(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channels rows cols"]:
        """Stem, block1 and block2: what is seen before it is put together on the map's cells."""
        features = functional.relu(self.bn1(self.conv1(image)), inplace=True)
        return self.block2(self.pool(self.block1(features)))

    def upper(self, seen: Float[Tensor, "batch channels rows cols"]) -> Float[Tensor, "batch features rows cols"]:
        """block3 and `squeeze`."""
        return self.squeeze(self.block3(seen))


class Head(nn.Module):
    """3x3 convolution, batch norm, ReLU and a 1x1 convolution with bias."""

    def __init__(self, inputs: int, inner: int, outputs: int) -> None:
        super().__init__()
        self.project = nn.Sequential(convolution(inputs, inner, 3), nn.BatchNorm2d(inner), nn.ReLU(inplace=True))
        self.prediction = nn.Conv2d(inner, outputs, 1)

    def forward(self, features: Float[Tensor, "batch inputs rows cols"]) -> Float[Tensor, "batch outputs rows cols"]:
        return self.prediction(self.project(features))


class DetNet(nn.Module):
    """Single-view 3D hand pose network; each head also sees what the heads before it found.

    The attribute names `resnet50` and `*map_0` are the published parameter names and hold for every size. Locations are
    relative to `root_joint`: 0 in-dataset, 9 cross-dataset, as published; None where a file does not tell.
    """

    cell_positions: Tensor

    def __init__(self, settings: DetNetSettings, root_joint: int | None = None) -> None:
        super().__init__()
        self.settings, self.root_joint = settings, root_joint
        width = settings.head_width
        self.resnet50 = Backbone(settings)
        self.hmap_0 = Head(width + 2, width, JOINT_COUNT)
        self.dmap_0 = Head(width + 2 + JOINT_COUNT, width, 3 * JOINT_COUNT)
        self.lmap_0 = Head(width + 2 + 4 * JOINT_COUNT, width, 3 * JOINT_COUNT)
        axis = torch.linspace(-1, 1, settings.map_cells)
        rows, columns = torch.meshgrid(axis, axis, indexing="ij")
        self.register_buffer("cell_positions", torch.stack([columns, rows])[None], persistent=False)

    def forward(self, image: Float[Tensor, "batch 3 px px"]) -> DetNetMaps:
        """Maps of a batch of RGB images with values in [-0.5, 0.5]."""
        return self.maps(self.resnet50(image))

    def maps(self, features: Float[Tensor, "batch features rows cols"]) -> DetNetMaps:
        """What the three heads make of the backbone's features."""
        positions = self.cell_positions.expand(len(features), -1, -1, -1)
        features = torch.cat([features, positions], dim=1)
        heat = torch.sigmoid(self.hmap_0(features))
        features = torch.cat([features, heat], dim=1)
        delta = self.dmap_0(features)
        location = self.lmap_0(torch.cat([features, delta], dim=1))
        return DetNetMaps(heat, delta.unflatten(1, (JOINT_COUNT, 3)), location.unflatten(1, (JOINT_COUNT, 3)))


def network_input(image_u8: UInt8[Tensor, "n px px channels"]) -> Float[Tensor, "n 3 px px"]:
    """Grey or RGB bytes as the network's input, value / 255 - 0.5, channels last in memory (the fastest on CPU)."""
    return (image_u8.expand(-1, -1, -1, 3).to(torch.float32) / 255 - 0.5).permute(0, 3, 1, 2)


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


def initialise(network: DetNet, generator: torch.Generator) -> None:
    """Draw every convolution kernel from He's normal distribution (fan in); batch norms keep weight 1 and bias 0.

    Prediction biases are set to zero, so that the whole initial state is a function of the generator.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
