"""DetNet: a dilated ResNet with heat-map, delta-map and location-map heads (Zhou et al., CVPR 2020).

Parameter names and shapes are those of the published checkpoints, so that `state_dict` is their file format.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from handloom.runtime.config.detnet import DetNetSettings

JOINTS = 21


class DetNetMaps(NamedTuple):
    """What the three heads give, per cell of the map."""

    heat: Float[Tensor, "batch 21 rows cols"]
    """Probability-like score that the joint is seen in this cell, in (0, 1)."""
    delta: Float[Tensor, "batch 21 3 rows cols"]
    """Direction from the parent joint to the joint."""
    location: Float[Tensor, "batch 21 3 rows cols"]
    """Position of the joint relative to the root joint, in units of the bone from joint 0 to joint 9."""


def convolution(inputs: int, outputs: int, size: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps the size of the map (at stride 1)."""
    padding = dilation * (size // 2)
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=padding, dilation=dilation, bias=False)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with batch norm, added to a shortcut; four times `inner` channels outside."""

    def __init__(self, inputs: int, inner: int, *, stride: int = 1, dilation: int = 1, shortcut: nn.Module) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, inner, 1)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = convolution(inner, inner, 3, stride, dilation)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = convolution(inner, 4 * inner, 1)
        self.bn3 = nn.BatchNorm2d(4 * inner)
        self.shortcut = shortcut

    def forward(self, features: Float[Tensor, "batch inputs rows cols"]) -> Float[Tensor, "batch outputs rows2 cols2"]:
        inner = functional.relu(self.bn1(self.conv1(features)), inplace=True)
        inner = functional.relu(self.bn2(self.conv2(inner)), inplace=True)
        return functional.relu(self.bn3(self.conv3(inner)) + self.shortcut(features), inplace=True)


def block(inputs: int, inner: int, count: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """`count` bottlenecks; the first one changes the number of channels and, if asked to, halves the map."""
    projection = nn.Sequential(convolution(inputs, 4 * inner, 1, stride), nn.BatchNorm2d(4 * inner))
    first = Bottleneck(inputs, inner, stride=stride, dilation=dilation, shortcut=projection)
    rest = [Bottleneck(4 * inner, inner, dilation=dilation, shortcut=nn.Identity()) for _ in range(count - 1)]
    return nn.Sequential(first, *rest)


class Backbone(nn.Module):
    """Image to features of `head_width` channels on the map's cells; dilation takes the place of deeper strides."""

    def __init__(self, settings: DetNetSettings) -> None:
        super().__init__()
        width, (count1, count2, count3) = settings.width, settings.blocks
        halving = settings.input_px // settings.map_cells // 4
        self.conv1 = convolution(3, width, 7, stride=2)
        self.bn1 = nn.BatchNorm2d(width)
        self.block1 = block(width, width, count1)
        self.pool = nn.Sequential(Bottleneck(4 * width, width, stride=2, shortcut=nn.MaxPool2d(2)))
        self.block2 = block(4 * width, 2 * width, count2, stride=halving, dilation=2)
        self.block3 = block(8 * width, 4 * width, count3, dilation=4)
        self.squeeze = nn.Sequential(
            convolution(16 * width, settings.head_width, 3), nn.BatchNorm2d(settings.head_width), nn.ReLU(inplace=True)
        )

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch features rows cols"]:
        features = functional.relu(self.bn1(self.conv1(image)), inplace=True)
        features = self.pool(self.block1(features))
        return self.squeeze(self.block3(self.block2(features)))


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

    The attribute names `resnet50` and `*map_0` are the published parameter names and hold for every size.
    """

    cell_positions: Tensor

    def __init__(self, settings: DetNetSettings) -> None:
        super().__init__()
        self.settings = settings
        width = settings.head_width
        self.resnet50 = Backbone(settings)
        self.hmap_0 = Head(width + 2, width, JOINTS)
        self.dmap_0 = Head(width + 2 + JOINTS, width, 3 * JOINTS)
        self.lmap_0 = Head(width + 2 + 4 * JOINTS, width, 3 * JOINTS)
        axis = torch.linspace(-1, 1, settings.map_cells)
        rows, columns = torch.meshgrid(axis, axis, indexing="ij")
        self.register_buffer("cell_positions", torch.stack([columns, rows])[None], persistent=False)

    def forward(self, image: Float[Tensor, "batch 3 px px"]) -> DetNetMaps:
        """Maps of a batch of RGB images with values in [-0.5, 0.5]."""
        features = self.resnet50(image)
        positions = self.cell_positions.expand(len(image), -1, -1, -1)
        features = torch.cat([features, positions], dim=1)
        heat = torch.sigmoid(self.hmap_0(features))
        features = torch.cat([features, heat], dim=1)
        delta = self.dmap_0(features)
        location = self.lmap_0(torch.cat([features, delta], dim=1))
        return DetNetMaps(heat, delta.unflatten(1, (JOINTS, 3)), location.unflatten(1, (JOINTS, 3)))


def initialise(network: DetNet, generator: torch.Generator) -> None:
    """Draw every convolution kernel from He's normal distribution (fan in); batch norms keep weight 1 and bias 0.

    Prediction biases are set to zero, so that the whole initial state is a function of the generator.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
