"""The networks from a point's geometry to its colour, of hand, object and background (facts 2.1)."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from handloom.reconstruction.holdnet.embedding import encoded_width, fourier_encoding
from handloom.reconstruction.holdnet.layers import Linear, linear_layer
from handloom.runtime.config.holdnet import BackgroundSettings, ColourNetSettings


class RenderingNetwork(nn.Module):
    """Colour of hand or object from [canonical point, normal, pose code, feature, frame code]; no view direction.

    ReLU layers `lin0` ... with weight normalisation and a sigmoid at the end; the pose code is the linear map
    `lin_pose` of the pose. A node without pose (the object) has a code of zeros; its empty map stays unused, bias
    included, and is there for checkpoints only.
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
        self.pose_code_width = settings.pose_code
        self.lin_pose = linear_layer(pose_width, settings.pose_code, weight_norm=False, generator=generator)
        first = 3 + 3 + settings.pose_code + features + frame_code
        self._layer_count = settings.hidden_layers + 1
        for number, (inputs, outputs) in enumerate(pairwise([first, *[settings.width] * settings.hidden_layers, 3])):
            self.add_module(f"lin{number}", linear_layer(inputs, outputs, weight_norm=True, generator=generator))

    @property
    def layers(self) -> list[Linear]:
        """The layers in order."""
        return [getattr(self, f"lin{number}") for number in range(self._layer_count)]

    def forward(
        self,
        points: Float[Tensor, "*batch 3"],
        normals: Float[Tensor, "*batch 3"],
        pose: Float[Tensor, "*#batch pose"] | None,
        feature: Float[Tensor, "*batch feature"],
        frame_code: Float[Tensor, "*#batch code"] | None = None,
    ) -> Float[Tensor, "*batch 3"]:
        """Red, green and blue in (0, 1)."""
        batch = points.shape[:-1]
        pose_code = points.new_zeros(self.pose_code_width) if pose is None else self.lin_pose(pose)
        parts = [points, normals, pose_code.expand(*batch, -1), feature]
        if frame_code is not None:
            parts.append(frame_code.expand(*batch, -1))
        hidden = torch.cat(parts, dim=-1)
        for number, layer in enumerate(self.layers):
            hidden = layer(functional.relu(hidden) if number else hidden)
        return hidden.sigmoid()


class BackgroundRenderingNetwork(nn.Module):
    """Colour of the far field from [encoded view direction, frame code, feature] (facts 2.1)."""

    def __init__(
        self, settings: BackgroundSettings, *, frame_code: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.view_frequencies = settings.view_frequencies
        inputs = encoded_width(3, settings.view_frequencies) + frame_code + settings.field.features
        self.lin0 = linear_layer(inputs, settings.colour_width, weight_norm=False, generator=generator)
        self.lin1 = linear_layer(settings.colour_width, 3, weight_norm=False, generator=generator)

    def forward(
        self,
        view_directions: Float[Tensor, "*#batch 3"],
        frame_code: Float[Tensor, "*#batch code"],
        feature: Float[Tensor, "*batch feature"],
    ) -> Float[Tensor, "*batch 3"]:
        """Red, green and blue in (0, 1)."""
        batch = feature.shape[:-1]
        views = fourier_encoding(view_directions, self.view_frequencies)
        parts = [views.expand(*batch, -1), frame_code.expand(*batch, -1), feature]
        return self.lin1(functional.relu(self.lin0(torch.cat(parts, dim=-1)))).sigmoid()
