"""What lies not far beyond the SfM points: a limit to shapes that are seen from a few sides only.

Masks of few views leave long cones before and behind the object. SfM points lie on what was seen, and hardly anything
of an object lies outside the planes that touch them; a few points may be wrong.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_DIRECTIONS = 512
_WRONG_SHARE = 0.02


def near_points(
    queries: Float[Tensor, "queries 3"], points: Float[Tensor, "points 3"], reach: float
) -> Bool[Tensor, " queries"]:
    """Queries that exceed the points in no direction n by more than `reach`.

    x . n <= q(points . n) + reach for 512 directions n; the quantile q leaves out 2 %. All in one unit.
    """
    number = torch.arange(_DIRECTIONS, dtype=points.dtype) + 0.5
    height = 1 - 2 * number / _DIRECTIONS
    turn = math.pi * (1 + math.sqrt(5)) * number
    flat = (1 - height * height).sqrt()
    directions = torch.stack([flat * turn.cos(), flat * turn.sin(), height])
    limit = torch.quantile(points @ directions, 1 - _WRONG_SHARE, dim=0) + reach
    return (queries @ directions <= limit).all(1)
