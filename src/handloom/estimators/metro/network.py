"""METRO (Lin et al., "End-to-End Human Pose and Mesh Reconstruction with Transformers", CVPR 2021), its hand network.

Parameter names and shapes are those of the published checkpoint (metro/modeling/bert/modeling_metro.py of
github.com/microsoft/MeshTransformer). Its word embeddings, second position table and pooler are not built: nothing
reads them.
"""

from dataclasses import dataclass, field
from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from handloom.estimators.metro.hrnet import HRNet, HRNetArchitecture
from handloom.hand.joints import JOINT_COUNT
from handloom.hand.mano_files import MANO_VERTEX_COUNT

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
_DIMENSIONS = 3
_NORM_EPS = 1e-12
"""BERT's."""
_WIDENING = 4
"""Inner over outer width of BERT's perceptron."""
_CAMERA_HIDDEN = 150
"""Inner width of what reads the camera from all tokens."""


@dataclass(frozen=True)
class MetroArchitecture:
    """Sizes of the network; the defaults are the published one (184.5 million parameters in use)."""

    hrnet: HRNetArchitecture = field(default_factory=HRNetArchitecture)
    hidden: tuple[int, ...] = (1024, 256, 64)
    """Widths of the transformer blocks."""
    outputs: tuple[int, ...] = (512, 128, _DIMENSIONS)
    """What each transformer block hands on; the last gives points."""
    layers: int = 4
    heads: int = 4
    positions: int = 512
    """Rows of the position tables, as BERT has them; there are more than tokens."""


class BertLayer(nn.Module):
    """Self-attention over all tokens and a two-layer perceptron, each added to its input and then normalised."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        projections = {name: nn.Linear(hidden, hidden) for name in ("query", "key", "value")}
        self.attention = nn.ModuleDict({"self": nn.ModuleDict(projections), "output": _dense_and_norm(hidden, hidden)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(hidden, _WIDENING * hidden)})
        self.output = _dense_and_norm(_WIDENING * hidden, hidden)

    def forward(self, tokens: Float[Tensor, "batch tokens hidden"]) -> Float[Tensor, "batch tokens hidden"]:
        projections = cast(nn.ModuleDict, self.attention["self"])
        query, key, value = (
            projections[name](tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        seen = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = _added(cast(nn.ModuleDict, self.attention["output"]), seen, tokens)
        return _added(self.output, functional.gelu(self.intermediate["dense"](tokens)), tokens)


def _dense_and_norm(inputs: int, outputs: int) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(inputs, outputs), "LayerNorm": nn.LayerNorm(outputs, eps=_NORM_EPS)})


def _added(
    layers: nn.ModuleDict, change: Float[Tensor, "batch tokens inner"], tokens: Float[Tensor, "batch tokens hidden"]
) -> Float[Tensor, "batch tokens hidden"]:
    return layers["LayerNorm"](layers["dense"](change) + tokens)


class TransformerBlock(nn.Module):
    """`cls_head(BERT(img_embedding(x) + position)) + residual(x)`: one of METRO's three narrowing encoders."""

    def __init__(self, inputs: int, hidden: int, outputs: int, architecture: MetroArchitecture) -> None:
        super().__init__()
        layers = nn.ModuleList(BertLayer(hidden, architecture.heads) for _ in range(architecture.layers))
        self.bert = nn.ModuleDict(
            {
                "encoder": nn.ModuleDict({"layer": layers}),
                "position_embeddings": nn.Embedding(architecture.positions, hidden),
                "img_embedding": nn.Linear(inputs, hidden),
            }
        )
        self.cls_head = nn.Linear(hidden, outputs)
        self.residual = nn.Linear(inputs, outputs)

    def forward(self, tokens: Float[Tensor, "batch tokens inputs"]) -> Float[Tensor, "batch tokens outputs"]:
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        hidden = self.bert["img_embedding"](tokens) + self.bert["position_embeddings"](positions)
        for layer in cast(nn.ModuleList, cast(nn.ModuleDict, self.bert["encoder"])["layer"]):
            hidden = layer(hidden)
        return self.cls_head(hidden) + self.residual(tokens)


class MetroOutput(NamedTuple):
    """What the network gives for right hands in square images, along the image's axes (x right, y down, z forward)."""

    camera: Float[Tensor, "batch 3"]
    """Scale s and shift (tx, ty): a point X lies at s (X_xy + t) in [-1, 1] of the image."""
    joints_m: Float[Tensor, "batch 21 3"]
    """The joint tokens; METRO's own demo takes joints from the mesh instead."""
    coarse_m: Float[Tensor, "batch coarse 3"]
    vertices_m: Float[Tensor, "batch vertex 3"]
    """The mesh, about but not exactly relative to its wrist."""


class Metro(nn.Module):
    """Image feature and template points as tokens through three narrowing transformers, to points and a camera.

    The template's points are the joints, and the vertices from which the mesh's are interpolated.
    """

    template_m: Tensor

    def __init__(self, architecture: MetroArchitecture, template_m: Float[Tensor, "tokens 3"]) -> None:
        super().__init__()
        self.backbone = HRNet(architecture.hrnet)
        inputs = (_DIMENSIONS + architecture.hrnet.feature, *architecture.outputs[:-1])
        widths = zip(inputs, architecture.hidden, architecture.outputs, strict=True)
        self.trans_encoder = nn.Sequential(*(TransformerBlock(*each, architecture) for each in widths))
        self.upsampling = nn.Linear(len(template_m) - JOINT_COUNT, MANO_VERTEX_COUNT)
        self.cam_param_fc = nn.Linear(_DIMENSIONS, 1)
        self.cam_param_fc2 = nn.Linear(len(template_m), _CAMERA_HIDDEN)
        self.cam_param_fc3 = nn.Linear(_CAMERA_HIDDEN, _DIMENSIONS)
        self.register_buffer("template_m", template_m, persistent=False)

    def forward(self, image: Float[Tensor, "batch 3 px px"]) -> MetroOutput:
        """Hands in RGB images with values from 0 to 1."""
        return self.decoded(self.backbone(normalised(image)))

    def decoded(self, feature: Float[Tensor, "batch feature"]) -> MetroOutput:
        """Hands of the images with these features: everything behind the backbone."""
        batch, tokens = len(feature), len(self.template_m)
        template = self.template_m.expand(batch, -1, -1)
        points = self.trans_encoder(torch.cat([template, feature[:, None].expand(-1, tokens, -1)], dim=-1))
        coarse = points[:, JOINT_COUNT:]
        vertices = self.upsampling(coarse.mT).mT
        camera = self.cam_param_fc3(self.cam_param_fc2(self.cam_param_fc(points).squeeze(-1)))
        return MetroOutput(camera, points[:, :JOINT_COUNT], coarse, vertices)


def normalised(image: Float[Tensor, "batch 3 px px"]) -> Float[Tensor, "batch 3 px px"]:
    """RGB values from 0 to 1 in ImageNet's units: (value - mean) / deviation of each channel."""
    mean, deviation = (
        torch.tensor(values, device=image.device)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_DEVIATION)
    )
    return (image - mean) / deviation
