"""The world outside the scene's sphere: an inverted sphere (Zhang et al., NeRF++, 2020; facts 2.3)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from handloom.reconstruction.holdnet.compositing import weights_of
from handloom.reconstruction.holdnet.density import absolute_density
from handloom.reconstruction.holdnet.embedding import FourierEncoding
from handloom.reconstruction.holdnet.implicit_network import ImplicitNetwork
from handloom.reconstruction.holdnet.layers import half_precision
from handloom.reconstruction.holdnet.rays import sphere_exit
from handloom.reconstruction.holdnet.rendering_network import BackgroundRenderingNetwork
from handloom.reconstruction.holdnet.sampler import uniform_depths
from handloom.reconstruction.memory_parts import in_parts
from handloom.runtime.config.holdnet import BackgroundSettings

_FARTHEST = 1e10


def inverse_sphere_points(
    origins: Float[Tensor, "ray 3"],
    directions: Float[Tensor, "ray 3"],
    inverse_radius: Float[Tensor, "ray sample"],
    sphere_radius: float,
) -> Float[Tensor, "ray sample 4"]:
    """Unit direction and inverse radius of the points of rays outside the sphere (NeRF++, Fig. 8; facts 2.3).

    With p the exit from the sphere and m the ray's point nearest to the centre, the direction to the point at radius
    1/v is p turned about o x p by asin(|m| / R) - asin(|m| v). Inverse radii are in [0, 1 / R].
    """
    exits = origins + sphere_exit(origins, directions, sphere_radius)[:, None] * directions
    nearest = origins - (origins * directions).sum(-1, keepdim=True) * directions
    offset = nearest.norm(dim=-1, keepdim=True)
    axis = functional.normalize(torch.cross(origins, exits, dim=-1), dim=-1)[:, None]
    turn = ((offset / sphere_radius).asin() - (offset * inverse_radius).asin())[..., None]
    exits = exits[:, None]
    # Rodrigues' rotation; the axis is orthogonal to p, so its third term is left out up to rounding
    turned = exits * turn.cos() + torch.cross(axis, exits, dim=-1) * turn.sin()
    return torch.cat([functional.normalize(turned, dim=-1), inverse_radius[..., None]], dim=-1)


class Background(nn.Module):
    """Colour of the far field per ray, with a code per frame."""

    def __init__(
        self,
        settings: BackgroundSettings,
        *,
        frames: int,
        frame_code: int,
        sphere_radius: float,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.sphere_radius = sphere_radius
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
        return uniform_depths(zero, zero + 1, self.settings.samples, generator) / self.sphere_radius

    def forward(
        self,
        origins: Float[Tensor, "ray 3"],
        directions: Float[Tensor, "ray 3"],
        frame: Int[Tensor, " ray"],
        generator: torch.Generator | None = None,
        *,
        parts: int = 1,
        half: bool = False,
    ) -> Float[Tensor, "ray 3"]:
        """Colour of the rays as if nothing were inside the sphere; with a generator for training.

        More than one part of the rays at a time needs less memory and more time. `half` computes in bfloat16.
        """
        inverse_radius = self.inverse_radii(directions[:, 0], generator).flip(1)

        def seen(origins: Tensor, directions: Tensor, frame: Tensor, inverse_radius: Tensor) -> tuple[Tensor]:
            points = inverse_sphere_points(origins, directions, inverse_radius, self.sphere_radius)
            code = self.frame_latent_encoder(frame)[:, None]
            with half_precision(directions.device, half):
                output, feature = self.bg_implicit_network(points, code)
                colour = self.bg_rendering_network(directions[:, None], code, feature)
            weights = background_weights(output.float(), inverse_radius)
            return ((weights[..., None] * colour.float()).sum(1),)

        return in_parts(seen, parts, origins, directions, frame, inverse_radius)[0]


def background_weights(
    output: Float[Tensor, "ray sample"], inverse_radius: Float[Tensor, "ray sample"]
) -> Float[Tensor, "ray sample"]:
    """Weights of samples by descending inverse radius; the last one reaches to infinity (facts 2.3)."""
    lengths = functional.pad(-inverse_radius.diff(dim=1), (0, 1), value=_FARTHEST)
    return weights_of(absolute_density(output), lengths)[0]


def frame_codes(frames: int, width: int, generator: torch.Generator | None) -> nn.Embedding:
    """A learnable code per frame, N(0, 1) at the start, from an explicit stream."""
    return nn.Embedding.from_pretrained(torch.empty(frames, width).normal_(generator=generator), freeze=False)
