"""Stage: one 3D pose of both views for every pair of frames, before and after adaptation."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from handloom.adaptation.merging import merge_weights
from handloom.datasets.frames_file import FramesFile, read_frames_file
from handloom.footage.hands_file import bone_lengths, poses_of, read_hands
from handloom.footage.learners import PairPoses
from handloom.footage.pair_rotation import read_rotation_12
from handloom.footage.pairing import read_pairs
from handloom.footage.poses_file import FootagePoses, write_poses
from handloom.footage.source_networks import load_adapted, pair_learner
from handloom.runtime.config.footage import FootagePairSettings, FootageSettings
from handloom.runtime.devices import computing_on

NOMINAL_BONE_M = 0.095
"""Bone 0-9 of the embedded hand's mean shape: the size given to poses of networks that know none."""


def fuse_poses(
    settings: FootageSettings,
    pair: FootagePairSettings,
    frames: tuple[Path, Path],
    frames_json: tuple[Path, Path],
    hands: tuple[Path, Path],
    pairs: Path,
    source: Path,
    adapted: Path,
    rotation: Path,
    poses_npz: Path,
    poses_json: Path,
    *,
    network: Any = None,
    device: str = "cpu",
    threads: int | None = None,
    code: str = "",
) -> None:
    """Write poses.npz and poses.json: the adapted network's poses of all pairs, and both views' fused.

    Before adaptation the poses are those of hands.npz, brought together by the first rotation. `network` replaces the
    adapted one. Raises InputError as the readers do.
    """
    seen = read_hands(hands[0])[0], read_hands(hands[1])[0]
    rows = read_pairs(pairs).rows
    with computing_on(device, threads):
        learner = pair_learner(settings, frames, seen, rows, pair.side, device)
        after = learner.poses((network or load_adapted(settings, adapted, source)).to(device))
    left, right = (poses_of(hand, index) for hand, index in zip(seen, rows, strict=True))
    before = PairPoses(left[0], right[0], left[1], right[1])
    metric = settings.backend == "mediapipe"
    listed = read_frames_file(frames_json[0]), read_frames_file(frames_json[1])
    poses = fused(
        settings, before, after, read_rotation_12(rotation, "start"), read_rotation_12(rotation), metric=metric
    )
    times = [np.array([file.times_s[row] for row in index]) for file, index in zip(listed, rows, strict=True)]
    names = [np.array([file.names[row] for row in index]) for file, index in zip(listed, rows, strict=True)]
    result = FootagePoses(
        index_left=rows[0],
        index_right=rows[1],
        names_left=names[0],
        names_right=names[1],
        times_left_s=times[0],
        times_right_s=times[1],
        **poses,
    )
    size = "the network's own size of each view, averaged" if metric else f"bone 0-9 set to {NOMINAL_BONE_M} m"
    write_poses(poses_npz, poses_json, result, _sources(listed), side=pair.side, size=size, code=code)


def fused(
    settings: FootageSettings,
    before: PairPoses,
    after: PairPoses,
    start_12: Float[Tensor, "3 3"],
    end_12: Float[Tensor, "3 3"],
    *,
    metric: bool,
) -> dict[str, np.ndarray]:
    """The arrays of `FootagePoses` that poses give: in metres, both at one size of the hand.

    The hand's size is the median of its bone 0-9 in both views and all pairs (metric), or nominal; each view's poses
    are brought to it by one factor, so that adaptation cannot look better by shrinking hands.
    """
    arrays: dict[str, np.ndarray] = {}
    bone_m = NOMINAL_BONE_M
    if metric:
        bone_m = float(np.median(np.concatenate([bone_lengths(j.numpy()) for j in (before.joints_1, before.joints_2)])))
    for poses, rotation_12, ending in ((before, start_12, "_before"), (after, end_12, "")):
        own = [
            joints * (bone_m / np.median(bone_lengths(joints.numpy()))) for joints in (poses.joints_1, poses.joints_2)
        ]
        arrays[f"joints_left{ending}_m"], arrays[f"joints_right{ending}_m"] = (joints.numpy() for joints in own)
        every = torch.ones_like(poses.confidence_1, dtype=torch.bool)
        weights = merge_weights(
            *(every, every, poses.confidence_1, poses.confidence_2, "soft"),
            sharpness=settings.adaptation.attention_sharpness,
        )
        in_left = own[0], own[1] @ rotation_12.T
        merged = sum((w[..., None] * joints for w, joints in zip(weights, in_left, strict=True)), torch.zeros(1))
        arrays[f"joints{ending}_m"] = merged.numpy()
        if not ending:
            arrays["confidence"] = torch.maximum(poses.confidence_1, poses.confidence_2).numpy()
        arrays[f"right_from_left{ending}"] = rotation_12.T.numpy()
    return arrays


def _sources(listed: tuple[FramesFile, FramesFile]) -> dict[str, str]:
    return {view: file.source for view, file in zip(("left", "right"), listed, strict=True)}
