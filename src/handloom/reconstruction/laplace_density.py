"""The density of HOLD's scenes, whichever model holds their distances."""

import torch
from jaxtyping import Float
from torch import Tensor


def laplace_density(
    distance: Float[Tensor, "*batch"], beta: Float[Tensor, "*#batch"] | float
) -> Float[Tensor, "*batch"]:
    """Density from the signed distance d, negative inside (VolSDF, Eq. 2 and 3).

        sigma(d) = (1 + sign(d) expm1(-|d| / beta)) / (2 beta)

    per unit of length, the unit of d and beta; 1 / beta deep inside, 0 far outside.
    """
    return (0.5 + 0.5 * distance.sign() * torch.expm1(-distance.abs() / beta)) / beta
