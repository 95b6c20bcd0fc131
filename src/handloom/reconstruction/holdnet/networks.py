"""HOLD-Net's networks: encodings of points, from there to signed distance and feature, and from these to colour.

Sizes, first weights and the parameters' names are those of HOLD's code/src/networks/{shape_net,texture_net}.py and
code/confs/general.yaml. Every start is drawn from an explicit stream.
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from handloom.runtime.config.fields import BackgroundSettings, BarfSettings, ColourNetSettings, SdfNetSettings

POSE_WIDTH = 45
"""Of the 15 finger joints' rotation vectors."""
INITIAL_RADIUS = 0.6
"""Of the sphere that a fresh shape network resembles: `bias` in general.yaml."""
POSE_CODE = 8
"""Width of the code that the pose is mapped to: `dim_cond_embed` in texture_net.py."""
VIEW_FREQUENCIES = 4
"""Octaves of the encoding of view directions: `multires_view` of the background in general.yaml."""
_SOFTPLUS_BETA = 100.0  # shape_net.py: nearly a ReLU, but twice differentiable


class FourierEncoding(nn.Module):
    """The points with their sines and cosines at 2^k, k = 0 .. frequencies - 1 (HOLD's code/src/engine/embedders.py).

    [x, sin x, cos x, sin 2x, cos 2x, ...], each over all dimensions; no factor of pi. Unit of the points: any. It has
    no state.
    """

    def __init__(self, dimensions: int, frequencies: int) -> None:
        super().__init__()
        self.dimensions, self.frequencies = dimensions, frequencies
        self.width = dimensions * (1 + 2 * frequencies)

    def forward(self, points: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch encoded"]:
        """The encoding."""
        # Powers of two scale without rounding, so this equals the reference bit for bit.
        octaves = 2.0 ** torch.arange(self.frequencies, dtype=points.dtype, device=points.device)
        angles = points[..., None, :] * octaves[:, None]
        waves = torch.stack([angles.sin(), angles.cos()], dim=-2)
        return torch.cat([points, waves.flatten(-3)], dim=-1)


class BarfEncoding(FourierEncoding):
    """Fourier encoding whose frequencies open one after the other (Lin et al., BARF, ICCV 2021, Eq. 14).

    With the step counter t, which stops at end - 1, the start s and L frequencies:

        alpha = L (t - s) / (end - 1 - s), at least 0
        w_k   = (1 - cos(pi clip(alpha - k, 0, 1))) / 2

    Both waves of frequency k are multiplied by w_k, the coordinates are not. The counter is part of a checkpoint; the
    weights follow from it, so a loaded network goes on where the saved one was.
    """

    alpha_iter: Int[Tensor, ""]

    def __init__(self, dimensions: int, frequencies: int, schedule: BarfSettings) -> None:
        super().__init__(dimensions, frequencies)
        self.schedule = schedule
        # The names are a checkpoint's; the second is kept for it only.
        self.register_buffer("alpha_iter", torch.tensor(0))
        self.register_buffer("alpha_max_iter", torch.tensor(schedule.end_step))

    def forward(self, points: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch encoded"]:
        """The encoding at the counter's state; it does not count."""
        encoded = super().forward(points)
        return encoded * self.column_weights().to(encoded.dtype)

    def advance(self) -> None:
        """Count one training step."""
        self.alpha_iter.add_(1).clamp_(max=self.schedule.end_step - 1)

    def alpha(self) -> Float[Tensor, ""]:
        """How many frequencies are open, between 0 and all."""
        start, last = self.schedule.start_step, self.schedule.end_step - 1
        return (self.frequencies * (self.alpha_iter.double() - start) / (last - start)).clamp(min=0)

    def column_weights(self) -> Float[Tensor, " encoded"]:
        """The weight of every column of the encoding, in [0, 1]."""
        each = torch.arange(self.frequencies, device=self.alpha_iter.device)
        opened = (1 - torch.cos(math.pi * (self.alpha() - each).clamp(0, 1))) / 2
        return torch.cat([opened.new_ones(self.dimensions), opened.repeat_interleave(2 * self.dimensions)])


class PlainLinear(nn.Module):
    """W x + b; unlike PyTorch's it may be empty, and takes nothing from the global random stream."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    @torch.no_grad()
    def set_weight(self, weight: Float[Tensor, "outputs inputs"]) -> None:
        """Make `weight` the effective one."""
        self.weight.copy_(weight)

    def forward(self, inputs: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """W x + b."""
        return functional.linear(inputs, self.weight, self.bias)


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


Linear = WeightNormLinear | PlainLinear


def linear_layer(inputs: int, outputs: int, *, weight_norm: bool, generator: torch.Generator | None) -> Linear:
    """A layer with weights and bias uniform in +-1 / sqrt(inputs), PyTorch's own start, from an explicit stream."""
    layer: Linear = WeightNormLinear(inputs, outputs) if weight_norm else PlainLinear(inputs, outputs)
    bound = inputs**-0.5 if inputs else 0.0
    weight = torch.empty(outputs, inputs).uniform_(-bound, bound, generator=generator)
    with torch.no_grad():
        layer.bias.uniform_(-bound, bound, generator=generator)
    layer.set_weight(weight)
    return layer


class Layered(nn.Module):
    """A network of linear layers `lin0`, `lin1`, ..., as HOLD's checkpoints name them."""

    def add_layers(
        self, sizes: Sequence[tuple[int, int]], *, weight_norm: bool, generator: torch.Generator | None
    ) -> None:
        """Layers of these inputs and outputs, in order."""
        self._layer_count = len(sizes)
        for number, (inputs, outputs) in enumerate(sizes):
            self.add_module(f"lin{number}", linear_layer(inputs, outputs, weight_norm=weight_norm, generator=generator))

    @property
    def layers(self) -> list[Linear]:
        """The layers in order."""
        return [getattr(self, f"lin{number}") for number in range(self._layer_count)]

    def colours(self, *inputs: Float[Tensor, "*#batch _"]) -> Float[Tensor, "*batch 3"]:
        """The inputs side by side through all layers with ReLU between them and a sigmoid at the end."""
        batch = torch.broadcast_shapes(*(value.shape[:-1] for value in inputs))
        hidden = torch.cat([value.expand(*batch, -1) for value in inputs], dim=-1)
        for number, layer in enumerate(self.layers):
            hidden = layer(functional.relu(hidden) if number else hidden)
        return hidden.sigmoid()


class FieldSample(NamedTuple):
    """A field at points, and the gradient of its signed distance."""

    sdf: Float[Tensor, "*batch"]
    """Signed distance, in the points' unit, negative inside; the background's has no such meaning."""
    feature: Float[Tensor, "*batch feature"]
    """For the colour network."""
    gradient: Float[Tensor, "*batch dim"]


class ImplicitNetwork(Layered):
    """Encoded points through softplus layers with a skip to signed distance and feature.

    h_0 = [PE(x), condition]; h_(l+1) = softplus(W_l h_l + b_l), beta 100; at the skip layer h = [h, PE(x)] / sqrt 2;
    the last layer is linear. A call without condition leaves out the `condition_width` columns of the first layer: that
    is the published hand, whose pose is multiplied by zero.
    """

    def __init__(
        self,
        settings: SdfNetSettings,
        encoding: FourierEncoding,
        *,
        condition_width: int = 0,
        weight_norm: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        # A BARF encoding has a counter in the checkpoint, under this name; the other has no state.
        self.embedder_obj = encoding
        inputs = encoding.width
        widths = [inputs + condition_width] + [settings.width] * settings.hidden_layers + [1 + settings.features]
        sizes = [
            (before, after - inputs if number + 1 == settings.skip_layer else after)
            for number, (before, after) in enumerate(pairwise(widths))
        ]
        if any(outputs < 1 for _, outputs in sizes):
            raise ValueError(
                f"width {settings.width} leaves nothing beside the {inputs} encoded coordinates at the skip"
            )
        self.add_layers(sizes, weight_norm=weight_norm, generator=generator)

    def forward(
        self, points: Float[Tensor, "*batch dim"], condition: Float[Tensor, "*#batch condition"] | None = None
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch feature"]]:
        """Signed distance and feature."""
        output = self._output(points, condition, self._effective_weights())
        return output[..., 0], output[..., 1:]

    def distance(self, points: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """Signed distance alone; the last layer computes one row."""
        weights = self._effective_weights()
        weight, bias = weights[-1]
        return self._output(points, None, [*weights[:-1], (weight[:1], bias[:1])])[..., 0]

    def with_gradient(self, points: Float[Tensor, "*batch dim"], *, differentiable: bool) -> FieldSample:
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
        return FieldSample(sdf, feature, gradient)

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
    """Weights with which the network resembles the distance to a sphere (Atzmon and Lipman, SAL, 2020; shape_net.py).

    Hidden weights N(0, 2 / outputs), biases 0; the first layer keeps the columns of the coordinates only, the skip
    layer loses those of the waves; the last layer is N(sqrt(pi / inputs), 1e-4^2) with bias -radius in all rows.
    """
    last = len(network.layers) - 1
    for number, layer in enumerate(network.layers):
        outputs, inputs = layer.weight.shape
        noise = torch.empty(outputs, inputs).normal_(generator=generator)
        if number == last:
            weight = math.sqrt(math.pi / inputs) + 1e-4 * noise
            layer.bias.fill_(-INITIAL_RADIUS)
        else:
            weight = noise * math.sqrt(2 / outputs)
            layer.bias.zero_()
        if number == 0:
            weight[:, 3:] = 0
        elif number == network.settings.skip_layer:
            weight[:, inputs - (network.embedder_obj.width - 3) :] = 0
        layer.set_weight(weight)


def hand_shape_network(settings: SdfNetSettings, generator: torch.Generator | None = None) -> ImplicitNetwork:
    """The network of a hand's shape, a sphere at first; it has columns for the pose, which is left out."""
    encoding = FourierEncoding(3, settings.frequencies)
    network = ImplicitNetwork(settings, encoding, condition_width=POSE_WIDTH, generator=generator)
    start_as_sphere(network, generator)
    return network


def object_shape_network(
    settings: SdfNetSettings, schedule: BarfSettings, generator: torch.Generator | None = None
) -> ImplicitNetwork:
    """The network of the object's shape, a sphere at first; its encoding opens over the training."""
    network = ImplicitNetwork(settings, BarfEncoding(3, settings.frequencies, schedule), generator=generator)
    start_as_sphere(network, generator)
    return network


class RenderingNetwork(Layered):
    """Colour of hand or object from [canonical point, normal, pose code, feature, frame code]; no view direction.

    ReLU layers with weight normalisation and a sigmoid at the end; the pose code is the linear map `lin_pose` of the
    pose. A node without pose (the object) has a code of zeros; its empty map stays unused, bias included, and is there
    for checkpoints only.
    """

    def __init__(
        self,
        settings: ColourNetSettings,
        *,
        features: int,
        pose_width: int,
        frame_code: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.lin_pose = linear_layer(pose_width, POSE_CODE, weight_norm=False, generator=generator)
        first = 3 + 3 + POSE_CODE + features + frame_code
        sizes = list(pairwise([first, *[settings.width] * settings.hidden_layers, 3]))
        self.add_layers(sizes, weight_norm=True, generator=generator)

    def forward(
        self,
        points: Float[Tensor, "*batch 3"],
        normals: Float[Tensor, "*batch 3"],
        pose: Float[Tensor, "*#batch pose"] | None,
        feature: Float[Tensor, "*batch feature"],
        frame_code: Float[Tensor, "*#batch code"] | None = None,
    ) -> Float[Tensor, "*batch 3"]:
        """Red, green and blue in (0, 1)."""
        pose_code = points.new_zeros(POSE_CODE) if pose is None else self.lin_pose(pose)
        return self.colours(points, normals, pose_code, feature, *([] if frame_code is None else [frame_code]))


class BackgroundRenderingNetwork(Layered):
    """Colour of the far field from [encoded view direction, frame code, feature]."""

    def __init__(
        self, settings: BackgroundSettings, *, frame_code: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.view_encoding = FourierEncoding(3, VIEW_FREQUENCIES)
        inputs = self.view_encoding.width + frame_code + settings.field.features
        sizes = [(inputs, settings.colour_width), (settings.colour_width, 3)]
        self.add_layers(sizes, weight_norm=False, generator=generator)

    def forward(
        self,
        view_directions: Float[Tensor, "*#batch 3"],
        frame_code: Float[Tensor, "*#batch code"],
        feature: Float[Tensor, "*batch feature"],
    ) -> Float[Tensor, "*batch 3"]:
        """Red, green and blue in (0, 1)."""
        return self.colours(self.view_encoding(view_directions), frame_code, feature)


def half_precision(device: torch.device, wanted: bool) -> AbstractContextManager[object]:
    """A block whose layers compute in bfloat16, when wanted; parameters and derivatives stay in float32."""
    return torch.autocast(device.type, torch.bfloat16) if wanted else nullcontext()
