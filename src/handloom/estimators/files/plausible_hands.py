"""Whether hands from files can be what they are taken for: bones of a hand in metres and in SNAP's order, of the right
side, seen where the masks show it.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float64

from handloom.datasets.masks import LABEL_OF, OBJECT
from handloom.geometry.bounds import length_fault
from handloom.hand.joints import (
    JOINT_COUNT,
    MANO21_FROM_SNAP,
    MIRROR,
    SNAP_BONES,
    SNAP_FROM_ASSEMBLY_HANDS,
    SNAP_FROM_MANO21,
    SNAP_FROM_RHD,
    Side,
)
from handloom.hand.mano import skin
from handloom.hand.models import open_hand
from handloom.hand.proportions import are_hands, hand_fault
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_grey

_ORDERS = {
    "MANO's (wrist, index, middle, pinky, ring, thumb, tips)": SNAP_FROM_MANO21,
    "AssemblyHands' and InterHand2.6M's (fingers from their tips, the wrist last)": SNAP_FROM_ASSEMBLY_HANDS,
    "RHD's (the wrist, fingers from their tips)": SNAP_FROM_RHD,
    "OpenPose's (the wrist, fingers from their bases, thumb first), where MANO's was expected": MANO21_FROM_SNAP,
    "from the little finger to the thumb": (
        0,
        *(1 + 4 * finger + joint for finger in range(4, -1, -1) for joint in range(4)),
    ),
}
"""Other orders that joints may have been in: what gathers SNAP's from how they were then taken."""
_MOST_ODD = 0.25
"""Mean difference of bones' lengths from a hand's, as a logarithm: of 2000 poses and shapes at most 0.14."""
_BETTER = 0.7
"""An order explains the bones, or the key points, where it leaves less than so much of that difference."""
_MOST_FLAT_ERROR = 0.12
"""Of key points and joints laid over each other by a shift and a scale, over the hand's extent."""
_CLEARLY = 1.08
"""The other side's hand fits so much better: of 2000 random poses of a right hand none is misjudged, and 90 % of those
of a left one are told (2026-11-30)."""
_REACH = 0.2
"""Key points lie on hand or object, or so near to them in shares of the hand's extent."""
_LEAST_ON_MASK = 0.5
_MESH_SIZE_M = (0.04, 0.4)
_PARENTS, _CHILDREN = (list(ends) for ends in zip(*SNAP_BONES, strict=True))


def require_hands(
    where: Path,
    joints_m: Float64[np.ndarray, "hands 21 3"],
    keypoints_px: Float64[np.ndarray, "hands 21 2"],
    side: Side,
) -> None:
    """Raise InputError unless most hands have a hand's bones, in metres and in order, and are of the side.

    What was found is told with the unit or the order that would explain it.
    """
    good = are_hands(joints_m)
    if good.mean() < 0.5:
        fault = hand_fault(joints_m[int(np.argmin(good))])
        raise InputError(f"{where}: {(~good).sum()} of {len(good)} hands are none: {fault}; save joints in metres")
    joints, keypoints = joints_m[good], keypoints_px[good]
    if fault := _order_fault(joints):
        raise InputError(f"{where}: the bones of its joints are not a hand's in the order that was expected: {fault}")
    if fault := _flat_fault(joints, keypoints):
        raise InputError(f"{where}: its 2D joints are not where its 3D joints are: {fault}")
    if is_clearly_of_other(joints, side):
        other = "left" if side == "right" else "right"
        raise InputError(
            f"{where}: its joints are a {other} hand's, though it calls them a {side} one's; save left hands as the "
            "tool's demo does: their points' x with the other sign, their parameters as they are, and is_right 0"
        )


def require_size(where: Path, vertices_m: Float64[np.ndarray, "hands vertices 3"]) -> None:
    """Raise InputError unless meshes are as large as hands."""
    extent = float(np.median(np.ptp(vertices_m, axis=1).max(1)))
    if fault := length_fault(extent, _MESH_SIZE_M, "the longest side of its meshes"):
        raise InputError(f"{where}: {fault}; save meshes in metres")


def _order_fault(joints: Float64[np.ndarray, "hands 21 3"]) -> str:
    """Which order the joints seem to have; "" for SNAP's."""
    own = _oddness(joints)
    others = {name: _oddness(joints[:, list(order)]) for name, order in _ORDERS.items()}
    best = min(others, key=lambda name: others[name])
    if others[best] < _BETTER * own and others[best] < _MOST_ODD:
        return f"they are in another one, {best}"
    return f"they differ by {np.expm1(own):.0%} on average" if own > _MOST_ODD else ""


def _oddness(joints: Float64[np.ndarray, "hands 21 3"]) -> float:
    """Mean |log| of median bone lengths over those of a hand at rest, whatever the size."""
    lengths = np.linalg.norm(joints[:, _CHILDREN] - joints[:, _PARENTS], axis=-1)
    ratio = np.median(np.log(np.maximum(lengths, 1e-6) / _nominal_m()), axis=0)
    return float(np.abs(ratio - np.median(ratio)).mean())


