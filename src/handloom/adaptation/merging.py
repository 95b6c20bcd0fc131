"""Attention-based merging: one consensus pose out of two views' poses (facts/s2dhand.md 3.4, step 2)."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

MergeMode = Literal["max", "soft", "average"]


class MergedPoses(NamedTuple):
    """The consensus pose in the frame of each view; `view_2 = view_1 @ rotation_12` joint by joint."""

    view_1: Float[Tensor, "batch 21 3"]
    view_2: Float[Tensor, "batch 21 3"]


def merge_weights(
    valid_1: Bool[Tensor, "batch 21"],
    valid_2: Bool[Tensor, "batch 21"],
    confidence_1: Float[Tensor, "batch 21"],
    confidence_2: Float[Tensor, "batch 21"],
    mode: MergeMode,
    *,
    sharpness: float = 1.0,
    ties: Literal["add", "average"] = "average",
) -> tuple[Float[Tensor, "batch 21"], Float[Tensor, "batch 21"]]:
    """Share of each view's candidate, joint by joint; a joint that neither view sees counts as seen by both.

    `max`: all to the view of larger confidence; a tie gives one half each, or 1 to both with `ties="add"`, the
    released code's quirk. `soft`: exp(sharpness * confidence) over the views that see the joint. `average`: equal
    shares.
    """
    neither = ~(valid_1 | valid_2)
    seen_1, seen_2 = valid_1 | neither, valid_2 | neither
    if mode == "max":
        score_1, score_2 = seen_1 * confidence_1, seen_2 * confidence_2
        raw_1, raw_2 = (score_1 >= score_2).to(confidence_1.dtype), (score_2 >= score_1).to(confidence_1.dtype)
        if ties == "add":
            return raw_1, raw_2
    elif mode == "soft":
        logits = sharpness * torch.stack([confidence_1, confidence_2])
        raw_1, raw_2 = logits.masked_fill(~torch.stack([seen_1, seen_2]), -torch.inf).softmax(0)
    else:
        raw_1, raw_2 = seen_1.to(confidence_1.dtype), seen_2.to(confidence_1.dtype)
    total = raw_1 + raw_2
    return raw_1 / total, raw_2 / total


def merge_poses(
    poses_1: Float[Tensor, "batch 21 3"],
    poses_2: Float[Tensor, "batch 21 3"],
    rotation_12: Float[Tensor, "3 3"],
    weights_1: Float[Tensor, "batch 21"],
    weights_2: Float[Tensor, "batch 21"],
) -> MergedPoses:
    """w1 q1 + w2 q2 R12^T in the frame of view 1, and w1 q1 R12 + w2 q2 in the frame of view 2."""
    part_1, part_2 = weights_1.unsqueeze(-1) * poses_1, weights_2.unsqueeze(-1) * poses_2
    return MergedPoses(part_1 + part_2 @ rotation_12.T, part_1 @ rotation_12 + part_2)
