"""Small islands and holes of a mask removed."""

import cv2
import numpy as np
from jaxtyping import Bool
from scipy.ndimage import binary_fill_holes


def cleaned(
    mask: Bool[np.ndarray, "height width"], *, smallest_share: float, opening_px: int = 1
) -> Bool[np.ndarray, "height width"]:
    """The mask opened by a disc, without parts smaller than a share of its largest part, holes filled."""
    if not mask.any():
        return mask
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * opening_px + 1, 2 * opening_px + 1))
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc)
    count, parts, statistics, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    if count < 2:
        return mask
    areas = statistics[1:, cv2.CC_STAT_AREA]
    kept = 1 + np.flatnonzero(areas >= smallest_share * areas.max())
    return np.asarray(binary_fill_holes(np.isin(parts, kept)), bool)
