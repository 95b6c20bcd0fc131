"""Cross-view pseudo-labels: align two views' poses, merge them, refine them, combine both (S2DHand, Sec. 3.3)."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from handloom.adaptation.rotation_guided_refinement import Poses, RefinedPoses, refine_bfgs, refine_least_norm
from handloom.geometry.rotations import mean_rotation_unsigned, rotation_between
from handloom.hand.joints import BONE
from handloom.runtime.config.base import Fidelity

MergeMode = Literal["max", "soft", "average"]


class AlignedPoses(NamedTuple):
    """Root-relative poses of both views at the scale of view 1, and what undoes the alignment."""

    view_1: Poses
    view_2: Poses
    anchor_1: Float[Tensor, "batch 1 3"]
    anchor_2: Float[Tensor, "batch 1 3"]
    scale_2: Float[Tensor, "batch 1 1"]


class MergedPoses(NamedTuple):
    """The consensus pose in the frame of each view; `view_2 = view_1 @ rotation_12` joint by joint."""

    view_1: Poses
    view_2: Poses


class PseudoLabels(NamedTuple):
    """The poses that both views are taught, in network units of each view and the true (un-mirrored) frame."""

    view_1: Poses
    view_2: Poses
    aligned: AlignedPoses
    merged: MergedPoses
    refined: RefinedPoses
    common: Bool[Tensor, "batch 21"]
    """Joints valid in both views."""


def align_poses(poses_1: Poses, poses_2: Poses, root_joint: int) -> AlignedPoses:
    """q1 = e1 - e1[root]; q2 = s (e2 - e2[root]), with s the ratio of the views' bones 0-9."""
    anchor_1, anchor_2 = poses_1[:, root_joint, None], poses_2[:, root_joint, None]
    bone_1, bone_2 = (torch.linalg.vector_norm(e[:, BONE[1]] - e[:, BONE[0]], dim=-1) for e in (poses_1, poses_2))
    scale_2 = (bone_1 / bone_2)[:, None, None]
    return AlignedPoses(poses_1 - anchor_1, scale_2 * (poses_2 - anchor_2), anchor_1, anchor_2, scale_2)


def merge_weights(
    valid: Bool[Tensor, "2 batch 21"],
    confidence: Float[Tensor, "2 batch 21"],
    mode: MergeMode,
    *,
    sharpness: float = 1.0,
    ties: Literal["add", "average"] = "average",
) -> Float[Tensor, "2 batch 21"]:
    """Share of each view's candidate, joint by joint; a joint that neither view sees counts as seen by both.

    `max`: all to the view of larger confidence; a tie gives one half each, or 1 to both with `ties="add"`, the
    released code's quirk. `soft`: exp(sharpness * confidence) over the views that see the joint. `average`: equal
    shares.
    """
    seen = valid | ~valid.any(0)
    if mode == "max":
        score = seen * confidence
        raw = (score >= score.flip(0)).to(confidence.dtype)
        if ties == "add":
            return raw
    elif mode == "soft":
        raw = (sharpness * confidence).masked_fill(~seen, -torch.inf).softmax(0)
    else:
        raw = seen.to(confidence.dtype)
    return raw / (raw[0] + raw[1])


def merge_poses(
    poses_1: Poses, poses_2: Poses, rotation_12: Float[Tensor, "3 3"], weights: Float[Tensor, "2 batch 21"]
) -> MergedPoses:
    """w1 q1 + w2 q2 R12^T in the frame of view 1, and w1 q1 R12 + w2 q2 in the frame of view 2."""
    part_1, part_2 = weights[0].unsqueeze(-1) * poses_1, weights[1].unsqueeze(-1) * poses_2
    return MergedPoses(part_1 + part_2 @ rotation_12.T, part_1 @ rotation_12 + part_2)


def make_pseudo_labels(
    poses: Float[Tensor, "2 batch 21 3"],
    confidence: Float[Tensor, "2 batch 21"],
    valid: Bool[Tensor, "2 batch 21"],
    rotation_12: Float[Tensor, "3 3"],
    *,
    root_joint: int,
    consensus_weight: float,
    merge: MergeMode = "max",
    sharpness: float = 1.0,
    fidelity: Fidelity = "fixed",
) -> PseudoLabels:
    """y_v = anchor_v + (alpha c_v + (1 - alpha) r_v) / s_v from teacher poses in the true frame.

    c are the merged and r the refined poses, alpha is `consensus_weight`, s_1 = 1.
    `faithful`: ties are added, refinement by BFGS in float64, labels in float64.
    `fixed`: ties are averaged, refinement by the closed form, labels in the poses' precision.
    """
    aligned = align_poses(poses[0], poses[1], root_joint)
    faithful = fidelity == "faithful"
    dtype = torch.float64 if faithful else poses.dtype
    q1, q2, rotation = aligned.view_1.to(dtype), aligned.view_2.to(dtype), rotation_12.to(dtype)
    weights = merge_weights(valid, confidence, merge, sharpness=sharpness, ties="add" if faithful else "average")
    merged = merge_poses(q1, q2, rotation, weights.to(dtype))
    common = valid.all(0)
    if consensus_weight == 1:  # the refined poses would have no share in the label
        refined = RefinedPoses(q1, q2, torch.zeros_like(common[:, 0]))
    elif faithful:
        refined = refine_bfgs(q1, q2, common, rotation_12)
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
