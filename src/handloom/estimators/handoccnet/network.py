"""HandOccNet (Park et al., "HandOccNet: Occlusion-Robust 3D Hand Mesh Estimation Network", CVPR 2022).

A ResNet with a feature pyramid sees (He et al., CVPR 2016, with leaky ReLUs); a gate tells the hand's cells from the
others; the transformer FIT fills in hidden cells from those where the hand is seen, and SET refines the map. An
hourglass finds the joints in it (Newell et al., ECCV 2016); an encoder and a small perceptron read MANO's pose and
shape. Parameter names and shapes are those of the published checkpoint (common/nets of github.com/namepllet/HandOccNet:
backbone.py, cbam.py, transformer.py, hand_head.py, mano_head.py), without what it holds of MANO: the hand model is the
user's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from handloom.estimators.bottleneck import EXPANSION, Bottleneck
from handloom.hand.joints import JOINT_COUNT, MANO_JOINT_COUNT

_GATE_CELLS = 7
"""Cells on a side that the gate looks at."""
_HOURGLASS_NORMS, _ENCODER_NORMS = ("bn1", "bn2", "bn3"), ("bn", "bn1", "bn2")
"""How the published checkpoint names a residual block's batch norms, in their order, in its two uses."""
_BLOCKS_PER_POOLING = 2
_SIX = 6
"""Numbers of a rotation: its first two columns, not yet orthonormal."""


@dataclass(frozen=True)
class HandOccNetArchitecture:
    """Sizes of the network; the defaults are the published one (39 million parameters, without MANO)."""

    stem: int = 64
    """Channels of ResNet's stem; its four stages have 4, 8, 16 and 32 times as many."""
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    """Bottlenecks of ResNet's stages."""
    width: int = 256
    """Channels of every map behind the pyramid."""
    cells: int = 32
    """Rows and columns of those maps; images have eight times as many pixels."""
    layers: int = 2
    """Blocks of each of the two transformers."""
    heads: int = 4
    widening: int = 4
    """Inner over outer width of a transformer block's perceptron."""
    depth: int = 4
    """Halvings of the hourglass."""
    poolings: int = 4
    """Halvings of the encoder behind it."""
    hidden: tuple[int, int] = (1024, 512)
    """Widths of the layers that the pose and the shape are read from."""
    shape: int = 10
    """Coefficients of the hand's shape."""

    @property
    def code(self) -> int:
        """Length of what the encoder leaves of the maps."""
        return self.width * (self.cells >> self.poolings) ** 2


