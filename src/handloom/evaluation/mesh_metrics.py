"""HOLD's metrics of hand and object: MPJPE, CD, F-scores, CD_h and MRRPE, for all frames at once (facts/hold.md 4).

Everything is in the OpenCV camera's frame, in metres; results are in millimetres, cm2 and percent. A frame that is
not valid in the ground truth, or failed in the prediction, is NaN, so that `numpy.nanmean` is the reference's mean.
Hands hold 21 joints in any order that starts with the wrist.
"""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from handloom.evaluation.frame_points import FramePoints, nearest_distances_m

WRIST = 0
SUBSET = 3000
"""How many vertices at most HOLD compares in a frame."""
SUBSET_SEED = 1
_F_EPSILON = 1e-7
_MM_PER_M = 1e3
_CM2_PER_M2 = 1e4


@dataclass(frozen=True)
class SurfaceScores:
    """Agreement of two point sets, frame by frame."""

    chamfer_cm2: Float[np.ndarray, " frames"]
    f5_pct: Float[np.ndarray, " frames"]
    f10_pct: Float[np.ndarray, " frames"]


@dataclass(frozen=True)
class FrameMetrics:
    """All metrics that need no alignment, frame by frame; names of the paper's columns where it has one."""

    mpjpe_mm: Float[np.ndarray, " frames"]
    mrrpe_mm: Float[np.ndarray, " frames"]
    chamfer_hand_cm2: Float[np.ndarray, " frames"]
    """CD_h: the object relative to the hand's wrist."""
    f5_hand_pct: Float[np.ndarray, " frames"]
    f10_hand_pct: Float[np.ndarray, " frames"]
    chamfer_root_cm2: Float[np.ndarray, " frames"]
    """The object relative to the centre of its own bounding box."""
    f5_root_pct: Float[np.ndarray, " frames"]
    f10_root_pct: Float[np.ndarray, " frames"]

    def arrays(self) -> dict[str, np.ndarray]:
        """The metrics by name."""
        return asdict(self)


def frame_metrics(
    predicted_joints_m: Float[np.ndarray, "frames 21 3"],
    predicted_object: FramePoints,
    true_joints_m: Float[np.ndarray, "frames 21 3"],
    true_object: FramePoints,
    valid: Bool[np.ndarray, " frames"],
) -> FrameMetrics:
    """MPJPE, MRRPE, CD_h and the root-relative CD of every frame, in camera space.

    Surfaces are compared at no more than 3000 vertices, drawn anew for each comparison and frame as the reference
    draws them. NaN where `valid` is false or the prediction holds NaN or no vertex.
    """
    predicted_wrist, true_wrist = predicted_joints_m[:, WRIST], true_joints_m[:, WRIST]
    predicted_root, true_root = predicted_object.bounding_box_centres_m(), true_object.bounding_box_centres_m()
    predicted_subset, true_subset = vertex_subsets(predicted_object, true_object)
    hand = surface_scores(predicted_subset.minus(predicted_wrist), true_subset.minus(true_wrist), valid)
    root = surface_scores(predicted_subset.minus(predicted_root), true_subset.minus(true_root), valid)
    return FrameMetrics(
        mpjpe_mm=mpjpe_mm(predicted_joints_m, true_joints_m, valid),
        mrrpe_mm=mrrpe_mm(predicted_root - predicted_wrist, true_root - true_wrist, valid),
        chamfer_hand_cm2=hand.chamfer_cm2,
        f5_hand_pct=hand.f5_pct,
        f10_hand_pct=hand.f10_pct,
        chamfer_root_cm2=root.chamfer_cm2,
        f5_root_pct=root.f5_pct,
        f10_root_pct=root.f10_pct,
    )


