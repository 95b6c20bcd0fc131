"""Stage: a hand estimator over the frames of a video (facts/hold.md 1.3, 1.4)."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, UInt8
from scipy.spatial.transform import Rotation
from torch import Tensor

from handloom.datasets.mask_labels import LABEL_OF
from handloom.estimators.detnet.checkpoint import load_checkpoint
from handloom.estimators.detnet.network import DetNet
from handloom.estimators.detnet.prediction import network_input
from handloom.estimators.detnet.readout import read_out
from handloom.hand.joints import BONE, Side
from handloom.hand.mano import HandModel
from handloom.reconstruction.hand_pose_space import PoseSpace, Skeleton
from handloom.reconstruction.hand_registration import ESTIMATES_KIND, OBJECT_POSES_KIND
from handloom.reconstruction.hand_squares import (
    FIELD_OF_BOX,
    GREY,
    SMALLEST_CROP_PX,
    Blank,
    HandFrame,
    HandSquares,
    box_squares,
    mask_squares,
    ray_rotations,
    turned_crops,
)
from handloom.runtime.artifacts import Header, write_arrays
from handloom.runtime.assets import checkpoint_path
from handloom.runtime.config.hand_tracking import HandEstimationSettings
from handloom.runtime.errors import InputError
from handloom.runtime.finite_arrays import read_finite_arrays
from handloom.runtime.progress import progress

_HEAT_REACH_CELLS = 2
_LARGEST_TURN_RAD, _ZOOM = math.radians(60.0), 0.1


class FoundHands(NamedTuple):
    """What an estimator finds in each square, true to the image: left hands are not mirrored any more."""

    joints: Float[Tensor, "frames 21 3"]
    """SNAP, of any size and origin, along the axes of a camera that looks at the square's centre."""
    keypoints_px: Float[Tensor, "frames 21 2"]
    """In the full image."""
    confidence: Float[Tensor, "frames 21"]


@runtime_checkable
class HandEstimator(Protocol):
    """A network that finds the 21 joints of a hand in a square of an image."""

    def __call__(self, frames: Sequence[HandFrame], squares: HandSquares, side: Side) -> FoundHands:
        """Joints of the frames' hands; every square is finite."""
        ...


@dataclass(frozen=True)
class DetNetEstimator:
    """DetNet on RGB crops; the mean over turned and zoomed views of a crop steadies its answer."""

    network: DetNet
    views: int
    blank: Blank
    batch_size: int
    device: str = "cpu"

    @classmethod
    def of(
        cls, settings: HandEstimationSettings, checkpoint: Path | None = None, device: str = "cpu"
    ) -> "DetNetEstimator":
        """The configured network, filled from its checkpoint; raises InputError as `load_checkpoint` does."""
        path = checkpoint or checkpoint_path(settings.checkpoint)
        network = load_checkpoint(path, settings.detnet, settings.root_joint).to(device)
        return cls(network, settings.views, settings.blank, settings.batch_size, device)

    def __call__(self, frames: Sequence[HandFrame], squares: HandSquares, side: Side) -> FoundHands:
        size = self.network.settings.input_px
        turns, zooms = _view_turns(self.views)
        border = 0 if self.blank == "nothing" else GREY
        views = [
            turned_crops(frame.picture(self.blank), centre, float(extent), size, turns, zooms, border)
            for frame, centre, extent in zip(frames, squares.centre_px, squares.side_px, strict=True)
        ]
        images = np.concatenate([crops for crops, _ in views])
        is_left = side == "left"
        shape = (len(frames), self.views)
        joints, shares, confidence = (
            value.unflatten(0, shape) for value in self._predict(images[:, :, ::-1] if is_left else images)
        )
        if is_left:
            shares = torch.stack([1.0 - shares[..., 0], shares[..., 1]], -1)
            joints = joints * joints.new_tensor([-1.0, 1.0, 1.0])
        maps = torch.from_numpy(np.stack([matrices for _, matrices in views]))
        in_crop = size * shares - 0.5
        keypoints = (in_crop - maps[..., None, :, 2]) @ torch.linalg.inv(maps[..., :2]).mT
        turn = torch.from_numpy(Rotation.from_euler("z", turns[:, None]).as_matrix())
        # Row vectors: x @ R turns by the inverse of R, back to the image's axes.
        weight = confidence.square()[..., None]
        mean_joints = _weighted_mean((joints - joints[..., :1, :]) @ turn, weight)
        return FoundHands(mean_joints, _weighted_mean(keypoints, weight), confidence.mean(1).clamp(0.0, 1.0))

    def _predict(self, images: UInt8[np.ndarray, "n px px 3"]) -> tuple[Tensor, Tensor, Tensor]:
        """Joints, key points as shares of the crop's side, and confidence, of right hands."""
        results = []
        with torch.no_grad():
            for batch in torch.from_numpy(np.ascontiguousarray(images)).split(self.batch_size):
                maps = self.network(network_input(batch.to(self.device)))
                found = read_out(maps)
                results.append((found.joints.cpu(), heat_centres(maps.heat).cpu(), found.confidence.cpu()))
        joints, cells, confidence = (torch.cat(values).double() for values in zip(*results, strict=True))
        return joints, cells, confidence


