"""HandOccNet's backbone: a feature pyramid, and the gate that tells the hand's cells from the others.

Parameter names and shapes are those of the published checkpoint. Source: facts/comparisons.md 2.2.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from handloom.estimators.handoccnet.architecture import HandOccNetArchitecture
from handloom.estimators.handoccnet.resnet import EXPANSION, stage, stem

_GATE_CELLS = 7


class GatedMaps(NamedTuple):
    """The pyramid's finest map, split by the gate; both parts add up to it."""

    primary: Float[Tensor, "batch width cells cells"]
    """Where the hand itself is seen."""
    secondary: Float[Tensor, "batch width cells cells"]
    """The rest, such as what hides it."""


class SpatialGate(nn.Module):
    """The share of every cell that is hand: sigmoid(BN(conv([max over channels, mean over channels])))."""

    def __init__(self) -> None:
        super().__init__()
        conv = nn.Conv2d(2, 1, _GATE_CELLS, padding=_GATE_CELLS // 2, bias=False)
        self.spatial = nn.ModuleDict({"conv": conv, "bn": nn.BatchNorm2d(1)})

    def forward(self, features: Float[Tensor, "batch width rows cols"]) -> Float[Tensor, "batch 1 rows cols"]:
        seen = torch.stack([features.amax(1), features.mean(1)], dim=1)
        return torch.sigmoid(self.spatial["bn"](self.spatial["conv"](seen)))


class GatedPyramid(nn.Module):
    """Image to the gated maps."""

    def __init__(self, architecture: HandOccNetArchitecture) -> None:
        super().__init__()
        width = architecture.width
        inner = [architecture.stem * 2**step for step in range(4)]
        outer = [EXPANSION * each for each in inner]
        self.layer0 = stem(architecture.stem)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            stage(inputs, each, blocks, stride)
            for inputs, each, blocks, stride in zip(
                [architecture.stem, *outer], inner, architecture.blocks, (1, 2, 2, 2), strict=False
            )
        )
        self.toplayer = nn.Conv2d(outer[3], width, 1)
        self.latlayer1, self.latlayer2, self.latlayer3 = (nn.Conv2d(outer[step], width, 1) for step in (2, 1, 0))
        self.smooth3 = nn.Conv2d(width, width, 3, padding=1)
        self.attention_module = SpatialGate()

    def forward(self, image: Float[Tensor, "batch 3 px px"]) -> GatedMaps:
        """Maps of images with values from 0 to 1, at an eighth of their resolution."""
        quarter = self.layer1(self.layer0(image))
        eighth = self.layer2(quarter)
        sixteenth = self.layer3(eighth)
        features = self.toplayer(self.layer4(sixteenth))
        for lateral, finer in (
            (self.latlayer1, sixteenth),
            (self.latlayer2, eighth),
            (self.latlayer3, quarter),
        ):
            features = _enlarged(features, finer) + lateral(finer)
        features = functional.avg_pool2d(self.smooth3(features), 2)
        share = self.attention_module(features)
        return GatedMaps(share * features, (1 - share) * features)


def _enlarged(
    features: Float[Tensor, "batch width rows cols"], like: Float[Tensor, "batch other rows2 cols2"]
) -> Float[Tensor, "batch width rows2 cols2"]:
    return functional.interpolate(features, size=like.shape[-2:], mode="bilinear", align_corners=False)
