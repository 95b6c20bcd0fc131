"""Smoothing of score maps that stops at the image's edges: the guided filter."""

import cv2
import numpy as np
from jaxtyping import Float


def guided_filter(
    guide: Float[np.ndarray, "height width"],
    scores: Float[np.ndarray, "height width classes"],
    *,
    radius_px: int,
    epsilon: float = 1e-3,
) -> Float[np.ndarray, "height width classes"]:
    """Per class the local linear fit a * guide + b of the scores over boxes of the radius, averaged.

    Source: He, Sun and Tang, "Guided image filtering", TPAMI 2013; for labels Hosni et al., CVPR 2011.
    """
    side = (2 * radius_px + 1, 2 * radius_px + 1)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.boxFilter(values, -1, side, borderType=cv2.BORDER_REFLECT)).reshape(values.shape)

    grey = guide.astype(np.float32)
    scores = scores.astype(np.float32)
    grey_mean = mean(grey)
    variance = mean(grey * grey) - grey_mean**2
    score_mean = mean(scores)
    slope = (mean(scores * grey[..., None]) - score_mean * grey_mean[..., None]) / (variance + epsilon)[..., None]
    offset = score_mean - slope * grey_mean[..., None]
    return mean(slope) * grey[..., None] + mean(offset)
