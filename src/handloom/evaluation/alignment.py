"""Predictions in network units, placed on the ground truth by its bone length and root joint (`global_align`)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from handloom.hand.joints import BONE

MM_PER_M = 1000


class AlignedPoses(NamedTuple):
    """Root-relative poses in millimetres; the root's own error is zero by construction and counts in every mean."""

    predicted_mm: Float[np.ndarray, "*batch 21 3"]
    true_mm: Float[np.ndarray, "*batch 21 3"]


def place_on_ground_truth(
    predicted: Float[np.ndarray, "*batch 21 3"], true_m: Float[np.ndarray, "*batch 21 3"], root_joint: int
) -> AlignedPoses:
    """Scale each prediction to the true bone 0-9 and move both roots to the origin; no rotation is fitted.

    `s (P - P[root])` with `s = |T9 - T0| / |P9 - P0|`, and `T - T[root]`. Predictions may have any unit, the truth is
    in metres. Source: facts/s2dhand.md 4.1.
    """
    prediction, truth = predicted.astype(np.float64), true_m.astype(np.float64)
    scale = MM_PER_M * bone_length(truth) / bone_length(prediction)
    return AlignedPoses(
        scale[..., None, None] * (prediction - prediction[..., [root_joint], :]),
        MM_PER_M * (truth - truth[..., [root_joint], :]),
    )


def bone_length(joints: Float[np.ndarray, "*batch 21 3"]) -> Float[np.ndarray, "*batch"]:
    """Distance from the wrist to the base of the middle finger, in the joints' unit."""
    start, end = BONE
    length: np.ndarray = np.linalg.norm(joints[..., end, :] - joints[..., start, :], axis=-1)
    return length