def bottlenecks(inputs: int, inner: int, blocks: int, stride: int) -> nn.Sequential:
    """Bottlenecks in a row, of which the first strides; wrapped once more, as the published names are."""
    row = [Bottleneck(inputs, inner, stride=stride, activation=functional.leaky_relu)]
    row += [Bottleneck(EXPANSION * inner, inner, activation=functional.leaky_relu) for _ in range(blocks - 1)]
    return nn.Sequential(nn.Sequential(*row))


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
        # From the image to a quarter of its resolution.
        first = nn.Conv2d(3, architecture.stem, 7, stride=2, padding=3, bias=False)
        norm, pool = nn.BatchNorm2d(architecture.stem), nn.MaxPool2d(3, stride=2, padding=1)
        self.layer0 = nn.Sequential(first, norm, nn.LeakyReLU(), pool)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            bottlenecks(inputs, each, blocks, stride)
            for inputs, each, blocks, stride in zip(
                [architecture.stem, *outer[:-1]], inner, architecture.blocks, (1, 2, 2, 2), strict=True
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
        for lateral, finer in ((self.latlayer1, sixteenth), (self.latlayer2, eighth), (self.latlayer3, quarter)):
            larger = functional.interpolate(features, size=finer.shape[-2:], mode="bilinear", align_corners=False)
            features = larger + lateral(finer)
        features = functional.avg_pool2d(self.smooth3(features), 2)
        share = self.attention_module(features)
        return GatedMaps(share * features, (1 - share) * features)


class CellAttention(nn.Module):
    """Attention of each cell of one map to the cells of another, and a perceptron added to what it finds.

    With queries q + e_q, keys k + e_k (learned embeddings e of every cell) and values k,

        r_i = g_i sum_j softmax_j(Q_i K_j / sqrt(d)) V_j,   y = r + MLP(LN(r)),

    where an injecting block has the gate g_i = sigmoid(sum_j Q'_i K'_j / sqrt(d)), of each head its own, and any other
    has g = 1 and adds q to r.
    """

    def __init__(self, architecture: HandOccNetArchitecture, *, injecting: bool) -> None:
        super().__init__()
        width, cells = architecture.width, architecture.cells
        self.heads, self.injecting = architecture.heads, injecting
        self.q_embedding = nn.Parameter(torch.zeros(1, width, cells, cells))
        self.k_embedding = nn.Parameter(torch.zeros(1, width, cells, cells))
        self.encode_value, self.encode_query, self.encode_key = (nn.Conv2d(width, width, 1) for _ in range(3))
        if injecting:
            self.encode_query2, self.encode_key2 = (nn.Conv2d(width, width, 1) for _ in range(2))
        self.norm2 = nn.LayerNorm(width)
        inner = architecture.widening * width
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, inner), "fc2": nn.Linear(inner, width)})

    def forward(
        self, query: Float[Tensor, "batch width cells cells"], key: Float[Tensor, "batch width cells cells"]
    ) -> Float[Tensor, "batch width cells cells"]:
        placed_query, placed_key = query + self.q_embedding, key + self.k_embedding
        queries, keys = self._tokens(self.encode_query(placed_query)), self._tokens(self.encode_key(placed_key))
        seen = functional.scaled_dot_product_attention(queries, keys, self._tokens(self.encode_value(key)))
        if self.injecting:
            seen = seen * self._gate(placed_query, placed_key)
        found = seen.transpose(-1, -2).flatten(1, 2).mT
        if not self.injecting:
            found = found + query.flatten(2).mT
        found = found + self.mlp["fc2"](functional.gelu(self.mlp["fc1"](self.norm2(found))))
        return found.mT.unflatten(-1, query.shape[-2:])

    def _gate(
        self, query: Float[Tensor, "batch width cells cells"], key: Float[Tensor, "batch width cells cells"]
    ) -> Float[Tensor, "batch heads token 1"]:
        queries, keys = self._tokens(self.encode_query2(query)), self._tokens(self.encode_key2(key))
        total = queries @ keys.sum(-2, keepdim=True).mT  # the sum over keys, without a matrix of all pairs
        return torch.sigmoid(total / queries.shape[-1] ** 0.5)

    def _tokens(self, features: Float[Tensor, "batch width cells cells"]) -> Float[Tensor, "batch heads token each"]:
        return features.flatten(2).unflatten(1, (self.heads, -1)).transpose(-1, -2)


class CellTransformer(nn.Module):
    """Blocks in a row that all attend to the same map; an injecting one is merged with that map at its end."""

    def __init__(self, architecture: HandOccNetArchitecture, *, injecting: bool) -> None:
        super().__init__()
        width = architecture.width
        self.injecting = injecting
        self.layers = nn.ModuleList(
            CellAttention(architecture, injecting=injecting) for _ in range(architecture.layers)
        )
        if injecting:
            self.conv1 = nn.Sequential(
                nn.Conv2d(2 * width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
            )
            self.conv2 = nn.Sequential(nn.Conv2d(2 * width, width, 1))

    def forward(
        self, query: Float[Tensor, "batch width cells cells"], key: Float[Tensor, "batch width cells cells"]
    ) -> Float[Tensor, "batch width cells cells"]:
        for layer in self.layers:
            query = layer(query, key)
        if not self.injecting:
            return query
        both = torch.cat([key, query], dim=1)
        return self.conv1(both) + self.conv2(both)


class PreActivatedBottleneck(nn.Module):
    """x + conv 1x1, 3x3, 1x1 of x, a batch norm and a leaky ReLU before each; half as wide inside."""

    def __init__(self, width: int, norms: Sequence[str]) -> None:
        super().__init__()
        inner = width // 2
        self.norms = tuple(norms)
        for name, channels in zip(self.norms, (width, inner, inner), strict=True):
            self.add_module(name, nn.BatchNorm2d(channels))
        self.conv1 = nn.Conv2d(width, inner, 1)
        self.conv2 = nn.Conv2d(inner, inner, 3, padding=1)
        self.conv3 = nn.Conv2d(inner, width, 1)

    def forward(self, features: Float[Tensor, "batch width rows cols"]) -> Float[Tensor, "batch width rows cols"]:
        inner = features
        for norm, convolution in zip(self.norms, (self.conv1, self.conv2, self.conv3), strict=True):
            inner = convolution(functional.leaky_relu(self.get_submodule(norm)(inner)))
        return features + inner


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
            nn.ModuleList(
                nn.Sequential(PreActivatedBottleneck(width, _HOURGLASS_NORMS)) for _ in range(4 if level == 0 else 3)
            )
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
        width = architecture.width
        self.hg = nn.ModuleList([Hourglass(width, architecture.depth)])
        self.res = nn.ModuleList([nn.Sequential(PreActivatedBottleneck(width, _HOURGLASS_NORMS))])
        block = nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.LeakyReLU())
        self.fc = nn.ModuleList([nn.ModuleDict({"block": block})])
        self.score = nn.ModuleList([nn.Conv2d(width, JOINT_COUNT, 1)])
        self.betas = nn.Parameter(torch.ones(JOINT_COUNT, 1))

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