def mpjpe_mm(
    predicted_joints_m: Float[np.ndarray, "frames 21 3"],
    true_joints_m: Float[np.ndarray, "frames 21 3"],
    valid: Bool[np.ndarray, " frames"],
) -> Float[np.ndarray, " frames"]:
    """Mean over the 21 joints of `|(p - p_wrist) - (q - q_wrist)|`, mm; the wrist's 0 counts, nothing is rotated."""
    predicted = predicted_joints_m - predicted_joints_m[:, WRIST, None]
    true = true_joints_m - true_joints_m[:, WRIST, None]
    errors = np.linalg.norm((predicted - true).astype(np.float64), axis=-1).mean(axis=1)
    return np.where(valid, errors * _MM_PER_M, np.nan)


def mrrpe_mm(
    predicted_offset_m: Float[np.ndarray, "frames 3"],
    true_offset_m: Float[np.ndarray, "frames 3"],
    valid: Bool[np.ndarray, " frames"],
) -> Float[np.ndarray, " frames"]:
    """Error of the vector from the wrist to the object's root, mm."""
    errors = np.linalg.norm((predicted_offset_m - true_offset_m).astype(np.float64), axis=-1)
    return np.where(valid, errors * _MM_PER_M, np.nan)


def surface_scores(
    predicted: FramePoints, true: FramePoints, valid: Bool[np.ndarray, " frames"] | None = None
) -> SurfaceScores:
    """CD and F-scores of two point sets per frame.

    With d(x, Y) the distance to the nearest point: CD = mean d(p, Q)^2 + mean d(q, P)^2 in cm2; F at 5 and 10 mm is
    2 a b / (a + b + 1e-7) x 100, with a and b the shares of d(p, Q) and d(q, P) below it.
    """
    usable = predicted.usable & true.usable
    if valid is not None:
        usable &= valid
    precision = _one_way(predicted.only(usable), true.only(usable))
    recall = _one_way(true.only(usable), predicted.only(usable))
    squared, share_5, share_10 = zip(precision, recall, strict=True)
    return SurfaceScores(
        chamfer_cm2=(squared[0] + squared[1]) * _CM2_PER_M2,
        f5_pct=_f_score_pct(*share_5),
        f10_pct=_f_score_pct(*share_10),
    )


def _one_way(points: FramePoints, others: FramePoints) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per frame the mean squared distance (m2) and the shares within 5 and 10 mm; NaN without points."""
    distances = nearest_distances_m(points, others) if len(points.points_m) else np.zeros(0)
    frame, counts = points.frame, points.counts

    def mean(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(frame, weights=values, minlength=len(points))
        return np.divide(sums, counts, out=np.full(len(points), np.nan), where=counts > 0)

    return mean(distances**2), mean(distances < 0.005), mean(distances < 0.010)


def _f_score_pct(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    return np.asarray(100 * 2 * precision * recall / (precision + recall + _F_EPSILON))


def vertex_subsets(predicted: FramePoints, true: FramePoints) -> tuple[FramePoints, FramePoints]:
    """At most 3000 random vertices of every frame.

    As in the reference, PyTorch's CPU generator, seeded with 1, draws a permutation per frame, the prediction's
    before the ground truth's.
    """
    generator = torch.Generator().manual_seed(SUBSET_SEED)
    rows: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for frame in range(len(predicted)):  # one stream of random numbers: frame after frame
        for points, chosen in zip((predicted, true), rows, strict=True):
            chosen.append(points.starts[frame] + subset_rows(int(points.counts[frame]), generator))
    return _chosen(predicted, rows[0]), _chosen(true, rows[1])


def subset_rows(count: int, generator: torch.Generator) -> Int[np.ndarray, " rows"]:
    """The first 3000 of a random permutation of `count` rows."""
    return torch.randperm(count, generator=generator)[:SUBSET].numpy()


def _chosen(points: FramePoints, rows: list[np.ndarray]) -> FramePoints:
    starts = np.cumsum([0, *(len(row) for row in rows)])
    return FramePoints(points.points_m[np.concatenate(rows)] if rows else points.points_m, starts)
