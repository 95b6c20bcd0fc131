"""How large the object is, metres per unit of structure from motion, and how sure that is.

One camera sees shapes and no sizes. A person's hand beside the object is a measure, known as well as hands differ; a
length that the user knows is a better one. Deviations are of the logarithm: 0.1 is ten percent.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

from handloom.datasets.masks import BACKGROUND, labels_at
from handloom.estimators.masks.voted_shape import pixels_of
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.runtime.images import read_grey

HAND_DEVIATION = 0.08
"""Of adults' hands about the model's mean: 8 of 95 mm from wrist to the middle finger (data/open_hand.md)."""
FREE_DEVIATION = 0.1
"""What more is unsure where no hand is held to the object: nothing but its depth tells where the object is."""
POINTS_DEVIATION = 0.04
"""Of the largest distance between points of structure from motion about the object's own."""
_SHOWN_SHARE = 0.8
"""Points that masks show on object or hand in fewer of the frames lie beside the object."""
KEYPOINTS_DEVIATION, LEAST_KEYPOINTS_DEVIATION = 0.6, 0.05
"""Of the key points' spread in the image where a network has no confidence, and where it has all."""
MASKS_DEVIATION = 0.06
"""Of how large the hand looks in its masks, which sleeves, leaks and misplaced fingers change."""


class Distance(NamedTuple):
    """How much farther away the hands are than their key points put them, and the deviation that is left."""

    factor: float
    deviation: float


def weighed_distance(masks_factor: float | None, confidence: float) -> Distance:
    """Between the key points' own distance (1) and the factor that masks tell, by inverse variances.

    With l the masks' log, v_k = s_k^2 and v_m the variances of the two: log factor = l v_k / (v_k + v_m), and
    deviation^2 = v_k v_m / (v_k + v_m), larger by l^2 / (v_k + v_m) where both disagree by more than they should
    (Birge's ratio). s_k falls linearly with the network's mean confidence; masks that tell nothing leave s_k.
    """
    unsure = KEYPOINTS_DEVIATION * (1.0 - min(max(confidence, 0.0), 1.0))
    of_keypoints, of_masks = max(unsure, LEAST_KEYPOINTS_DEVIATION) ** 2, MASKS_DEVIATION**2
    if masks_factor is None:
        return Distance(1.0, of_keypoints**0.5)
    both, apart = of_keypoints + of_masks, np.log(masks_factor)
    birge = max(1.0, apart**2 / both)
    return Distance(float(np.exp(apart * of_keypoints / both)), float((birge * of_keypoints * of_masks / both) ** 0.5))


def size_deviation(distance_deviation: float, held: bool) -> float:
    """Of a size that comes from the hand: people's hands, their distance, and whether a hand is held to the object."""
    return float(np.linalg.norm([HAND_DEVIATION, distance_deviation, 0.0 if held else FREE_DEVIATION]))


def agreed_size(scales: Sequence[float], deviations: Sequence[float]) -> tuple[float, float]:
    """The size that several hands of one person give an object, and its deviation.

    Mean of the logarithms by inverse variances, without what is unsure of all that person's hands alike
    (`HAND_DEVIATION`); larger by Birge's ratio where the hands disagree by more than they should.
    """
    logs, own = np.log(scales), np.maximum(np.square(deviations) - HAND_DEVIATION**2, 1e-6)
    weights = 1 / own / (1 / own).sum()
    mean = float(weights @ logs)
    birge = max(1.0, float(((logs - mean) ** 2 / own).sum()) / max(len(logs) - 1, 1))
    return float(np.exp(mean)), float((HAND_DEVIATION**2 + birge / (1 / own).sum()) ** 0.5)


def points_within_masks(thing: ObjectPoses, masks: Sequence[Path]) -> Float[np.ndarray, "points 3"]:
    """The points of structure from motion that the masks (labels, 0 elsewhere) show on object or hand.

    A few beside the object would make it larger: on a real cube by 17 %. What a frame does not show counts for it. All
    points, where masks show too few to tell a size by.
    """
    points, shown = thing.points_object, np.zeros(len(thing.points_object))
    for frame in np.flatnonzero(thing.registered).tolist():
        shown += labels_at(read_grey(masks[frame]), pixels_of(points, thing, frame)[0]) != BACKGROUND
    within: Float[np.ndarray, "points 3"] = points[shown >= _SHOWN_SHARE * thing.registered.sum()]
    return within if len(within) > 1 else points


def largest_extent(points: Float[np.ndarray, "points 3"]) -> float:
    """The largest distance between two of the points, their diameter, in their own unit."""
    try:
        corners = points[ConvexHull(points).vertices]
    except QhullError:  # fewer than four points, or all of them in a plane
        corners = points
    return float(pdist(corners).max(initial=0.0))
