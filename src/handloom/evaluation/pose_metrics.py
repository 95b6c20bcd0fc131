"""Mono-M, Dual-M and the curves around them (facts/s2dhand.md 4.2, 4.3).

Poses are root-relative, in millimetres, rows `P2 ~ P1 @ R12`; validity is 0 or 1 per joint; an axis of 2 holds the
two views.
"""

import math

import numpy as np
from jaxtyping import Float, Int

PCK_THRESHOLDS_MM = np.linspace(20.0, 50.0, 15)


def joint_errors(
    predicted_mm: Float[np.ndarray, "*batch 21 3"], true_mm: Float[np.ndarray, "*batch 21 3"]
) -> Float[np.ndarray, "*batch 21"]:
    """Euclidean distance of every joint from its ground truth, in millimetres."""
    distance: np.ndarray = np.linalg.norm(predicted_mm - true_mm, axis=-1)
    return distance


def mean_per_joint(
    errors_mm: Float[np.ndarray, "*batch 21"], valid: Float[np.ndarray, "*batch 21"]
) -> tuple[Float[np.ndarray, "21"], Int[np.ndarray, "21"]]:
    """Mean error of each joint over its valid instances, and their number; NaN for a joint without any."""
    seen = _instances(valid) > 0
    count = seen.sum(axis=0)
    total = np.where(seen, _instances(errors_mm), 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0), count


def mono_m(errors_mm: Float[np.ndarray, "*batch 21"], valid: Float[np.ndarray, "*batch 21"]) -> float:
    """Mono-M: the mean of the 21 joints' mean errors, both views pooled, in millimetres.

    Every joint has the same weight, however often it is seen; a joint that is never valid does not count. NaN without
    any valid joint.
    """
    return _mean_of_numbers(mean_per_joint(errors_mm, valid)[0])


def median_m(errors_mm: Float[np.ndarray, "*batch 21"], valid: Float[np.ndarray, "*batch 21"]) -> float:
    """Mean over the joints of their median error over valid instances, in millimetres."""
    seen, errors = _instances(valid) > 0, _instances(errors_mm)
    present = seen.any(axis=0)
    medians = np.nanmedian(np.where(seen, errors, np.nan)[:, present], axis=0) if present.any() else np.empty(0)
    return _mean_of_numbers(medians)


def pck_per_joint(
    errors_mm: Float[np.ndarray, "*batch 21"],
    valid: Float[np.ndarray, "*batch 21"],
    thresholds_mm: Float[np.ndarray, " thresholds"] = PCK_THRESHOLDS_MM,
) -> Float[np.ndarray, "21 thresholds"]:
    """Share of each joint's valid instances with an error of at most each threshold; NaN for a joint never valid."""
    seen, errors = _instances(valid) > 0, _instances(errors_mm)
    count = seen.sum(axis=0)[:, None]
    hits = ((errors[..., None] <= thresholds_mm) & seen[..., None]).sum(axis=0)
    return np.divide(hits, count, out=np.full(hits.shape, np.nan), where=count > 0)


def pck_curve(
    errors_mm: Float[np.ndarray, "*batch 21"],
    valid: Float[np.ndarray, "*batch 21"],
    thresholds_mm: Float[np.ndarray, " thresholds"] = PCK_THRESHOLDS_MM,
) -> Float[np.ndarray, " thresholds"]:
    """Percentage of correct key points (as a share) at each threshold: the mean over joints."""
    per_joint = pck_per_joint(errors_mm, valid, thresholds_mm)
    known = ~np.isnan(per_joint).any(axis=1)
    curve: np.ndarray = per_joint[known].mean(axis=0) if known.any() else np.full(len(thresholds_mm), np.nan)
    return curve


def auc(
    errors_mm: Float[np.ndarray, "*batch 21"],
    valid: Float[np.ndarray, "*batch 21"],
    thresholds_mm: Float[np.ndarray, " thresholds"] = PCK_THRESHOLDS_MM,
) -> float:
    """Area under the PCK curve from the first to the last threshold (20 to 50 mm), divided by their distance."""
    curve = pck_curve(errors_mm, valid, thresholds_mm)
    return float(np.trapezoid(curve, thresholds_mm) / (thresholds_mm[-1] - thresholds_mm[0]))


def merge_views(
    predicted_mm: Float[np.ndarray, "pairs 2 21 3"],
    valid: Float[np.ndarray, "pairs 2 21"],
    rotation_12: Float[np.ndarray, "*#pairs 3 3"],
) -> Float[np.ndarray, "pairs 2 21 3"]:
    """Each view's pose averaged with the other view's, rotated into its frame; a joint counts where its view sees it.

    View 1: mean of {p1, p2 R12^T}, view 2: mean of {p1 R12, p2}; a joint that neither view sees gets the plain mean.
    `rotation_12` is one matrix for all pairs or one for each.
    """
    pose_1, pose_2 = predicted_mm[:, 0], predicted_mm[:, 1]
    # Joint by joint, row 0: seen from view 1, row 1: from view 2.
    in_frame_1 = np.stack([pose_1, pose_2 @ np.swapaxes(rotation_12, -1, -2)], axis=1)
    in_frame_2 = np.stack([pose_1 @ rotation_12, pose_2], axis=1)
    weight = np.where(valid.sum(axis=1, keepdims=True) > 0, valid, 1.0)
    share = (weight / weight.sum(axis=1, keepdims=True))[..., None]
    return np.stack([(share * in_frame_1).sum(axis=1), (share * in_frame_2).sum(axis=1)], axis=1)


def dual_m(
    predicted_mm: Float[np.ndarray, "pairs 2 21 3"],
    true_mm: Float[np.ndarray, "pairs 2 21 3"],
    valid: Float[np.ndarray, "pairs 2 21"],
    rotation_12: Float[np.ndarray, "*#pairs 3 3"],
) -> float:
    """Dual-M: mean error of the merged poses over all valid joint instances of both views, in millimetres.

    Unlike Mono-M a micro average: a joint weighs as much as it is seen. NaN without any valid joint.
    """
    return mean_over_instances(joint_errors(merge_views(predicted_mm, valid, rotation_12), true_mm), valid)


def mean_over_instances(errors_mm: Float[np.ndarray, "*batch 21"], valid: Float[np.ndarray, "*batch 21"]) -> float:
    """Mean error over all valid joint instances (micro average), in millimetres; NaN without any."""
    return _mean_of_numbers(errors_mm[valid > 0])


def euler_angles(rotation: Float[np.ndarray, "*batch 3 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Angles about x, y and z in radians: (atan2(M21, M22), asin(-M20), atan2(M10, M00))."""
    sine = np.clip(-rotation[..., 2, 0], -1, 1)
    about_x = np.arctan2(rotation[..., 2, 1], rotation[..., 2, 2])
    about_z = np.arctan2(rotation[..., 1, 0], rotation[..., 0, 0])
    return np.stack([about_x, np.arcsin(sine), about_z], axis=-1)


def rotation_error_deg(rotation: Float[np.ndarray, "3 3"], true_rotation: Float[np.ndarray, "3 3"]) -> float:
    """Angle between rotations in degrees, by `|R - T|_F = 2 sqrt(2) sin(angle / 2)`."""
    chord = float(np.linalg.norm(rotation - true_rotation))
    return math.degrees(2 * math.asin(min(chord / math.sqrt(8), 1.0)))


def _instances(values: np.ndarray) -> np.ndarray:
    """All batch axes as one: (instances, 21)."""
    return values.reshape(-1, values.shape[-1])


def _mean_of_numbers(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan
