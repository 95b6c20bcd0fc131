"""Cross-view pseudo-labels: align two views' poses, merge them, refine them, combine both (facts/s2dhand.md 3.4)."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from handloom.adaptation.merging import MergedPoses, MergeMode, merge_poses, merge_weights
from handloom.adaptation.refinement import RefinedPoses, refine_bfgs, refine_least_norm
from handloom.geometry.rotations import mean_rotation_unsigned, rotation_between

BONE = (0, 9)
"""The bone, wrist to middle finger, that fixes the scale of view 2."""

Fidelity = Literal["faithful", "fixed"]


class AlignedPoses(NamedTuple):
    """Root-relative poses of both views at the scale of view 1, and what undoes the alignment."""

    view_1: Float[Tensor, "batch 21 3"]
    view_2: Float[Tensor, "batch 21 3"]
    anchor_1: Float[Tensor, "batch 1 3"]
    anchor_2: Float[Tensor, "batch 1 3"]
    scale_2: Float[Tensor, "batch 1 1"]


class PseudoLabels(NamedTuple):
    """The poses that both views are taught, in network units of each view and the true (un-mirrored) frame."""

    view_1: Float[Tensor, "batch 21 3"]
    view_2: Float[Tensor, "batch 21 3"]
    aligned: AlignedPoses
    merged: MergedPoses
    refined: RefinedPoses
    common: Bool[Tensor, "batch 21"]
    """Joints valid in both views."""


def align_poses(
    poses_1: Float[Tensor, "batch 21 3"], poses_2: Float[Tensor, "batch 21 3"], root_joint: int
) -> AlignedPoses:
    """q1 = e1 - e1[root]; q2 = s (e2 - e2[root]), with s the ratio of the views' bones 0-9."""
    anchor_1, anchor_2 = poses_1[:, root_joint, None], poses_2[:, root_joint, None]
    bone_1, bone_2 = (torch.linalg.vector_norm(e[:, BONE[1]] - e[:, BONE[0]], dim=-1) for e in (poses_1, poses_2))
    scale_2 = (bone_1 / bone_2)[:, None, None]
    return AlignedPoses(poses_1 - anchor_1, scale_2 * (poses_2 - anchor_2), anchor_1, anchor_2, scale_2)


def make_pseudo_labels(
    poses_1: Float[Tensor, "batch 21 3"],
    poses_2: Float[Tensor, "batch 21 3"],
    confidence_1: Float[Tensor, "batch 21"],
    confidence_2: Float[Tensor, "batch 21"],
    valid_1: Bool[Tensor, "batch 21"],
    valid_2: Bool[Tensor, "batch 21"],
    rotation_12: Float[Tensor, "3 3"],
    *,
    root_joint: int,
    consensus_weight: float,
    merge: MergeMode = "max",
    sharpness: float = 1.0,
    fidelity: Fidelity = "fixed",
    analytic_gradient: bool = False,
) -> PseudoLabels:
    """y_v = anchor_v + (alpha c_v + (1 - alpha) r_v) / s_v from teacher poses in the true frame.

    c are the merged and r the refined poses, alpha is `consensus_weight`, s_1 = 1.
    `faithful`: ties are added, refinement by BFGS in float64 (`analytic_gradient` makes it faster), labels in float64.
    `fixed`: ties are averaged, refinement by the closed form, labels in the poses' precision.
    """
    aligned = align_poses(poses_1, poses_2, root_joint)
    faithful = fidelity == "faithful"
    dtype = torch.float64 if faithful else poses_1.dtype
    q1, q2, rotation = aligned.view_1.to(dtype), aligned.view_2.to(dtype), rotation_12.to(dtype)
    weights = merge_weights(
        valid_1, valid_2, confidence_1, confidence_2, merge, sharpness=sharpness, ties="add" if faithful else "average"
    )
    merged = merge_poses(q1, q2, rotation, *(weight.to(dtype) for weight in weights))
    common = valid_1 & valid_2
    if consensus_weight == 1:  # the refined poses would have no share in the label
        refined = RefinedPoses(q1, q2, torch.zeros_like(common[:, 0]))
    elif faithful:
        refined = refine_bfgs(q1, q2, common, rotation_12, analytic_gradient=analytic_gradient)
    else:
        refined = refine_least_norm(q1, q2, common, rotation_12)
    combined_1, combined_2 = (
        consensus_weight * c + (1 - consensus_weight) * r
        for c, r in ((merged.view_1, refined.view_1), (merged.view_2, refined.view_2))
    )
    return PseudoLabels(
        combined_1 + aligned.anchor_1,
        combined_2 / aligned.scale_2 + aligned.anchor_2,
        aligned,
        merged,
        refined,
        common,
    )


def label_rotation(labels: PseudoLabels) -> Float[Tensor, "3 3"]:
    """R' of the released code: unsigned mean over the batch of rot(y1, y2), from the labels with their anchors."""
    each = rotation_between(labels.view_1, labels.view_2, labels.common.to(labels.view_1.dtype), proper=False)
    return mean_rotation_unsigned(each)


def mirror_left(poses: Float[Tensor, "batch 21 3"], is_left: Bool[Tensor, " batch"]) -> Float[Tensor, "batch 21 3"]:
    """Negate x of left hands: from the mirrored frame that the network sees to the true one, and back."""
    sign = torch.ones_like(poses[:, 0])
    sign[:, 0] = torch.where(is_left, -1.0, 1.0).to(poses.dtype)
    return poses * sign[:, None]
