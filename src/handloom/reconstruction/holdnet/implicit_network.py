"""The networks from points to signed distance and feature, of hand, object and background (facts 2.1)."""

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from handloom.reconstruction.holdnet.embedding import BarfEncoding, FourierEncoding
from handloom.reconstruction.holdnet.layers import Linear, linear_layer, set_weight
from handloom.runtime.config.holdnet import SdfNetSettings

_SOFTPLUS_BETA = 100.0


class FieldSample(NamedTuple):
    """A field at points."""

    sdf: Float[Tensor, "*batch"]
    """Signed distance, in the points' unit, negative inside; the background's has no such meaning."""
    feature: Float[Tensor, "*batch feature"]
    """For the colour network."""


class FieldGradientSample(NamedTuple):
    """A field at points, and the gradient of its signed distance."""

    sdf: Float[Tensor, "*batch"]
    feature: Float[Tensor, "*batch feature"]
    gradient: Float[Tensor, "*batch dim"]


class ImplicitNetwork(nn.Module):
    """Encoded points through softplus layers with a skip to signed distance and feature (facts 2.1).

    h_0 = [PE(x), condition]; h_(l+1) = softplus(W_l h_l + b_l), beta 100; at the skip layer h = [h, PE(x)] / sqrt 2;
    the last layer is linear. Layers are `lin0`, `lin1`, ... as in HOLD's checkpoints. A call without condition leaves
    out the `condition_width` columns of the first layer: that is the published hand, whose pose is multiplied by zero.
    """

    def __init__(
        self,
        settings: SdfNetSettings,
        encoding: FourierEncoding | BarfEncoding,
        *,
        condition_width: int = 0,
        weight_norm: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.condition_width = condition_width
        # A BARF encoding has a counter in the checkpoint, under this name; the other has no state.
        self.embedder_obj = encoding
        inputs = encoding.width
        widths = [inputs + condition_width] + [settings.width] * settings.hidden_layers + [1 + settings.features]
        for number, (before, after) in enumerate(pairwise(widths)):
            outputs = after - inputs if number + 1 == settings.skip_layer else after
            if outputs < 1:
                raise ValueError(f"width {after} leaves nothing beside the {inputs} encoded coordinates at the skip")
            layer = linear_layer(before, outputs, weight_norm=weight_norm, generator=generator)
            self.add_module(f"lin{number}", layer)
        self._layer_count = len(widths) - 1

    @property
    def layers(self) -> list[Linear]:
        """The layers in order."""
        return [getattr(self, f"lin{number}") for number in range(self._layer_count)]

    def forward(
        self, points: Float[Tensor, "*batch dim"], condition: Float[Tensor, "*#batch condition"] | None = None
    ) -> FieldSample:
        """Signed distance and feature."""
        output = self._output(points, condition, self._effective_weights())
        return FieldSample(output[..., 0], output[..., 1:])

    def distance(self, points: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """Signed distance alone; the last layer computes one row."""
        weights = self._effective_weights()
        weight, bias = weights[-1]
        return self._output(points, None, [*weights[:-1], (weight[:1], bias[:1])])[..., 0]

    def with_gradient(self, points: Float[Tensor, "*batch dim"], *, differentiable: bool) -> FieldGradientSample:
        """Signed distance, feature and d sdf / d point from one evaluation.

        `differentiable`: all of it can be differentiated again, as the colour's gradient needs in training.
        """
        with torch.enable_grad():
            if not points.requires_grad:
                points = points.detach().requires_grad_()
            sdf, feature = self(points)
            (gradient,) = torch.autograd.grad(sdf.sum(), points, create_graph=differentiable, retain_graph=None)
        if not differentiable:
            sdf, feature = sdf.detach(), feature.detach()
        return FieldGradientSample(sdf, feature, gradient)

    def _effective_weights(self) -> list[tuple[Tensor, Tensor]]:
        return [(layer.weight, layer.bias) for layer in self.layers]

    def _output(self, points: Tensor, condition: Tensor | None, weights: list[tuple[Tensor, Tensor]]) -> Tensor:
        encoded = self.embedder_obj(points)
        hidden = encoded
        for number, (weight, bias) in enumerate(weights):
            if number == 0:
                # The condition's columns apart, since one condition serves all points of a ray or an image.
                columns = weight[:, : encoded.shape[-1]], weight[:, encoded.shape[-1] :]
                bias = bias if condition is None else functional.linear(condition, columns[1], bias)
                hidden = functional.linear(hidden, columns[0]) + bias
            else:
                if number == self.settings.skip_layer:
                    hidden = torch.cat([hidden, encoded], dim=-1) / math.sqrt(2)
                hidden = functional.linear(hidden, weight, bias)
            if number < len(weights) - 1:
                hidden = functional.softplus(hidden, beta=_SOFTPLUS_BETA)
        return hidden


@torch.no_grad()
def start_as_sphere(network: ImplicitNetwork, generator: torch.Generator | None = None) -> None:
    """Weights with which the network resembles the distance to a sphere (Atzmon and Lipman, SAL, 2020; facts 2.1).

    Hidden weights N(0, 2 / outputs), biases 0; the first layer keeps the columns of the coordinates only, the skip
    layer loses those of the waves; the last layer is N(sqrt(pi / inputs), 1e-4^2) with bias -radius in all rows.
    """
    settings = network.settings
    last = len(network.layers) - 1
    for number, layer in enumerate(network.layers):
        outputs, inputs = layer.weight.shape
        noise = torch.empty(outputs, inputs).normal_(generator=generator)
        if number == last:
            weight = math.sqrt(math.pi / inputs) + 1e-4 * noise
            layer.bias.fill_(-settings.initial_radius)
        else:
            weight = noise * math.sqrt(2 / outputs)
            layer.bias.zero_()
        if number == 0:
            weight[:, 3:] = 0
        elif number == settings.skip_layer:
            weight[:, inputs - (network.embedder_obj.width - 3) :] = 0
        set_weight(layer, weight)
