"""From joint maps to the pose and shape of a MANO hand: an encoder and a small perceptron.

Parameter names and shapes are those of HandOccNet's published checkpoint. Source: facts/comparisons.md 2.2.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from handloom.estimators.handoccnet.architecture import HandOccNetArchitecture
from handloom.estimators.handoccnet.joint_maps import JointMaps
from handloom.estimators.handoccnet.residual import PreActivatedBottleneck
from handloom.hand.joints import MANO_JOINT_COUNT

_NORMS = ("bn", "bn1", "bn2")
_PER_STAGE = 2
_SIX = 6


class ManoCoefficients(NamedTuple):
    """A right hand's pose and shape."""

    rotations: Float[Tensor, "batch 16 3 3"]
    """Each joint's relative to its parent, MANO's order; those of the fingers come on top of MANO's mean pose."""
    shape: Float[Tensor, "batch shape"]


class PoseEncoder(nn.Module):
    """Joint maps to one vector: residual blocks, two at each resolution, each pair followed by a max pooling."""

    def __init__(self, architecture: HandOccNetArchitecture) -> None:
        super().__init__()
        width, blocks = architecture.width, _PER_STAGE * architecture.poolings
        self.heatmap_conv = nn.Conv2d(architecture.joints, width, 1)
        self.encoding_conv = nn.Conv2d(width, width, 1)
        self.reg = nn.ModuleList(PreActivatedBottleneck(width, _NORMS) for _ in range(blocks))

    def forward(self, maps: JointMaps) -> Float[Tensor, "batch code"]:
        features = self.heatmap_conv(maps.heat) + self.encoding_conv(maps.features)
        for index, block in enumerate(self.reg, start=1):
            features = block(features)
            if index % _PER_STAGE == 0:
                features = functional.max_pool2d(features, 2)
        return features.flatten(1)


class ManoHead(nn.Module):
    """The vector to rotations, each from six numbers (Zhou et al., CVPR 2019), and shape coefficients."""

    def __init__(self, architecture: HandOccNetArchitecture) -> None:
        super().__init__()
        first, second = architecture.hidden
        self.mano_base_layer = nn.Sequential(
            nn.Linear(architecture.code, first), nn.LeakyReLU(), nn.Linear(first, second), nn.LeakyReLU()
        )
        self.pose_reg = nn.Linear(second, _SIX * MANO_JOINT_COUNT)
        self.shape_reg = nn.Linear(second, architecture.shape)

    def forward(self, code: Float[Tensor, "batch code"]) -> ManoCoefficients:
        inner = self.mano_base_layer(code)
        return ManoCoefficients(
            rotations_of(self.pose_reg(inner).unflatten(-1, (MANO_JOINT_COUNT, _SIX))), self.shape_reg(inner)
        )


def rotations_of(six: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotations from two vectors, one after the other: columns are these made orthonormal, and their cross product."""
    first, second = six.unflatten(-1, (2, 3)).unbind(-2)
    first = functional.normalize(first, dim=-1)
    second = functional.normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)
