"""A linear layer with weight normalisation, under the parameter names of HOLD's checkpoints."""

from contextlib import AbstractContextManager, nullcontext

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class WeightNormLinear(nn.Module):
    """A linear layer whose weight is W = g v / |v|, row by row (Salimans and Kingma 2016)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.weight_g = nn.Parameter(torch.ones(outputs, 1))
        self.weight_v = nn.Parameter(torch.ones(outputs, inputs))

    @property
    def weight(self) -> Float[Tensor, "outputs inputs"]:
        """The effective weight W."""
        return self.weight_g * functional.normalize(self.weight_v, dim=1)

    @torch.no_grad()
    def set_weight(self, weight: Float[Tensor, "outputs inputs"]) -> None:
        """Make `weight` the effective one: v = W, g = |W|."""
        self.weight_v.copy_(weight)
        self.weight_g.copy_(weight.norm(dim=1, keepdim=True))

    def forward(self, inputs: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """W x + b."""
        return functional.linear(inputs, self.weight, self.bias)


class PlainLinear(nn.Module):
    """W x + b; unlike PyTorch's it may be empty, and takes nothing from the global random stream."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, inputs: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """W x + b."""
        return functional.linear(inputs, self.weight, self.bias)


Linear = WeightNormLinear | PlainLinear


def linear_layer(inputs: int, outputs: int, *, weight_norm: bool, generator: torch.Generator | None) -> Linear:
    """A layer with weights and bias uniform in +-1 / sqrt(inputs), PyTorch's own start, from an explicit stream."""
    layer: Linear = WeightNormLinear(inputs, outputs) if weight_norm else PlainLinear(inputs, outputs)
    bound = inputs**-0.5 if inputs else 0.0
    weight = torch.empty(outputs, inputs).uniform_(-bound, bound, generator=generator)
    with torch.no_grad():
        layer.bias.uniform_(-bound, bound, generator=generator)
    set_weight(layer, weight)
    return layer


@torch.no_grad()
def set_weight(layer: Linear, weight: Float[Tensor, "outputs inputs"]) -> None:
    """Make `weight` the effective weight of either kind of layer."""
    if isinstance(layer, WeightNormLinear):
        layer.set_weight(weight)
    else:
        layer.weight.copy_(weight)


def half_precision(device: torch.device, wanted: bool) -> AbstractContextManager[object]:
    """A block whose layers compute in bfloat16, when wanted; parameters and derivatives stay in float32."""
    return torch.autocast(device.type, torch.bfloat16) if wanted else nullcontext()
