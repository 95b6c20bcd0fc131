"""How large a hand and what it holds can be: a length beyond that is in another unit."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from handloom.runtime.errors import InputError

HAND_M = (0.05, 0.4)
"""Diagonal of a hand's bounding box, from a fist of a child to a spread hand of a man, with room."""
HAND_TEMPLATE_M = (0.05, 1.0)
"""The same of a model at rest, with more room: it only has to tell units apart."""
OBJECT_M = (0.005, 2.0)
"""What a hand can hold, with room."""
_TYPICAL_M = 0.2
"""Of a hand, and near enough of what it holds to tell the unit by."""
_UNITS = {
    0.001: "kilometres",
    5: "iHOI's normalised cube (0.2 m to 1)",
    10: "DiffHOI's joint frame (10 to a metre) or decimetres",
    100: "centimetres",
    1000: "millimetres",
}
"""What lengths may be in when they are about so many times too large."""


def diagonal(points: Float[np.ndarray, "points 3"]) -> float:
    """Of the bounding box, in the points' unit."""
    return float(np.linalg.norm(np.ptp(points, axis=0)))


def likely_unit(size: float, allowed: Sequence[float]) -> str | None:
    """The unit that explains a size which is not within what is allowed in metres."""
    if allowed[0] <= size <= allowed[1] or not size > 0:
        return None
    nearest = min(_UNITS, key=lambda times: abs(np.log(size / _TYPICAL_M / times)))
    return _UNITS[nearest]


def require_size(what: str, points_m: Float[np.ndarray, "points 3"], allowed: Sequence[float], advice: str) -> None:
    """Raise InputError, naming the unit that explains it, for points whose bounding box has no allowed diagonal."""
    size = diagonal(points_m)
    if not allowed[0] <= size <= allowed[1]:
        unit = likely_unit(size, allowed)
        raise InputError(
            f"{what} is {size:.3g} m large, but {allowed[0]:g} to {allowed[1]:g} m were expected"
            f"{f'; are these {unit}? Metres are expected' if unit else ''}; {advice}"
        )