class PoseEncoder(nn.Module):
    """Joint maps to one vector: residual blocks, two at each resolution, each pair followed by a max pooling."""

    def __init__(self, architecture: HandOccNetArchitecture) -> None:
        super().__init__()
        width, blocks = architecture.width, _BLOCKS_PER_POOLING * architecture.poolings
        self.heatmap_conv = nn.Conv2d(JOINT_COUNT, width, 1)
        self.encoding_conv = nn.Conv2d(width, width, 1)
        self.reg = nn.ModuleList(PreActivatedBottleneck(width, _ENCODER_NORMS) for _ in range(blocks))

    def forward(self, maps: JointMaps) -> Float[Tensor, "batch code"]:
        features = self.heatmap_conv(maps.heat) + self.encoding_conv(maps.features)
        for index, block in enumerate(self.reg, start=1):
            features = block(features)
            if index % _BLOCKS_PER_POOLING == 0:
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

    def forward(
        self, code: Float[Tensor, "batch code"]
    ) -> tuple[Float[Tensor, "batch 16 3 3"], Float[Tensor, "batch shape"]]:
        inner = self.mano_base_layer(code)
        return rotations_of(self.pose_reg(inner).unflatten(-1, (MANO_JOINT_COUNT, _SIX))), self.shape_reg(inner)


def rotations_of(six: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotations from two vectors, one after the other: columns are these made orthonormal, and their cross product."""
    first, second = six.unflatten(-1, (2, 3)).unbind(-2)
    first = functional.normalize(first, dim=-1)
    second = functional.normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)


class HandOccNetOutput(NamedTuple):
    """What the network gives for right hands in square images, along the image's axes (x right, y down, z forward)."""

    keypoints: Float[Tensor, "batch 21 2"]
    """SNAP, as shares (x, y) of the image's side; not the projection of the mesh."""
    rotations: Float[Tensor, "batch 16 3 3"]
    """Each joint's relative to its parent, MANO's order; those of the fingers come on top of MANO's mean pose."""
    shape: Float[Tensor, "batch shape"]


class HandOccNet(nn.Module):
    """Maps of what is hand and of what is not, hidden cells filled in from the former, and the hand read from them."""

    def __init__(self, architecture: HandOccNetArchitecture) -> None:
        super().__init__()
        self.backbone = GatedPyramid(architecture)
        self.FIT = CellTransformer(architecture, injecting=True)
        self.SET = CellTransformer(architecture, injecting=False)
        self.regressor = nn.ModuleDict(
            {
                "hand_regHead": JointMapHead(architecture),
                "hand_Encoder": PoseEncoder(architecture),
                "mano_regHead": ManoHead(architecture),
            }
        )

    def forward(self, image: Float[Tensor, "batch 3 px px"]) -> HandOccNetOutput:
        """Hands in RGB images with values from 0 to 1; no mean and no deviation is taken out."""
        maps = self.backbone(image)
        filled = self.FIT(maps.secondary, maps.primary)
        return self.regressed(self.SET(filled, filled))

    def regressed(self, features: Float[Tensor, "batch width cells cells"]) -> HandOccNetOutput:
        """Hands of the images with these features: everything behind the transformers."""
        maps = self.regressor["hand_regHead"](features)
        rotations, shape = self.regressor["mano_regHead"](self.regressor["hand_Encoder"](maps))
        return HandOccNetOutput(maps.keypoints, rotations, shape)
