"""Volume rendering of one node's samples and of all nodes' samples together (facts 2.4)."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

CLASSES = 4
BACKGROUND_CLASS, OBJECT_CLASS, RIGHT_CLASS, LEFT_CLASS = range(CLASSES)


class RaySamples(NamedTuple):
    """A field's values along rays, by ascending depth."""

    colour: Float[Tensor, "ray sample 3"]
    normal: Float[Tensor, "ray sample 3"]
    density: Float[Tensor, "ray sample"]
    semantics: Float[Tensor, "ray sample 4"]
    """One-hot class of the node that a sample belongs to."""
    depth: Float[Tensor, "ray sample"]


class Rendering(NamedTuple):
    """What rays see of the foreground alone."""

    colour: Float[Tensor, "ray 3"]
    normal: Float[Tensor, "ray 3"]
    depth: Float[Tensor, " ray"]
    semantics: Float[Tensor, "ray 4"]
    mask_probability: Float[Tensor, " ray"]
    """Opacity, the sum of the weights, in [0, 1]."""
    weights: Float[Tensor, "ray sample"]
    background_weight: Float[Tensor, " ray"]
    """What passes all samples."""

    @property
    def colour_on_white(self) -> Float[Tensor, "ray 3"]:
        """The colour in front of white."""
        return self.colour + self.background_weight[:, None]


class Composite(NamedTuple):
    """What rays see of the whole scene."""

    colour: Float[Tensor, "ray 3"]
    semantics: Float[Tensor, "ray 4"]
    instance: Int[Tensor, " ray"]
    """The class with the largest share; of equal ones the first."""


def one_hot_class(number: int, like: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 4"]:
    """The class in every place of `like`."""
    row = functional.one_hot(torch.tensor(number, device=like.device), CLASSES).to(like.dtype)
    return row.expand(*like.shape, CLASSES)


def transmitted_before(free_energy: Float[Tensor, "ray sample"]) -> Float[Tensor, "ray sample"]:
    """Light that reaches each sample: T_i = exp(-sum of density times length over the samples before it)."""
    return (-functional.pad(free_energy, (1, 0))[:, :-1].cumsum(1)).exp()


def weights_of(
    density: Float[Tensor, "ray sample"], lengths: Float[Tensor, "ray sample"]
) -> tuple[Float[Tensor, "ray sample"], Float[Tensor, " ray"]]:
    """w_i = T_i (1 - exp(-sigma_i delta_i)), and the light that is left after the last sample."""
    free_energy = density * lengths
    before = transmitted_before(free_energy)
    return before * (1 - (-free_energy).exp()), (-free_energy.sum(1)).exp()


def merge_samples(nodes: list[RaySamples]) -> tuple[RaySamples, Float[Tensor, " ray"]]:
    """All nodes' samples by depth, and the depth where the last one's interval ends (facts 2.4).

    All n nodes share the depths near and far: the first n - 1 samples are left out, and the last n, whose first one is
    the end of the remaining samples. Equal depths are left in the order that torch.sort gives them, as in the
    reference: it decides which node's density reaches from the camera to the first sample.
    """
    depth, order = torch.cat([node.depth for node in nodes], dim=1).sort(dim=1)
    kept = slice(len(nodes) - 1, depth.shape[1] - len(nodes))
    order = order[:, kept]
    vector_order = order[..., None]

    def merged(parts: list[Tensor]) -> Tensor:
        values = torch.cat(parts, dim=1)
        return values.gather(1, order if values.dim() == 2 else vector_order.expand(-1, -1, values.shape[2]))

    samples = RaySamples(
        colour=merged([node.colour for node in nodes]),
        normal=merged([node.normal for node in nodes]),
        density=merged([node.density for node in nodes]),
        semantics=merged([node.semantics for node in nodes]),
        depth=depth[:, kept],
    )
    return samples, depth[:, -len(nodes)]


def render_samples(samples: RaySamples, end_depth: Float[Tensor, " ray"]) -> Rendering:
    """Volume rendering: every quantity is the sum over samples of w_i times its value (facts 2.4).

    A sample's length reaches to the next one, the last one's to `end_depth`; lengths in the unit of the depths.
    """
    lengths = torch.cat([samples.depth, end_depth[:, None]], dim=1).diff(dim=1)
    weights, left = weights_of(samples.density, lengths)

    def expected(values: Tensor) -> Tensor:
        return (weights[:, None, :] @ values).squeeze(1)

    return Rendering(
        colour=expected(samples.colour),
        normal=expected(samples.normal),
        depth=(weights * samples.depth).sum(1),
        semantics=expected(samples.semantics),
        mask_probability=weights.sum(1).clamp(0, 1),
        weights=weights,
        background_weight=left,
    )


def render_alone(samples: RaySamples) -> Rendering:
    """One node without the others; its last sample has no length."""
    return render_samples(samples, samples.depth[:, -1])


def compose(foreground: Rendering, background_colour: Float[Tensor, "ray 3"]) -> Composite:
    """The foreground in front of the background: C = sum w c + T_end c_bg, the same for the classes (facts 2.4)."""
    left = foreground.background_weight[:, None]
    semantics = foreground.semantics + left * one_hot_class(BACKGROUND_CLASS, foreground.background_weight)
    return Composite(foreground.colour + left * background_colour, semantics, semantics.argmax(1))
