"""METRO's transformer blocks: BERT's post-norm layers between a linear map in and one out (Lin et al., CVPR 2021).

Parameter names and shapes are those of the published checkpoint. Its word embeddings, second position table and pooler
are not built: nothing reads them. Source: facts/comparisons.md 2.1.
"""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from handloom.estimators.metro.architecture import MetroArchitecture

_NORM_EPS = 1e-12
_WIDENING = 4


def _dense_and_norm(inputs: int, outputs: int) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(inputs, outputs), "LayerNorm": nn.LayerNorm(outputs, eps=_NORM_EPS)})


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
