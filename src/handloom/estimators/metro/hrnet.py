"""HRNet for classification (Wang et al., TPAMI 2020): branches of four resolutions that exchange what they see.

Parameter names and shapes are those of METRO's published checkpoint (metro/modeling/hrnet/hrnet_cls_net.py of
github.com/microsoft/MeshTransformer). The classifier behind the pooled feature is not built: METRO does not use it.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from handloom.estimators.bottleneck import EXPANSION, Bottleneck

BRANCHES = 4
_EARLY_BLOCKS = 4
"""Bottlenecks before the branches part."""


@dataclass(frozen=True)
class HRNetArchitecture:
    """Sizes of the network; the defaults are HRNet-W64's (128 million parameters)."""

    width: int = 64
    """Channels of the finest branch; each coarser one has twice as many."""
    stem: int = 64
    blocks: int = 4
    """Residual blocks of every branch."""
    modules: tuple[int, int, int] = (1, 4, 3)
    """Modules of the stages 2, 3 and 4, each of which ends in a fusion of all branches."""
    head: int = 32
    """Inner channels of the finest branch's bottleneck before pooling."""
    feature: int = 2048
    """Length of the image's feature vector."""


def convolution(
    inputs: int, outputs: int, size: int, stride: int = 1, *, relu: bool, bias: bool = False
) -> list[nn.Module]:
    """A convolution that keeps the map's size (at stride 1), its batch norm and, if asked for, a ReLU."""
    layers = [nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=bias), nn.BatchNorm2d(outputs)]
    return [*layers, nn.ReLU()] if relu else layers


class BasicBlock(nn.Module):
    """Two 3x3 convolutions added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = convolution(channels, channels, 3, relu=False)
        self.conv2, self.bn2 = convolution(channels, channels, 3, relu=False)

    def forward(self, features: Float[Tensor, "batch c rows cols"]) -> Float[Tensor, "batch c rows cols"]:
        inner = functional.relu(self.bn1(self.conv1(features)))
        return functional.relu(self.bn2(self.conv2(inner)) + features)


class FusionModule(nn.Module):
    """Residual blocks on every branch; then each branch becomes the sum of all, brought to its own resolution."""

    def __init__(self, widths: list[int], blocks: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(BasicBlock(width) for _ in range(blocks))) for width in widths)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_exchange(widths, source, target) for source in range(len(widths)))
            for target in range(len(widths))
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Maps of the branches, finest first."""
        seen = [branch(each) for branch, each in zip(self.branches, features, strict=True)]
        fused = []
        for paths in self.fuse_layers:
            assert isinstance(paths, nn.ModuleList)
            parts = [path(each) for path, each in zip(paths, seen, strict=True)]
            fused.append(functional.relu(torch.stack(parts).sum(0)))
        return fused


def _exchange(widths: list[int], source: int, target: int) -> nn.Module:
    """From a branch to another: strided convolutions down, or a 1x1 convolution and nearest neighbours up."""
    if source == target:
        return nn.Identity()
    if source > target:
        up = nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
        return nn.Sequential(*convolution(widths[source], widths[target], 1, relu=False), up)
    steps = target - source
    return nn.Sequential(
        *(
            nn.Sequential(*convolution(widths[source], widths[source], 3, stride=2, relu=True))
            for _ in range(steps - 1)
        ),
        nn.Sequential(*convolution(widths[source], widths[target], 3, stride=2, relu=False)),
    )


class HRNet(nn.Module):
    """Image to one feature vector."""

    def __init__(self, architecture: HRNetArchitecture) -> None:
        super().__init__()
        stem, width, blocks = architecture.stem, architecture.width, architecture.blocks
        widths = [width * 2**branch for branch in range(BRANCHES)]
        self.conv1, self.bn1 = convolution(3, stem, 3, stride=2, relu=False)
        self.conv2, self.bn2 = convolution(stem, stem, 3, stride=2, relu=False)
        early = EXPANSION * stem
        self.layer1 = nn.Sequential(
            Bottleneck(stem, stem), *(Bottleneck(early, stem) for _ in range(_EARLY_BLOCKS - 1))
        )
        self.transition1 = nn.ModuleList(
            [nn.Sequential(*convolution(early, widths[0], 3, relu=True)), _new_branch(early, widths[1])]
        )
        # Branches that a transition leaves as they are hold the places in the published names.
        self.transition2, self.transition3 = (
            nn.ModuleList([*(nn.Identity() for _ in range(kept)), _new_branch(widths[kept - 1], widths[kept])])
            for kept in (2, 3)
        )
        self.stage2, self.stage3, self.stage4 = (
            nn.Sequential(*(FusionModule(widths[:stage], blocks) for _ in range(modules)))
            for stage, modules in enumerate(architecture.modules, start=2)
        )
        inner = [architecture.head * 2**branch for branch in range(BRANCHES)]
        self.incre_modules = nn.ModuleList(
            nn.Sequential(Bottleneck(inputs, each)) for inputs, each in zip(widths, inner, strict=True)
        )
        outer = [EXPANSION * each for each in inner]
        self.downsamp_modules = nn.ModuleList(
            nn.Sequential(*convolution(finer, coarser, 3, stride=2, relu=True, bias=True))
            for finer, coarser in pairwise(outer)
        )
        self.final_layer = nn.Sequential(*convolution(outer[-1], architecture.feature, 1, relu=True, bias=True))

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch feature"]:
        """Feature vectors of normalised images, the mean over the coarsest map."""
        features = functional.relu(self.bn1(self.conv1(image)))
        features = self.layer1(functional.relu(self.bn2(self.conv2(features))))
        branches = [path(features) for path in self.transition1]
        branches = self.stage2(branches)
        branches = self.stage3([*branches, self.transition2[-1](branches[-1])])
        branches = self.stage4([*branches, self.transition3[-1](branches[-1])])
        head = self.incre_modules[0](branches[0])
        for step, down in enumerate(self.downsamp_modules, start=1):
            head = self.incre_modules[step](branches[step]) + down(head)
        return self.final_layer(head).mean((-2, -1))


def _new_branch(inputs: int, outputs: int) -> nn.Sequential:
    """A branch of half the resolution; the nesting gives the published names."""
    return nn.Sequential(nn.Sequential(*convolution(inputs, outputs, 3, stride=2, relu=True)))
