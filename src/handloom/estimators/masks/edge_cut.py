"""Edges of carried masks settled by GrabCut within a band."""

import cv2
import numpy as np
from jaxtyping import Int, UInt8

from handloom.runtime.config.masks import PropagationSettings

_MARGIN_BANDS = 3
_FEWEST_PX = 64


def cut_edges(
    image: UInt8[np.ndarray, "height width 3"], classes: Int[np.ndarray, "height width"], settings: PropagationSettings
) -> Int[np.ndarray, "height width"]:
    """Each entity cut anew from its surroundings; what is further than the band from its edge stays as it is.

    An entity too small to have a core stays whole. Colour models are learned about the entity only, so that what is far
    away does not matter; the random start of GrabCut is OpenCV's own, which is seeded here.
    """
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * settings.band_px + 1,) * 2)
    result = classes.copy()
    for number in range(1, int(classes.max()) + 1):
        mask = (classes == number).astype(np.uint8)
        core = cv2.erode(mask, disc)
        if core.sum() < _FEWEST_PX:
            continue
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        margin = _MARGIN_BANDS * settings.band_px
        window = tuple(slice(max(line[0] - margin, 0), line[-1] + margin + 1) for line in (rows, columns))
        near = cv2.dilate(mask, disc)
        trimap = np.where(near == 0, cv2.GC_BGD, np.where(mask == 1, cv2.GC_PR_FGD, cv2.GC_PR_BGD)).astype(np.uint8)
        trimap[core == 1] = cv2.GC_FGD
        trimap[(classes > 0) & (classes != number)] = cv2.GC_BGD
        cut = np.ascontiguousarray(trimap[window])
        if not (cut == cv2.GC_BGD).any():
            continue
        cv2.setRNGSeed(0)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        crop = np.ascontiguousarray(image[window])
        cv2.grabCut(crop, cut, (0, 0, 1, 1), *models, settings.iterations, cv2.GC_INIT_WITH_MASK)
        inside = (cut == cv2.GC_FGD) | (cut == cv2.GC_PR_FGD)
        result[window][(classes[window] == number) & ~inside] = 0
        result[window][(classes[window] == 0) & inside] = number
    return result
