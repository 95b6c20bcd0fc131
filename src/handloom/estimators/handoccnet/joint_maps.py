"""The hourglass that finds the joints in the image, as heat maps (Newell et al., ECCV 2016).

Parameter names and shapes are those of HandOccNet's published checkpoint. Source: facts/comparisons.md 2.2.
"""

from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from handloom.estimators.handoccnet.architecture import HandOccNetArchitecture
from handloom.estimators.handoccnet.residual import PreActivatedBottleneck

_NORMS = ("bn1", "bn2", "bn3")


class JointMaps(NamedTuple):
    """Where joints are, and what was seen of them."""

    keypoints: Float[Tensor, "batch joint 2"]
    """Shares (x, y) of the image's side."""
    heat: Float[Tensor, "batch joint cells cells"]
    """Of each joint; its sum is one."""
    features: Float[Tensor, "batch width cells cells"]


class Hourglass(nn.Module):
    """Residual blocks at ever coarser resolutions, whose results are added on the way back."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        # Coarsest first; at every resolution one block beside the way down, one on it and one on the way back up, and
        # at the coarsest one more between the last two.
        self.hg = nn.ModuleList(
            nn.ModuleList(nn.Sequential(PreActivatedBottleneck(width, _NORMS)) for _ in range(4 if level == 0 else 3))
            for level in range(depth)
        )

    def forward(self, features: Float[Tensor, "batch width cells cells"]) -> Float[Tensor, "batch width cells cells"]:
        levels = [cast(nn.ModuleList, level) for level in self.hg]
        beside = []
        for level in reversed(levels):
            beside.append(level[0](features))
            features = level[1](functional.max_pool2d(features, 2))
        features = levels[0][3](features)
        for level in levels:
            features = functional.interpolate(level[2](features), scale_factor=2) + beside.pop()
        return features


class JointMapHead(nn.Module):
    """Map of features to the joints' heat maps and their centres."""

    def __init__(self, architecture: HandOccNetArchitecture) -> None:
        super().__init__()
        width, joints = architecture.width, architecture.joints
        self.hg = nn.ModuleList([Hourglass(width, architecture.depth)])
        self.res = nn.ModuleList([nn.Sequential(PreActivatedBottleneck(width, _NORMS))])
        block = nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.LeakyReLU())
        self.fc = nn.ModuleList([nn.ModuleDict({"block": block})])
        self.score = nn.ModuleList([nn.Conv2d(width, joints, 1)])
        self.betas = nn.Parameter(torch.ones(joints, 1))

    def forward(self, features: Float[Tensor, "batch width cells cells"]) -> JointMaps:
        """Heat is softmax(beta_j score_j) over the map, and key points are the means of the cells' centres under it."""
        block = cast(nn.ModuleDict, self.fc[0])["block"]
        features = block(self.res[0](self.hg[0](features)))
        scores = self.score[0](features)
        heat = torch.softmax(self.betas * scores.flatten(2), dim=-1).unflatten(-1, scores.shape[-2:])
        cells = heat.shape[-1]
        centres = (torch.arange(cells, device=heat.device) + 0.5) / cells
        keypoints = torch.stack([heat.sum(-2) @ centres, heat.sum(-1) @ centres], dim=-1)
        return JointMaps(keypoints, heat, features)
