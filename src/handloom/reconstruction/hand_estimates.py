"""Stage: a hand estimator over the frames of a video (facts/hold.md 1.3, 1.4)."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from handloom.datasets.mask_labels import LABEL_OF
from handloom.hand.joints import BONE
from handloom.hand.mano import HandModel
from handloom.reconstruction.detnet_hands import DetNetEstimator
from handloom.reconstruction.found_hands import FoundHands, HandEstimator
from handloom.reconstruction.hand_pose_space import PoseSpace, Skeleton
from handloom.reconstruction.hand_registration import ESTIMATES_KIND, OBJECT_POSES_KIND
from handloom.reconstruction.hand_squares import (
    FIELD_OF_BOX,
    SMALLEST_CROP_PX,
    HandFrame,
    HandSquares,
    box_squares,
    mask_squares,
    ray_rotations,
)
from handloom.reconstruction.handoccnet_hands import HandOccNetEstimator
from handloom.reconstruction.mediapipe_hands import MediapipeEstimator
from handloom.reconstruction.metro_hands import MetroEstimator
from handloom.runtime.artifacts import Header, write_arrays
from handloom.runtime.config.hand_tracking import HandEstimationSettings
from handloom.runtime.errors import InputError
from handloom.runtime.finite_arrays import read_finite_arrays
from handloom.runtime.progress import progress


def configured_estimator(
    settings: HandEstimationSettings, hand_model: HandModel, checkpoint: Path | None = None, device: str = "cpu"
) -> HandEstimator:
    """The network that `settings.backend` names; `checkpoint` replaces the configured file.

    Raises InputError when the file is missing or another network's, or when the network is made for another hand model.
    """
    if settings.backend == "metro":
        return MetroEstimator.of(settings.metro, hand_model, checkpoint, device)
    if settings.backend == "handoccnet":
        return HandOccNetEstimator.of(settings.handoccnet, hand_model, checkpoint, device)
    if settings.backend == "mediapipe":
        return MediapipeEstimator.of(settings.mediapipe, checkpoint, device)
    return DetNetEstimator.of(settings, checkpoint, device)


def keypoint_squares(found: FoundHands, before: HandSquares) -> HandSquares:
    """The squares about the key points just found, at most half or double the size of those before.

    A mask's box may include the forearm, or miss the fingers behind the object.
    """
    keypoints = found.keypoints_px.numpy()
    low, high = keypoints.min(1), keypoints.max(1)
    side = np.clip(FIELD_OF_BOX * (high - low).max(1), 0.5 * before.side_px, 2.0 * before.side_px)
    return HandSquares((low + high) / 2, np.maximum(side, SMALLEST_CROP_PX))


def nominal_bone_m(hand_model: HandModel) -> float:
    """Length of the bone from wrist to middle finger of the model's mean shape, metres."""
    space, skeleton = PoseSpace.of(hand_model), Skeleton.of(hand_model)
    rotations = torch.cat([torch.eye(3, dtype=torch.float64)[None], space.rotations(space.mean_rad)])
    keypoints = skeleton.keypoints_m(rotations, skeleton.shapedirs.new_zeros(skeleton.shapedirs.shape[-1]))
    return float(torch.linalg.vector_norm(keypoints[BONE[1]] - keypoints[BONE[0]]))


