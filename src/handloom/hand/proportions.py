"""What the bones of a hand can measure: joints beyond this are placeholders, of another unit or of no hand."""

import numpy as np
from jaxtyping import Bool, Float

from handloom.geometry.bounds import DISTANCE_M, length_fault
from handloom.hand.joints import BONE, SNAP_BONES

NOMINAL_BONE_M = 0.095
"""Bone 0-9 of the embedded hand's mean shape: the size given to poses of networks that know none."""
_MEAN_BONE_M = (0.010, 0.150)
"""Of all 20 bones: a grown hand's measure 42 mm on average."""
_SCALE_BONE_M = (0.005, 0.400)
"""Bone 0-9, of which every scale is made: 95 mm."""
_LEAST_BONE_M = 1e-4
_PARENTS, _CHILDREN = (list(ends) for ends in zip(*SNAP_BONES, strict=True))
_SCALE_BONE = SNAP_BONES.index(BONE)


def in_one_point(joints: Float[np.ndarray, "hands 21 3"]) -> Bool[np.ndarray, " hands"]:
    """Which hands have all joints in one place, or none that is a number: placeholders, whatever the unit."""
    finite = np.isfinite(joints).all(axis=-1)
    spread = np.where(finite[..., None], joints, np.nan)
    first = np.take_along_axis(spread, np.argmax(finite, axis=-1)[..., None, None], axis=-2)
    together: np.ndarray = (~finite | (spread == first).all(axis=-1)).all(axis=-1)
    return together


def are_hands(
    joints_m: Float[np.ndarray, "hands 21 3"], valid: Float[np.ndarray, "hands 21"] | None = None
) -> Bool[np.ndarray, " hands"]:
    """Which joints have bones of a hand's lengths; of joints that are not `valid` only bone 0-9 is judged."""
    mean_m, scale_m, least_m = _measures(joints_m, valid)
    good: np.ndarray = (mean_m >= _MEAN_BONE_M[0]) & (mean_m <= _MEAN_BONE_M[1]) & (least_m >= _LEAST_BONE_M)
    good &= (scale_m >= _SCALE_BONE_M[0]) & (scale_m <= _SCALE_BONE_M[1])
    return good


def hand_fault(joints_m: Float[np.ndarray, "21 3"], valid: Float[np.ndarray, "21"] | None = None) -> str:
    """Why joints are those of no hand, with the unit that would explain it; "" for a hand."""
    hand, judged = joints_m[None], None if valid is None else valid[None]
    if are_hands(hand, judged).all():
        return ""
    mean_m, scale_m, least_m = (float(value[0]) for value in _measures(hand, judged))
    if not np.isfinite([mean_m, scale_m]).all():
        return "its joints are not finite"
    if in_one_point(hand).all():
        return f"all its joints are in one point, {joints_m[0].round(4).tolist()}: a hand without size, a placeholder?"
    told = length_fault(mean_m, _MEAN_BONE_M, "the mean length of its bones")
    told = told or length_fault(scale_m, _SCALE_BONE_M, "its bone from the wrist to the middle finger")
    return told or f"one of its bones is {1000 * least_m:.2g} mm long; expected a hand's"


def are_near(joints_cam_m: Float[np.ndarray, "hands 21 3"]) -> Bool[np.ndarray, " hands"]:
    """Which hands are not farther from the camera than a picture shows them."""
    near: np.ndarray = np.linalg.norm(joints_cam_m.mean(axis=-2), axis=-1) <= DISTANCE_M[1]
    return near


def nearness_fault(joints_cam_m: Float[np.ndarray, "21 3"]) -> str:
    """Why a hand is too far for any picture; "" where it is not."""
    away_m = float(np.linalg.norm(joints_cam_m.mean(axis=0)))
    return length_fault(away_m, (0.0, DISTANCE_M[1]), "its distance from the camera")


def _measures(
    joints_m: Float[np.ndarray, "hands 21 3"], valid: Float[np.ndarray, "hands 21"] | None
) -> tuple[Float[np.ndarray, " hands"], Float[np.ndarray, " hands"], Float[np.ndarray, " hands"]]:
    """Mean length of the judged bones, length of bone 0-9, and the least of the judged ones."""
    bones_m = np.linalg.norm(joints_m[..., _CHILDREN, :] - joints_m[..., _PARENTS, :], axis=-1)
    judged = np.ones(bones_m.shape, dtype=bool)
    if valid is not None:
        judged = (valid[..., _CHILDREN] > 0) & (valid[..., _PARENTS] > 0)
        judged |= ~judged.any(axis=-1, keepdims=True)
    mean_m = np.where(judged, bones_m, 0.0).sum(axis=-1) / judged.sum(axis=-1)
    return mean_m, bones_m[..., _SCALE_BONE], np.where(judged, bones_m, np.inf).min(axis=-1)
