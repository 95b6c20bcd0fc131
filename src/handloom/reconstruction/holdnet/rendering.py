"""What rays see: the samples of all entities together by volume rendering, and behind them the world far away.

HOLD's code/src/hold/hold_utils.py (merge_factors, volumetric_render) and code/src/model/renderables/background.py.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from handloom.reconstruction.field_evaluation import in_chunks
from handloom.reconstruction.holdnet.networks import (
    BackgroundRenderingNetwork,
    FourierEncoding,
    ImplicitNetwork,
    half_precision,
)
from handloom.reconstruction.holdnet.rays import BACKGROUND, sphere_exit
from handloom.reconstruction.holdnet.sampler import uniform_depths, weights_of, with_last
from handloom.reconstruction.scene_placement import BOUNDING_SPHERE
from handloom.runtime.config.fields import BackgroundSettings

CLASSES = 4


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


class Composite(NamedTuple):
    """What rays see of the whole scene."""

    colour: Float[Tensor, "ray 3"]
    semantics: Float[Tensor, "ray 4"]


def one_hot_class(number: int, like: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 4"]:
    """The class in every place of `like`."""
    row = functional.one_hot(torch.tensor(number, device=like.device), CLASSES).to(like.dtype)
    return row.expand(*like.shape, CLASSES)


def merge_samples(nodes: list[RaySamples]) -> tuple[RaySamples, Float[Tensor, " ray"]]:
    """All nodes' samples by depth, and the depth where the last one's interval ends.

    All n nodes share the depths near and far: the first n - 1 samples are left out, and the last n, whose first one is
    the end of the remaining samples. Equal depths are left in the order that torch.sort gives them, as in the
    reference: it decides which node's density reaches from the camera to the first sample.
    """
    depth, order = torch.cat([node.depth for node in nodes], dim=1).sort(dim=1)
    kept = slice(len(nodes) - 1, depth.shape[1] - len(nodes))
    order = order[:, kept]

    def merged(of_nodes: tuple[Tensor, ...]) -> Tensor:
        values = torch.cat(of_nodes, dim=1)
        return values.gather(1, order if values.dim() == 2 else order[..., None].expand(-1, -1, values.shape[2]))

    colour, normal, density, semantics, _ = (merged(of_nodes) for of_nodes in zip(*nodes, strict=True))
    return RaySamples(colour, normal, density, semantics, depth[:, kept]), depth[:, -len(nodes)]


def render_samples(samples: RaySamples, end_depth: Float[Tensor, " ray"]) -> Rendering:
    """Volume rendering: every quantity is the sum over samples of w_i times its value.

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
    """The foreground in front of the background: C = sum w c + T_end c_bg, the same for the classes."""
    left = foreground.background_weight[:, None]
    semantics = foreground.semantics + left * one_hot_class(BACKGROUND, foreground.background_weight)
    return Composite(foreground.colour + left * background_colour, semantics)


class Background(nn.Module):
    """Colour of the far field per ray, with a code per frame: an inverted sphere (Zhang et al., NeRF++, 2020)."""

    def __init__(
        self, settings: BackgroundSettings, *, frames: int, frame_code: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.settings = settings
        encoding = FourierEncoding(4, settings.field.frequencies)
        self.bg_implicit_network = ImplicitNetwork(
            settings.field, encoding, condition_width=frame_code, weight_norm=False, generator=generator
        )
        self.bg_rendering_network = BackgroundRenderingNetwork(settings, frame_code=frame_code, generator=generator)
        self.frame_latent_encoder = frame_codes(frames, frame_code, generator)

    def inverse_radii(
        self, like: Float[Tensor, " ray"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "ray sample"]:
        """Inverse radii per ray, ascending from infinity to the sphere; drawn within strata with a generator."""
        zero = torch.zeros_like(like)
        return uniform_depths(zero, zero + 1, self.settings.samples, generator) / BOUNDING_SPHERE

    def forward(
        self,
        origins: Float[Tensor, "ray 3"],
        directions: Float[Tensor, "ray 3"],
        frame: Int[Tensor, " ray"],
        generator: torch.Generator | None = None,
        *,
        chunks: int = 1,
        half: bool = False,
    ) -> Float[Tensor, "ray 3"]:
        """Colour of the rays as if nothing were inside the sphere; with a generator for training."""
        inverse_radius = self.inverse_radii(directions[:, 0], generator).flip(1)

        def seen(origins: Tensor, directions: Tensor, frame: Tensor, inverse_radius: Tensor) -> tuple[Tensor]:
            points = inverse_sphere_points(origins, directions, inverse_radius)
            code = self.frame_latent_encoder(frame)[:, None]
            with half_precision(directions.device, half):
                output, feature = self.bg_implicit_network(points, code)
                colour = self.bg_rendering_network(directions[:, None], code, feature)
            weights = background_weights(output.float(), inverse_radius)
            return ((weights[..., None] * colour.float()).sum(1),)

        return in_chunks(seen, chunks, origins, directions, frame, inverse_radius)[0]


def inverse_sphere_points(
    origins: Float[Tensor, "ray 3"], directions: Float[Tensor, "ray 3"], inverse_radius: Float[Tensor, "ray sample"]
) -> Float[Tensor, "ray sample 4"]:
    """Unit direction and inverse radius of the points of rays outside the sphere of radius R (NeRF++, Fig. 8).

    With p the exit from the sphere and m the ray's point nearest to the centre, the direction to the point at radius
    1/v is p turned about o x p by asin(|m| / R) - asin(|m| v). Inverse radii are in [0, 1 / R].
    """
    exits = origins + sphere_exit(origins, directions)[:, None] * directions
    nearest = origins - (origins * directions).sum(-1, keepdim=True) * directions
    offset = nearest.norm(dim=-1, keepdim=True)
    axis = functional.normalize(torch.cross(origins, exits, dim=-1), dim=-1)[:, None]
    turn = ((offset / BOUNDING_SPHERE).asin() - (offset * inverse_radius).asin())[..., None]
    exits = exits[:, None]
    # Rodrigues' rotation; the axis is orthogonal to p, so its third term is left out up to rounding
    turned = exits * turn.cos() + torch.cross(axis, exits, dim=-1) * turn.sin()
    return torch.cat([functional.normalize(turned, dim=-1), inverse_radius[..., None]], dim=-1)


def background_weights(
    output: Float[Tensor, "ray sample"], inverse_radius: Float[Tensor, "ray sample"]
) -> Float[Tensor, "ray sample"]:
    """Weights of samples by descending inverse radius, of which |output| is the density."""
    return weights_of(output.abs(), with_last(-inverse_radius.diff(dim=1)))[0]


def frame_codes(frames: int, width: int, generator: torch.Generator | None) -> nn.Embedding:
    """A learnable code per frame, N(0, 1) at the start, from an explicit stream."""
    return nn.Embedding.from_pretrained(torch.empty(frames, width).normal_(generator=generator), freeze=False)
