"""HOLD's metrics of hand and object: MPJPE, CD, F-scores, CD_h and MRRPE, for all frames at once.

As HOLD's `code/src/utils/eval_modules.py` computes them. Everything is in the OpenCV camera's frame, in metres; results
are in millimetres, cm2 and percent. A frame that is not valid in the ground truth, or failed in the prediction, is NaN,
so that `numpy.nanmean` is the reference's mean. Hands hold 21 joints in any order that starts with the wrist.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

Joints = Float[np.ndarray, "frames 21 3"]
Points = Float[np.ndarray, "frames 3"]
PerFrame = Float[np.ndarray, " frames"]
Chosen = Bool[np.ndarray, " frames"]

WRIST = 0
SUBSET, SUBSET_SEED = 3000, 1
"""How many vertices at most HOLD compares in a frame, and what it seeds their choice with."""
_F_EPSILON = 1e-7  # the reference's, against 0 / 0
_MM_PER_M, _CM_PER_M, _CM2_PER_M2 = 1e3, 1e2, 1e4
_APART_M = 1.0e3
"""How far frames are put from each other along a fourth axis: no nearest neighbour is ever of another frame."""


@dataclass(frozen=True)
class FramePoints:
    """Points of many frames in one array, frame after frame, in metres; a failed frame has no rows or NaN.

    Frame t owns rows `starts[t]` to `starts[t + 1]`.
    """

    points_m: Float[np.ndarray, "points 3"]
    starts: Int[np.ndarray, " bounds"]

    @classmethod
    def of_equal_frames(cls, points_m: Float[np.ndarray, "frames points 3"]) -> "FramePoints":
        """The points of frames that all hold the same number."""
        frames, points = points_m.shape[:2]
        return cls(points_m.reshape(-1, 3).astype(np.float64), np.arange(frames + 1) * points)

    @classmethod
    def of_frames(cls, frames: Sequence[Float[np.ndarray, "_ 3"]]) -> "FramePoints":
        """The points of a list of frames."""
        starts = np.cumsum([0, *(len(points) for points in frames)])
        points = np.concatenate(frames) if frames else np.zeros((0, 3))
        return cls(points.astype(np.float64), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def counts(self) -> Int[np.ndarray, " frames"]:
        """How many points each frame has."""
        return np.diff(self.starts)

    @property
    def frame(self) -> Int[np.ndarray, " points"]:
        """The frame of every point."""
        return np.repeat(np.arange(len(self)), self.counts)

    @property
    def usable(self) -> Chosen:
        """Frames with at least one point and only finite ones."""
        broken = ~np.isfinite(self.points_m).all(axis=1)
        return (self.counts > 0) & (np.bincount(self.frame[broken], minlength=len(self)) == 0)

    def of(self, frame: int) -> Float[np.ndarray, "_ 3"]:
        """The points of one frame."""
        return self.points_m[self.starts[frame] : self.starts[frame + 1]]

    def minus(self, offsets_m: Points) -> "FramePoints":
        """Every frame's points relative to its own offset."""
        return FramePoints(self.points_m - offsets_m[self.frame], self.starts)

    def only(self, chosen: Chosen) -> "FramePoints":
        """The same number of frames, but those not chosen are left without points."""
        return FramePoints(
            self.points_m[chosen[self.frame]], np.concatenate([[0], np.cumsum(np.where(chosen, self.counts, 0))])
        )

    def bounding_box_centres_m(self) -> Points:
        """Middle of each frame's axis-aligned bounding box, HOLD's root of an object; NaN for a frame not usable."""
        centres = np.full((len(self), 3), np.nan)
        usable = self.usable
        if usable.any():
            kept = self.only(usable)
            first = kept.starts[:-1][usable]
            low, high = (reduce.reduceat(kept.points_m, first, axis=0) for reduce in (np.minimum, np.maximum))
            centres[usable] = (low + high) / 2
        return centres


def nearest_distances_m(points: FramePoints, others: FramePoints) -> Float[np.ndarray, " points"]:
    """Distance of every point to the nearest point of `others` in the same frame; frames must be usable in both."""
    tree = cKDTree(_with_frame(others))
    distances, _ = tree.query(_with_frame(points))
    return np.asarray(distances, dtype=np.float64)


def _with_frame(points: FramePoints) -> Float[np.ndarray, "points 4"]:
    return np.column_stack([points.points_m, points.frame * _APART_M])


@dataclass(frozen=True)
class SurfaceScores:
    """Agreement of two point sets, frame by frame."""

    chamfer_cm2: PerFrame
    f5_pct: PerFrame
    f10_pct: PerFrame
    chamfer_cm: PerFrame
    """The same as `chamfer_cm2` of distances that are not squared, as for ARCTIC."""