def estimate_hands(
    settings: HandEstimationSettings,
    hand_model: HandModel,
    frames: Path,
    masks: Path | None,
    checkpoint: Path | None,
    object_poses: Path | None,
    output: Path,
    *,
    boxes_px: Float[np.ndarray, "frames 4"] | None = None,
    estimator: HandEstimator | None = None,
    device: str = "cpu",
    code: str = "",
) -> None:
    """Stage: write hand_estimates.npz for the frames (*.png, in the order of their names).

    `boxes_px` replaces the masks as the first place to look, `checkpoint` the configured one. The camera is that of
    `object_poses`; without it joints stay in the axes of the crops. Joints have a nominal size; meshes of networks that
    give them (`vertices_cam`) keep the size that the network sees. Frames without a hand are counted, listed and
    `False` in `found`. Raises InputError when their share exceeds `missing_fraction`, when frames and masks do not
    belong together, and as `configured_estimator`, before anything else is read.
    """
    if masks is None and boxes_px is None:
        raise InputError(f"{frames}: neither masks nor boxes of the hand are given; expected one of them")
    network = estimator or configured_estimator(settings, hand_model, checkpoint, device)
    images = _matched(frames, masks)
    if boxes_px is not None and len(boxes_px) != len(images):
        raise InputError(f"{frames}: has {len(images)} frames, but {len(boxes_px)} boxes are given; expected one each")
    given = [] if masks is None else [masks / path.name for path in images]
    squares = (
        mask_squares(given, settings.side, settings.smallest_mask_px, settings.object_reach)
        if boxes_px is None
        else box_squares(boxes_px)
    )
    shown = np.isfinite(squares.centre_px).all(1) & np.isfinite(squares.side_px)
    _check_share(settings, frames, shown)
    chosen = [
        HandFrame(path, None if masks is None else masks / path.name)
        for path, is_shown in zip(images, shown, strict=True)
        if is_shown
    ]
    here = HandSquares(squares.centre_px[shown], squares.side_px[shown])
    found, here = _looked_at_again(settings, network, chosen, here)
    sure = found.confidence.mean(1).numpy() >= settings.lowest_confidence
    seen = np.zeros(len(images), dtype=bool)
    seen[shown] = sure
    _check_share(settings, frames, seen)
    joints = found.joints.double()
    vertices = None if found.vertices_m is None else found.vertices_m.double()
    if object_poses is not None:
        camera = read_finite_arrays(object_poses, OBJECT_POSES_KIND, ("intrinsics",))[0]["intrinsics"]
        looked_at = here.centre_px if found.looked_at_px is None else found.looked_at_px.double().numpy()
        turns = ray_rotations(looked_at, camera.astype(np.float64)).mT
        joints = joints @ turns
        vertices = None if vertices is None else vertices @ turns
    bone = torch.linalg.vector_norm(joints[:, BONE[1]] - joints[:, BONE[0]], dim=-1).median()
    joints = (joints - joints[:, :1]) * (nominal_bone_m(hand_model) / bone)
    arrays = {
        "joints_cam": _spread(joints, shown & seen, shown),
        "keypoints_px": _spread(found.keypoints_px, shown & seen, shown),
        "confidence": np.nan_to_num(_spread(found.confidence, shown & seen, shown)),
        "found": seen,
    }
    if vertices is not None:
        arrays["vertices_cam"] = _spread(vertices, shown & seen, shown)
    missing = int((~seen).sum())
    listed = (
        f" ({', '.join(path.stem for path, good in zip(images, seen, strict=True) if not good)})" if missing else ""
    )
    print(f"hand found in {len(seen) - missing} of {len(seen)} frames{listed}", file=sys.stderr)
    extra = {"backend": settings.backend, "side": settings.side, "missing": str(missing)}
    write_arrays(output, arrays, Header(ESTIMATES_KIND, "m, px", "camera", "SNAP", code=code, extra=extra))


def _looked_at_again(
    settings: HandEstimationSettings, network: HandEstimator, frames: Sequence[HandFrame], squares: HandSquares
) -> tuple[FoundHands, HandSquares]:
    """Passes of the network, each about the key points of the one before."""
    found = network(frames, squares, settings.side)
    for _ in progress(range(settings.passes - 1), "estimate hands"):
        squares = keypoint_squares(found, squares)
        found = network(frames, squares, settings.side)
    return found, squares


def _matched(frames: Path, masks: Path | None) -> list[Path]:
    images = sorted(frames.glob("*.png"))
    if not images:
        raise InputError(f"{frames}: holds no PNG frames; run the rule that extracts them")
    if masks is not None:
        absent = [path.name for path in images if not (masks / path.name).is_file()]
        if absent:
            raise InputError(
                f"{masks}: lacks the masks of {len(absent)} frames ({', '.join(absent[:5])}); expected one PNG of the "
                "same name per frame"
            )
    return images


def _check_share(settings: HandEstimationSettings, frames: Path, found: Bool[np.ndarray, " frames"]) -> None:
    missing = np.flatnonzero(~found)
    if len(missing) > settings.missing_fraction * len(found) or len(missing) == len(found):
        listed = ", ".join(map(str, missing[:12].tolist()))
        raise InputError(
            f"{frames}: no {settings.side} hand in {len(missing)} of {len(found)} frames (frames {listed}, ...), more "
            f"than estimation.missing_fraction = {settings.missing_fraction} allows; check that masks label the "
            f"{settings.side} hand {LABEL_OF[settings.side]}, or set `side`"
        )


def _spread(
    values: Float[Tensor, "chosen ..."], kept: Bool[np.ndarray, " frames"], shown: Bool[np.ndarray, " frames"]
) -> np.ndarray:
    """Rows of the shown frames among all frames, NaN elsewhere and where a hand was not kept."""
    rows = np.full((len(shown), *values.shape[1:]), np.nan, np.float32)
    rows[shown] = values.numpy()
    rows[~kept] = np.nan
    return rows
