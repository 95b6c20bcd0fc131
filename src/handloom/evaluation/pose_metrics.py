"""S2DHand's metrics: poses placed on the ground truth, Mono-M, Dual-M and the curves around them.

As in the released code: `utils/align.py` (global_align) places, `utils/eval/zimeval.py` makes Mono-M and AUC,
`calc_metrics.py` Dual-M. Placed poses are root-relative, in millimetres, rows `P2 ~ P1 @ R12`; validity is 0 or 1 per
joint; an axis of 2 holds the two views.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from handloom.hand.joints import BONE
from handloom.hand.proportions import NOMINAL_BONE_M

Joints = Float[np.ndarray, "*batch 21 3"]
OfJoints = Float[np.ndarray, "*batch 21"]
"""An error or a validity for each joint."""
PairJoints = Float[np.ndarray, "pairs 2 21 3"]
OfPairJoints = Float[np.ndarray, "pairs 2 21"]
PairRotations = Float[np.ndarray, "*#pairs 3 3"]
"""One matrix for all pairs or one for each."""
Thresholds = Float[np.ndarray, " thresholds"]

MM_PER_M = 1000
PCK_THRESHOLDS_MM = np.linspace(20.0, 50.0, 15)  # those of zimeval.py


class PlacedPoses(NamedTuple):
    """Root-relative poses in millimetres; the root's own error is zero by construction and counts in every mean."""

    predicted_mm: Joints
    true_mm: Joints


def place_on_ground_truth(predicted: Joints, true_m: Joints, root_joint: int) -> PlacedPoses:
    """Scale each prediction to the true bone 0-9 and move both roots to the origin; no rotation is fitted.

    `s (P - P[root])` with `s = |T9 - T0| / |P9 - P0|`, and `T - T[root]`. Predictions may have any unit, the truth is
    in metres.
    """
    prediction, truth = predicted.astype(np.float64), true_m.astype(np.float64)
    scale = MM_PER_M * bone_length(truth) / bone_length(prediction)
    return PlacedPoses(
        scale[..., None, None] * (prediction - prediction[..., [root_joint], :]),
        MM_PER_M * (truth - truth[..., [root_joint], :]),
    )


def bone_length(joints: Joints) -> Float[np.ndarray, "*batch"]:
    """Distance from the wrist to the base of the middle finger, in the joints' unit."""
    start, end = BONE
    length: np.ndarray = np.linalg.norm(joints[..., end, :] - joints[..., start, :], axis=-1)
    return length


def joint_errors(predicted_mm: Joints, true_mm: Joints) -> OfJoints:
    """Euclidean distance of every joint from its ground truth, in millimetres."""
    distance: np.ndarray = np.linalg.norm(predicted_mm - true_mm, axis=-1)
    return distance


def mean_per_joint(errors_mm: OfJoints, valid: OfJoints) -> tuple[Float[np.ndarray, "21"], Int[np.ndarray, "21"]]:
    """Mean error of each joint over its valid instances, and their number; NaN for a joint without any."""
    seen = _instances(valid) > 0
    count = seen.sum(axis=0)
    total = np.where(seen, _instances(errors_mm), 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0), count


def mono_m(errors_mm: OfJoints, valid: OfJoints) -> float:
    """Mono-M: the mean of the 21 joints' mean errors, both views pooled, in millimetres.

    Every joint has the same weight, however often it is seen; a joint that is never valid does not count. NaN without
    any valid joint.
    """
    return mean_of_known(mean_per_joint(errors_mm, valid)[0])


def median_m(errors_mm: OfJoints, valid: OfJoints) -> float:
    """Mean over the joints of their median error over valid instances, in millimetres."""
    seen, errors = _instances(valid) > 0, _instances(errors_mm)
    present = seen.any(axis=0)
    medians = np.nanmedian(np.where(seen, errors, np.nan)[:, present], axis=0) if present.any() else np.empty(0)
    return mean_of_known(medians)


def pck_curve(errors_mm: OfJoints, valid: OfJoints, thresholds_mm: Thresholds = PCK_THRESHOLDS_MM) -> Thresholds:
    """Percentage of correct key points (as a share) with an error of at most each threshold.

    The mean over joints of each joint's share of its valid instances; a joint never valid does not count.
    """
    seen, errors = _instances(valid) > 0, _instances(errors_mm)
    count = seen.sum(axis=0)
    if not count.any():
        return np.full(len(thresholds_mm), np.nan)
    hits = ((errors[..., None] <= thresholds_mm) & seen[..., None]).sum(axis=0)
    curve: np.ndarray = (hits[count > 0] / count[count > 0, None]).mean(axis=0)
    return curve


def auc(errors_mm: OfJoints, valid: OfJoints, thresholds_mm: Thresholds = PCK_THRESHOLDS_MM) -> float:
    """Area under the PCK curve from the first to the last threshold (20 to 50 mm), divided by their distance."""
    curve = pck_curve(errors_mm, valid, thresholds_mm)
    return float(np.trapezoid(curve, thresholds_mm) / (thresholds_mm[-1] - thresholds_mm[0]))


def merge_views(predicted_mm: PairJoints, valid: OfPairJoints, rotation_12: PairRotations) -> PairJoints:
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


def nominal_poses(joints: Joints, root_joint: int) -> Joints:
    """Predictions without a truth: root-relative, in millimetres, with bone 0-9 of nominal length."""
    poses = joints.astype(np.float64)
    scale = MM_PER_M * NOMINAL_BONE_M / bone_length(poses)
    relative: np.ndarray = scale[..., None, None] * (poses - poses[..., [root_joint], :])
    return relative


def views_apart(
    joints: PairJoints, root_joint: int, rotation_12: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, " pairs"]:
    """How far both views' poses are apart: the mean over the joints of |p1 R12 - p2|, in mm at the nominal size.

    It needs no label, and is no error: views can agree on a wrong pose.
    """
    poses_mm = nominal_poses(joints, root_joint)
    apart: np.ndarray = joint_errors(poses_mm[:, 0] @ rotation_12, poses_mm[:, 1]).mean(axis=-1)
    return apart


def dual_m(predicted_mm: PairJoints, true_mm: PairJoints, valid: OfPairJoints, rotation_12: PairRotations) -> float:
    """Dual-M: mean error of the merged poses over all valid joint instances of both views, in millimetres.

    Unlike Mono-M a micro average: a joint weighs as much as it is seen. NaN without any valid joint.
    """
    return mean_over_instances(joint_errors(merge_views(predicted_mm, valid, rotation_12), true_mm), valid)


def mean_over_instances(errors_mm: OfJoints, valid: OfJoints) -> float:
    """Mean error over all valid joint instances (micro average), in millimetres; NaN without any."""
    return mean_of_known(errors_mm[valid > 0])


def rotation_error_deg(rotation: Float[np.ndarray, "3 3"], true_rotation: Float[np.ndarray, "3 3"]) -> float:
    """Angle between rotations in degrees, by `|R - T|_F = 2 sqrt(2) sin(angle / 2)`."""
    chord = float(np.linalg.norm(rotation - true_rotation))
    return math.degrees(2 * math.asin(min(chord / math.sqrt(8), 1.0)))


def _instances(values: np.ndarray) -> np.ndarray:
    """All batch axes as one: (instances, 21)."""
    return values.reshape(-1, values.shape[-1])


def mean_of_known(values: np.ndarray) -> float:
    """Mean of the values that are not NaN; NaN without any."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan
