"""How far human finger joints move, and how they move together."""

from math import pi

import torch
from jaxtyping import Float
from torch import Tensor

from handloom.hand.anatomy import FLEXION, RADIAL

_DEGREE = pi / 180.0
BASES, MIDDLES, DISTALS = [0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]
"""Rows of the base, middle and distal joints of index, middle, pinky and ring finger; the thumb has rows 12 to 14."""

COUPLING = 2.0 / 3.0
"""The tendons bend a finger's last joint by about two thirds of the middle one's angle."""
COUPLING_PLAY_RAD = 15.0 * _DEGREE
_SPREAD_LOST_IN_FIST = 0.8


Range = tuple[int, int]
_STILL: Range = (0, 0)


def _finger(spread: Range) -> tuple[tuple[Range, Range, Range], ...]:
    return ((-20, 90), spread, _STILL), ((-2, 105), _STILL, _STILL), ((-5, 75), _STILL, _STILL)


_LIMITS_DEG = (
    *_finger(spread=(-8, 25)),  # index
    *_finger(spread=(-12, 12)),  # middle
    *_finger(spread=(-32, 6)),  # pinky
    *_finger(spread=(-20, 6)),  # ring
    ((-25, 45), (-30, 25), (-20, 35)),  # thumb
    ((-8, 55), _STILL, _STILL),
    ((-15, 80), _STILL, _STILL),
)
LOWER_RAD: Float[Tensor, "15 3"]
UPPER_RAD: Float[Tensor, "15 3"]
LOWER_RAD, UPPER_RAD = (torch.tensor(_LIMITS_DEG, dtype=torch.float32) * _DEGREE).unbind(-1)
"""Least and greatest flexion, radial deviation and twist of each joint, in radians."""
FREEDOM = (UPPER_RAD > LOWER_RAD).float()
"""One for the angles that can change, zero for the others."""


def within_limits(angles_rad: Float[Tensor, "*batch 15 3"]) -> Float[Tensor, "*batch 15 3"]:
    """The nearest possible angles: each in its range, a bent finger hardly spread, the last joint bound to the middle.

    The collateral ligaments tighten as a finger bends at its base: at 90 degrees it keeps a fifth of its spread.
    """
    angles = torch.maximum(torch.minimum(angles_rad, UPPER_RAD), LOWER_RAD)
    bases, distals = angles[..., BASES, :], angles[..., DISTALS, :]
    bent = (bases[..., FLEXION].clamp(min=0.0) / (90.0 * _DEGREE)).clamp(max=1.0)
    kept = 1.0 - _SPREAD_LOST_IN_FIST * bent
    spread = torch.maximum(
        torch.minimum(bases[..., RADIAL], kept * UPPER_RAD[BASES, RADIAL]), kept * LOWER_RAD[BASES, RADIAL]
    )
    coupled = COUPLING * angles[..., MIDDLES, FLEXION]
    last = (distals[..., FLEXION] - coupled).clamp(-COUPLING_PLAY_RAD, COUPLING_PLAY_RAD) + coupled
    result = angles.clone()
    result[..., BASES, RADIAL] = spread
    result[..., DISTALS, FLEXION] = last
    return result