def _weighted_mean(
    values: Float[Tensor, "frames views 21 d"], weight: Float[Tensor, "frames views 21 1"]
) -> Float[Tensor, "frames 21 d"]:
    return (weight * values).sum(1) / weight.sum(1).clamp_min(1e-9)


def _view_turns(views: int) -> tuple[Float64[np.ndarray, " views"], Float64[np.ndarray, " views"]]:
    """Turn (radians) and zoom of each view: evenly over the range that DetNet is trained on, close and wide in turn."""
    if views == 1:
        return np.zeros(1), np.ones(1)
    return np.linspace(-_LARGEST_TURN_RAD, _LARGEST_TURN_RAD, views), 1.0 + _ZOOM * (-1.0) ** np.arange(views)


def heat_centres(heat: Float[Tensor, "batch 21 rows cols"]) -> Float[Tensor, "batch 21 2"]:
    """Key points as shares (x, y) of the map's side: the centre of squared heat in the 5 x 5 cells about its peak.

    The squared heat suppresses the floor. On 240 rendered images the mean error falls from 20.6 px (the peak's own
    cell) to 16.0 px, in crops of 256 px. A target of
    cell k stands for key points from k to k + 1, hence the half cell.
    """
    rows, columns = heat.shape[-2:]
    peak = heat.flatten(2).argmax(-1)
    row, column = torch.arange(rows, device=heat.device), torch.arange(columns, device=heat.device)
    near_row = ((row - (peak // columns)[..., None]).abs() <= _HEAT_REACH_CELLS)[..., :, None]
    near_column = ((column - (peak % columns)[..., None]).abs() <= _HEAT_REACH_CELLS)[..., None, :]
    mass = heat.square() * near_row * near_column
    total = mass.sum((-1, -2)).clamp_min(1e-12)
    x = (mass.sum(-2) * column).sum(-1) / total
    y = (mass.sum(-1) * row).sum(-1) / total
    return torch.stack([(x + 0.5) / columns, (y + 0.5) / rows], -1)


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
    `object_poses`; without it joints stay in the axes of the crops. Frames without a hand are counted, listed and
    `False` in `found`. Raises InputError when their share exceeds `missing_fraction`, and when frames and masks do not
    belong together.
    """
    if masks is None and boxes_px is None:
        raise InputError(f"{frames}: neither masks nor boxes of the hand are given; expected one of them")
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
    network = estimator or DetNetEstimator.of(settings, checkpoint, device)
    found, here = _looked_at_again(settings, network, chosen, here)
    sure = found.confidence.mean(1).numpy() >= settings.lowest_confidence
    seen = np.zeros(len(images), dtype=bool)
    seen[shown] = sure
    _check_share(settings, frames, seen)
    joints = found.joints.double()
    if object_poses is not None:
        camera = read_finite_arrays(object_poses, OBJECT_POSES_KIND, ("intrinsics",))[0]["intrinsics"]
        joints = joints @ ray_rotations(here.centre_px, camera.astype(np.float64)).mT
    bone = torch.linalg.vector_norm(joints[:, BONE[1]] - joints[:, BONE[0]], dim=-1).median()
    joints = (joints - joints[:, :1]) * (nominal_bone_m(hand_model) / bone)
    arrays = {
        "joints_cam": _spread(joints, shown & seen, shown),
        "keypoints_px": _spread(found.keypoints_px, shown & seen, shown),
        "confidence": np.nan_to_num(_spread(found.confidence, shown & seen, shown)),
        "found": seen,
    }
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
