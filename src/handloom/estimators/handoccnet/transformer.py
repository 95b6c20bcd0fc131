"""HandOccNet's two transformers over the cells of a map: FIT fills in hidden cells, SET refines (Park et al. 2022).

Parameter names and shapes are those of the published checkpoint. Source: facts/comparisons.md 2.2.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from handloom.estimators.handoccnet.architecture import HandOccNetArchitecture


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