def _nominal_m() -> Float64[np.ndarray, " bones"]:
    hand = open_hand()
    zeros = torch.zeros(16, 3), torch.zeros(hand.shape_count), torch.zeros(3)
    joints = skin(hand, pose_rotvec=zeros[0], shape=zeros[1], translation_m=zeros[2]).keypoints_m.double().numpy()
    return np.asarray(np.linalg.norm(joints[_CHILDREN] - joints[_PARENTS], axis=-1))


def _flat_fault(joints: Float64[np.ndarray, "hands 21 3"], keypoints: Float64[np.ndarray, "hands 21 2"]) -> str:
    own = _flat_error(joints, keypoints)
    if own <= _MOST_FLAT_ERROR:
        return ""
    others = {name: _flat_error(joints, keypoints[:, list(order)]) for name, order in _ORDERS.items()}
    best = min(others, key=lambda name: others[name])
    if others[best] < _BETTER * own:
        return f"they are in another order, {best}"
    return f"they are {own:.0%} of the hand's extent apart on average; give both of the same pictures, and in pixels"


def _flat_error(joints: Float64[np.ndarray, "hands 21 3"], keypoints: Float64[np.ndarray, "hands 21 2"]) -> float:
    """Median over hands of the mean distance after the best shift and scale, in shares of the key points' extent."""
    flat = joints[..., :2] - joints[..., :2].mean(1, keepdims=True)
    seen = keypoints - keypoints.mean(1, keepdims=True)
    scale = (flat * seen).sum((1, 2)) / (flat**2).sum((1, 2)).clip(1e-12)
    apart = np.linalg.norm(seen - scale[:, None, None] * flat, axis=-1).mean(1)
    return float(np.median(apart / np.ptp(seen, axis=1).max(1).clip(1e-9)))


def is_clearly_of_other(joints: Float64[np.ndarray, "hands 21 3"], side: Side) -> bool:
    """Whether the other side's hand in its mean pose can be turned onto the joints clearly better, by all of them."""
    hand = open_hand()
    pose = torch.cat([torch.zeros(3), hand.hands_mean]).unflatten(0, (16, 3))
    zeros = torch.zeros(hand.shape_count), torch.zeros(3)
    mean = skin(hand, pose_rotvec=pose, shape=zeros[0], translation_m=zeros[1]).keypoints_m.double().numpy()
    right = mean - mean.mean(0)
    own, other = (right, right * MIRROR) if side == "right" else (right * MIRROR, right)
    centred = joints - joints.mean(1, keepdims=True)
    return bool(_turned_onto(centred, other).sum() > _CLEARLY * _turned_onto(centred, own).sum())


def _turned_onto(
    joints: Float64[np.ndarray, "hands 21 3"], model: Float64[np.ndarray, "21 3"]
) -> Float64[np.ndarray, " hands"]:
    """max over rotations R of sum joints . R model: the larger the better they fit (Umeyama 1991)."""
    spread = joints.swapaxes(1, 2) @ model
    values = np.linalg.svd(spread, compute_uv=False)
    return np.asarray(values[:, 0] + values[:, 1] + np.sign(np.linalg.det(spread)) * values[:, 2])


def share_on_mask(
    mask: Path, keypoints_px: Float64[np.ndarray, "hands 21 2"], side: Side
) -> Float64[np.ndarray, " hands"] | None:
    """Which share of each hand's key points a mask shows as hand or object, or near them; None without the hand."""
    labels = read_grey(mask)
    if not (labels == LABEL_OF[side]).any():
        return None
    held = (labels == LABEL_OF[side]) | (labels == OBJECT)
    distance = cv2.distanceTransform((~held).astype(np.uint8), cv2.DIST_L2, 3)
    corner = np.array(labels.shape[::-1]) - 1
    inside = np.clip(np.nan_to_num(keypoints_px), 0, corner)
    beyond = np.linalg.norm(keypoints_px - inside, axis=-1)
    x, y = np.moveaxis(inside.round().astype(int), -1, 0)
    reach = _REACH * np.ptp(keypoints_px, axis=1).max(1)
    return np.asarray(((distance[y, x] + beyond) <= reach[:, None]).sum(1) / JOINT_COUNT)


def require_on_masks(where: Path, shares: Sequence[float], side: Side) -> None:
    """Raise InputError where most hands lie elsewhere than masks show the hand."""
    if shares and float(np.median(shares)) < _LEAST_ON_MASK:
        off = int((np.array(shares) < _LEAST_ON_MASK).sum())
        raise InputError(
            f"{where}: {off} of {len(shares)} hands do not lie where the masks show the {side} hand; expected most of "
            f"their key points on it or on the object; check that they are of these pictures, at this size and by "
            "their names, and of the same hand"
        )
