"""The scores of one sequence as HOLD's paper has them: MPJPE, CD, F5, F10, CD_h, MRRPE and coverage.

Two protocols (facts/hold.md 4). `faithful`: CD and F-scores of the first frame alone, after similarity ICP with 600
restarts; where its annotation is missing (the reference then scores garbage), of the first frame that has one.
`per_frame`: the mean over all frames, each aligned on its own. All else is the same: means over frames that are valid
and predicted. Those left out are not punished, so coverage tells how many remain.
"""

import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from handloom.evaluation.frame_meshes import FrameMeshes, matched, read_predictions, read_truth
from handloom.evaluation.icp import RESTARTS, Aligned, align_meshes
from handloom.evaluation.mesh_metrics import frame_metrics
from handloom.runtime.files import write_json, write_table
from handloom.runtime.seeds import derived_seed

Protocol = Literal["faithful", "per_frame"]
METHOD = "HOLD"
RESTARTS_PER_FRAME = 10
_MOST_POSE_STARTS = 60
_REFERENCE_NAMES = {
    "mpjpe_ra_r": "mpjpe_mm",
    "mrrpe_ho": "mrrpe_mm",
    "cd_icp": "chamfer_cm2",
    "f5_icp": "f5_pct",
    "f10_icp": "f10_pct",
    "cd_right": "chamfer_hand_cm2",
    "f5_right": "f5_hand_pct",
    "f10_right": "f10_hand_pct",
    "cd_ra": "chamfer_root_cm2",
    "f5_ra": "f5_root_pct",
    "f10_ra": "f10_root_pct",
}
"""The names of the reference's `metric.json`."""


@dataclass(frozen=True)
class SequenceScores:
    """All scores of a sequence; the shape's after alignment, NaN where nothing could be scored."""

    mpjpe_mm: float
    chamfer_cm2: float
    f5_pct: float
    f10_pct: float
    chamfer_hand_cm2: float
    mrrpe_mm: float
    coverage_pct: float
    """Share of the valid frames in which both hand and object were predicted."""
    f5_hand_pct: float
    f10_hand_pct: float
    chamfer_root_cm2: float
    f5_root_pct: float
    f10_root_pct: float
    frames: int
    valid_frames: int
    scored_frames: int
    aligned_frame: str
    """The first frame that was aligned; empty when there is none."""
    aligned_scale: float


def score_hold_sequence(
    predictions: Path,
    truth: Path,
    output: Path,
    frames_output: Path,
    *,
    sequence: str,
    protocol: Protocol,
    seed: int,
    method: str = METHOD,
    variant: str = "",
    restarts: int = RESTARTS,
) -> None:
    """Stage: score `predictions.npz` against `truth.npz`; write the means as JSON and the frames as CSV.

    Raises InputError for files that are broken or of different sequences.
    """
    annotation, valid = read_truth(truth)
    scores, frames = score_sequence(
        read_predictions(predictions), annotation, valid, protocol=protocol, seed=seed, restarts=restarts
    )
    write_scores(output, frames_output, scores, frames, sequence, method, protocol, seed, variant)


def score_sequence(
    predicted: FrameMeshes,
    truth: FrameMeshes,
    valid: Bool[np.ndarray, " frames"],
    *,
    protocol: Protocol,
    seed: int,
    restarts: int = RESTARTS,
    restarts_per_frame: int = RESTARTS_PER_FRAME,
) -> tuple[SequenceScores, pd.DataFrame]:
    """The scores of a sequence and a table with one row a frame of the ground truth; see the module for protocols."""
    predicted = matched(predicted, truth)
    metrics = frame_metrics(predicted.joints_m, predicted.object_points, truth.joints_m, truth.object_points, valid)
    scored = ~np.isnan(metrics.mpjpe_mm) & ~np.isnan(metrics.chamfer_hand_cm2)
    alignable = valid & predicted.object_points.usable & truth.object_points.usable
    if protocol == "faithful":
        shape, first = _first_frame(predicted, truth, alignable, seed, restarts)
    else:
        shape, first = _every_frame(predicted, truth, alignable, seed, restarts, restarts_per_frame)
    table = pd.DataFrame(
        {"name": truth.names, "valid": valid, "scored": scored, **metrics.arrays(), **_columns(shape, len(valid))}
    )
    aligned = list(shape.values())
    means = {str(name): _mean(table[name].to_numpy(float)) for name in table.columns[3:]}
    scores = SequenceScores(
        **means,
        coverage_pct=100 * int(scored.sum()) / int(valid.sum()) if valid.any() else math.nan,
        frames=len(valid),
        valid_frames=int(valid.sum()),
        scored_frames=int(scored.sum()),
        aligned_frame="" if first is None else truth.names[first],
        aligned_scale=aligned[0].scale if aligned else math.nan,
    )
    return scores, table