def frame_metrics(
    predicted_joints_m: Joints,
    predicted_object: FramePoints,
    true_joints_m: Joints,
    true_object: FramePoints,
    valid: Chosen,
) -> dict[str, PerFrame]:
    """All metrics that need no alignment, frame by frame, in camera space; a line here is a column of `scores.csv`.

    `_hand` is the object relative to the hand's wrist (the paper's CD_h), `_root` relative to the centre of its own
    bounding box. Surfaces are compared at no more than 3000 vertices, drawn anew for each comparison and frame as the
    reference draws them. NaN where `valid` is false or the prediction holds NaN or no vertex.
    """
    predicted_wrist, true_wrist = predicted_joints_m[:, WRIST], true_joints_m[:, WRIST]
    predicted_root, true_root = predicted_object.bounding_box_centres_m(), true_object.bounding_box_centres_m()
    predicted_subset, true_subset = vertex_subsets(predicted_object, true_object)
    hand = surface_scores(predicted_subset.minus(predicted_wrist), true_subset.minus(true_wrist), valid)
    root = surface_scores(predicted_subset.minus(predicted_root), true_subset.minus(true_root), valid)
    return {
        "mpjpe_mm": mpjpe_mm(predicted_joints_m, true_joints_m, valid),
        "mrrpe_mm": mrrpe_mm(predicted_root - predicted_wrist, true_root - true_wrist, valid),
        "chamfer_hand_cm2": hand.chamfer_cm2,
        "chamfer_hand_cm": hand.chamfer_cm,
        "f5_hand_pct": hand.f5_pct,
        "f10_hand_pct": hand.f10_pct,
        "chamfer_root_cm2": root.chamfer_cm2,
        "f5_root_pct": root.f5_pct,
        "f10_root_pct": root.f10_pct,
    }


def mpjpe_mm(predicted_joints_m: Joints, true_joints_m: Joints, valid: Chosen) -> PerFrame:
    """Mean over the 21 joints of `|(p - p_wrist) - (q - q_wrist)|`, mm; the wrist's 0 counts, nothing is rotated."""
    predicted = predicted_joints_m - predicted_joints_m[:, WRIST, None]
    true = true_joints_m - true_joints_m[:, WRIST, None]
    errors = np.linalg.norm((predicted - true).astype(np.float64), axis=-1).mean(axis=1)
    return np.where(valid, errors * _MM_PER_M, np.nan)


def mrrpe_mm(predicted_offset_m: Points, true_offset_m: Points, valid: Chosen) -> PerFrame:
    """Error of the vector from the wrist to the object's root, mm."""
    errors = np.linalg.norm((predicted_offset_m - true_offset_m).astype(np.float64), axis=-1)
    return np.where(valid, errors * _MM_PER_M, np.nan)


def surface_scores(predicted: FramePoints, true: FramePoints, valid: Chosen | None = None) -> SurfaceScores:
    """CD and F-scores of two point sets per frame.

    With d(x, Y) the distance to the nearest point: CD = mean d(p, Q)^2 + mean d(q, P)^2 in cm2; F at 5 and 10 mm is
    2 a b / (a + b + 1e-7) x 100, with a and b the shares of d(p, Q) and d(q, P) below it.
    """
    usable = predicted.usable & true.usable
    if valid is not None:
        usable &= valid
    precision = _one_way(predicted.only(usable), true.only(usable))
    recall = _one_way(true.only(usable), predicted.only(usable))
    squared, share_5, share_10, plain = zip(precision, recall, strict=True)
    return SurfaceScores(
        chamfer_cm2=(squared[0] + squared[1]) * _CM2_PER_M2,
        f5_pct=_f_score_pct(*share_5),
        f10_pct=_f_score_pct(*share_10),
        chamfer_cm=(plain[0] + plain[1]) * _CM_PER_M,
    )


def _one_way(points: FramePoints, others: FramePoints) -> tuple[np.ndarray, ...]:
    """Per frame the mean squared distance (m2), the shares within 5 and 10 mm, the mean distance; NaN: no points."""
    distances = nearest_distances_m(points, others) if len(points.points_m) else np.zeros(0)
    frame, counts = points.frame, points.counts

    def mean(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(frame, weights=values, minlength=len(points))
        return np.divide(sums, counts, out=np.full(len(points), np.nan), where=counts > 0)

    return mean(distances**2), mean(distances < 0.005), mean(distances < 0.010), mean(distances)


def _f_score_pct(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    return np.asarray(100 * 2 * precision * recall / (precision + recall + _F_EPSILON))


def vertex_subsets(predicted: FramePoints, true: FramePoints) -> tuple[FramePoints, FramePoints]:
    """At most 3000 random vertices of every frame.

    As in the reference, PyTorch's CPU generator, seeded with 1, draws a permutation per frame, the prediction's
    before the ground truth's.
    """
    generator = torch.Generator().manual_seed(SUBSET_SEED)
    kept: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for frame in range(len(predicted)):  # one stream of random numbers: frame after frame
        for points, chosen in zip((predicted, true), kept, strict=True):
            vertices = points.of(frame)
            chosen.append(vertices[subset_rows(len(vertices), generator)])
    return FramePoints.of_frames(kept[0]), FramePoints.of_frames(kept[1])


def subset_rows(count: int, generator: torch.Generator) -> Int[np.ndarray, " rows"]:
    """The first 3000 of a random permutation of `count` rows."""
    return torch.randperm(count, generator=generator)[:SUBSET].numpy()
