"""The sparse points without those that lie far off."""

import numpy as np
from jaxtyping import Float


def trimmed_points(
    points: Float[np.ndarray, "points 3"], *, quantile: float = 0.8, factor: float = 1.5
) -> Float[np.ndarray, "kept 3"]:
    """Points nearer to the median point than `factor` times the `quantile` of those distances.

    Source: facts/hold.md 1.7.
    """
    if len(points) == 0:
        return points
    distance = np.linalg.norm(points - np.median(points, 0), axis=1)
    return points[distance < factor * np.quantile(distance, quantile)]