def write_scores(
    output: Path,
    frames_output: Path,
    scores: SequenceScores,
    frames: pd.DataFrame,
    sequence: str,
    method: str,
    protocol: Protocol,
    seed: int,
    variant: str = "",
    remark: str = "",
) -> None:
    """Write a sequence's scores as JSON (NaN as null, also under the reference's names) and its frames as CSV.

    `remark` goes into the table's row: what a reader of the numbers has to know.
    """
    values = _without_nan(asdict(scores))
    reference = {name: values[ours] for name, ours in _REFERENCE_NAMES.items()}
    notes = {"sequence": sequence, "method": method, "variant": variant, "protocol": protocol, "seed": seed}
    notes |= {"remark": remark} if remark else {}
    write_table(frames_output, frames.round(6))
    write_json(output, {**notes, **values, "reference_names": {**reference, "seq_name": sequence}})
    print(
        f"{sequence} {method} {variant}: MPJPE {scores.mpjpe_mm:.2f} mm, CD {scores.chamfer_cm2:.3f} cm2, F10 "
        f"{scores.f10_pct:.1f} %, CD_h {scores.chamfer_hand_cm2:.2f} cm2, MRRPE {scores.mrrpe_mm:.2f} mm, "
        f"{scores.scored_frames} of {scores.valid_frames} valid frames",
        file=sys.stderr,
    )


def _first_frame(
    predicted: FrameMeshes, truth: FrameMeshes, alignable: Bool[np.ndarray, " frames"], seed: int, restarts: int
) -> tuple[dict[int, Aligned], int | None]:
    if not alignable.any():
        return {}, None
    first = int(np.flatnonzero(alignable)[0])
    return {first: _align(predicted, truth, first, seed, restarts)}, first


def _every_frame(
    predicted: FrameMeshes,
    truth: FrameMeshes,
    alignable: Bool[np.ndarray, " frames"],
    seed: int,
    restarts: int,
    restarts_per_frame: int,
) -> tuple[dict[int, Aligned], int | None]:
    chosen = np.flatnonzero(alignable).tolist()
    if not chosen:
        return {}, None
    if predicted.rigid is not None and truth.rigid is not None:
        # Two rigid shapes: frames differ in the start of the alignment alone, so all starts serve all frames.
        starts = _pose_starts(predicted, truth, chosen)
        best = _align(predicted, truth, chosen[0], seed, restarts, starts)
        return dict.fromkeys(chosen, best), chosen[0]
    return {frame: _align(predicted, truth, frame, seed, restarts_per_frame) for frame in chosen}, chosen[0]


def _pose_starts(predicted: FrameMeshes, truth: FrameMeshes, frames: list[int]) -> Float[np.ndarray, "_ 3 3"]:
    """The rotations that the identity of each frame is, seen in the first one; at most 60, evenly chosen."""
    assert predicted.rigid is not None
    assert truth.rigid is not None
    every = frames[:: math.ceil(len(frames) / _MOST_POSE_STARTS)]
    from_predicted = predicted.rigid.cam_from_object[:, :3, :3]
    from_truth = truth.rigid.cam_from_object[:, :3, :3]
    true_from_predicted = from_truth[every].swapaxes(1, 2) @ from_predicted[every]
    return np.asarray(from_truth[frames[0]] @ true_from_predicted @ from_predicted[frames[0]].T)


def _align(
    predicted: FrameMeshes,
    truth: FrameMeshes,
    frame: int,
    seed: int,
    restarts: int,
    starts: Float[np.ndarray, "_ 3 3"] | None = None,
) -> Aligned:
    return align_meshes(
        predicted.object_points.of(frame),
        predicted.faces(frame),
        truth.object_points.of(frame),
        truth.faces(frame),
        seed=derived_seed(seed, "alignment", frame),
        restarts=restarts,
        first_rotations=starts,
    )


def _columns(shape: dict[int, Aligned], frames: int) -> dict[str, np.ndarray]:
    columns = {name: np.full(frames, np.nan) for name in ("chamfer_cm2", "f5_pct", "f10_pct")}
    for name, values in columns.items():
        values[list(shape)] = [getattr(aligned, name) for aligned in shape.values()]
    return columns


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}
