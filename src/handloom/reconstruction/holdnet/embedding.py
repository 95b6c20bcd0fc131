"""Positional encodings of points: Fourier (NeRF), and BARF's, which opens its frequencies over the training."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from handloom.runtime.config.holdnet import BarfSettings


def fourier_encoding(points: Float[Tensor, "*batch dim"], frequencies: int) -> Float[Tensor, "*batch encoded"]:
    """The points with their sines and cosines at 2^k, k = 0 .. frequencies - 1 (facts 2.1, golden c02).

    [x, sin x, cos x, sin 2x, cos 2x, ...], each over all dimensions; no factor of pi. Unit of the points: any.
    """
    # Powers of two scale without rounding, so this equals the reference bit for bit.
    octaves = 2.0 ** torch.arange(frequencies, dtype=points.dtype, device=points.device)
    angles = points[..., None, :] * octaves[:, None]
    waves = torch.stack([angles.sin(), angles.cos()], dim=-2)
    return torch.cat([points, waves.flatten(-3)], dim=-1)


def encoded_width(dimensions: int, frequencies: int) -> int:
    """Columns of an encoding: the coordinates, and a sine and a cosine of each per frequency."""
    return dimensions * (1 + 2 * frequencies)


class FourierEncoding(nn.Module):
    """The plain encoding as a module without state."""

    def __init__(self, dimensions: int, frequencies: int) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.width = encoded_width(dimensions, frequencies)

    def forward(self, points: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch encoded"]:
        """See `fourier_encoding`."""
        return fourier_encoding(points, self.frequencies)


class BarfEncoding(nn.Module):
    """Fourier encoding whose frequencies open one after the other (Lin et al., BARF, ICCV 2021, Eq. 14; facts 2.1).

    With the step counter t, which stops at end - 1, the start s and L frequencies:

        alpha = L (t - s) / (end - 1 - s), at least 0
        w_k   = (1 - cos(pi clip(alpha - k, 0, 1))) / 2

    Both waves of frequency k are multiplied by w_k, the coordinates are not. The counter is part of a checkpoint; the
    weights follow from it, so a loaded network goes on where the saved one was. `fully_open` ignores the counter.
    """

    alpha_iter: Int[Tensor, ""]
    alpha_max_iter: Int[Tensor, ""]

    def __init__(self, dimensions: int, frequencies: int, schedule: BarfSettings) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.frequencies = frequencies
        self.schedule = schedule
        self.width = encoded_width(dimensions, frequencies)
        self.fully_open = False
        # The names are a checkpoint's; the second is kept for it only.
        self.register_buffer("alpha_iter", torch.tensor(0))
        self.register_buffer("alpha_max_iter", torch.tensor(schedule.end_step))

    def forward(self, points: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch encoded"]:
        """The encoding at the counter's state; it does not count."""
        encoded = fourier_encoding(points, self.frequencies)
        return encoded if self.fully_open else encoded * self.column_weights().to(encoded.dtype)

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
