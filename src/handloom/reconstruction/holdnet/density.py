"""Density of a ray's samples: from signed distance by the Laplace distribution, and by the absolute value far away."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from handloom.runtime.config.holdnet import DensitySettings


def laplace_density(
    distance: Float[Tensor, "*batch"], beta: Float[Tensor, "*#batch"] | float
) -> Float[Tensor, "*batch"]:
    """Density from signed distance d, negative inside (VolSDF, Eq. 2 and 3; facts 2.3).

        sigma(d) = (1 + sign(d) expm1(-|d| / beta)) / (2 beta)

    per unit of length, the unit of d and beta; 1 / beta deep inside, 0 far outside.
    """
    return (1 / beta) * (0.5 + 0.5 * distance.sign() * torch.expm1(-distance.abs() / beta))


def absolute_density(output: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Density of the background, |output| per unit of inverse radius (facts 2.3)."""
    return output.abs()


class LaplaceDensity(nn.Module):
    """Laplace density with a learnable scale, beta = |beta_p| + smallest_beta (facts 2.3)."""

    def __init__(self, settings: DensitySettings) -> None:
        super().__init__()
        self.smallest_beta = settings.smallest_beta
        self.beta = nn.Parameter(torch.tensor(settings.initial_beta))

    def scale(self) -> Float[Tensor, ""]:
        """The scale that densities use; always positive."""
        return self.beta.abs() + self.smallest_beta

    def forward(self, distance: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Density at the present scale."""
        return laplace_density(distance, self.scale())
