"""The scores of one sequence as HOLD's paper has them: MPJPE, CD, F5, F10, CD_h, MRRPE and coverage.

Two protocols. `faithful`, as HOLD's `code/src/utils/eval_modules.py`: CD and F-scores of the first frame alone, after
similarity ICP with 600 restarts; where its annotation is missing (the reference then scores garbage), of the first
frame that has one. `per_frame`: the mean over all frames, each aligned on its own. All else is the same: means over
frames that are valid and predicted. Those left out are not punished, so coverage tells how many remain.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from handloom.datasets.hand_and_object import HandAndObject, HoldPredictions, HoldTruth
from handloom.evaluation.icp import RESTARTS, Aligned, align_meshes
from handloom.evaluation.mesh_metrics import FramePoints, frame_metrics
from handloom.evaluation.pose_metrics import mean_of_known
from handloom.runtime.errors import InputError
from handloom.runtime.files import write_json, write_table
from handloom.runtime.seeds import derived_seed

Protocol = Literal["faithful", "per_frame"]
RESTARTS_PER_FRAME = 10
"""Of a shape that differs from frame to frame and is therefore aligned in each of them."""
_MOST_POSE_STARTS = 60
"""Of the frames' poses of two rigid shapes; a long video has many alike."""
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
"""The names of the reference's `metric.json`, of a right hand."""
_OF_LEFT = {"mpjpe_ra_r": "mpjpe_ra_l", "cd_right": "cd_left", "f5_right": "f5_left", "f10_right": "f10_left"}
"""And those of a left one."""


@dataclass(frozen=True)
class FrameMeshes:
    """Hand and object of a sequence, in metres; the camera's axes, the origin the same for both of a frame.

    Those of a reconstruction or an annotation are one rigid shape; another method's file brings its own shape for each
    frame. A failed frame holds NaN, or no vertex.
    """

    names: list[str]
    joints_m: Float[np.ndarray, "frames 21 3"]
    """The wrist first, the others in any one order."""
    object_points: FramePoints
    face_blocks: list[Int[np.ndarray, "_ 3"]]
    """The faces of every frame, or one block for all frames."""
    cam_from_object: Float[np.ndarray, "frames 4 4"] | None = None
    """How a rigid shape lies in each frame."""

    @classmethod
    def of(cls, found: HandAndObject, path: Path) -> "FrameMeshes":
        """Those of `predictions.npz` or `truth.npz`; raises InputError naming it where its arrays contradict."""
        names, faces = [str(name) for name in found.names], found.object_faces.astype(np.int64)
        pose, vertices = found.cam_from_object.astype(np.float64), found.object_vertices_m.astype(np.float64)
        if not len(set(names)) == len(names) == len(pose):
            raise InputError(f"{path}: names a frame twice or not at all; every frame needs a name of its own")
        if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
            raise InputError(f"{path}: faces name vertex {faces.max()} of {len(vertices)}; extract the mesh again")
        points = vertices @ pose[:, :3, :3].swapaxes(1, 2) + pose[:, None, :3, 3]
        return cls(
            names=names,
            joints_m=found.hand_joints_cam_m.astype(np.float64),
            object_points=FramePoints.of_equal_frames(points),
            face_blocks=[faces],
            cam_from_object=pose,
        )

    def mesh(self, frame: int) -> tuple[Float[np.ndarray, "_ 3"], Int[np.ndarray, "_ 3"]]:
        """The object's vertices and faces in one frame."""
        return self.object_points.of(frame), self.face_blocks[frame if len(self.face_blocks) > 1 else 0]


def score_hold(
    predictions: Path,
    truth: Path,
    scores: Path,
    frames: Path,
    *,
    sequence: str,
    phase: str,
    protocol: Protocol,
    seed: int,
    restarts: int = RESTARTS,
) -> None:
    """Stage: score a phase's `predictions.npz` against `truth.npz`; the means as JSON, the frames as CSV.

    Two hands are scored each with the object, whose shape is aligned once; the JSON file has their means, and each
    hand's under `hands`. Raises InputError for files that are broken or of different sequences.
    """
    predicted, annotated = HoldPredictions.load_each(predictions), HoldTruth.load_each(truth)
    if list(predicted) != list(annotated):
        raise InputError(
            f"{predictions}: is of a {' and a '.join(predicted)} hand, but {truth} of a {' and a '.join(annotated)} "
            "one; run the rules that make them again"
        )
    of: dict[str, Any] = {"sequence": sequence, "method": "HOLD", "variant": phase, "protocol": protocol, "seed": seed}
    of["hand"] = " and ".join(annotated)
    shape: dict[int, Aligned] | None = None
    means, tables = {}, {}
    for side, true in annotated.items():
        true_meshes = FrameMeshes.of(true, truth)
        meshes = matched(FrameMeshes.of(predicted[side], predictions), true_meshes), true_meshes
        if shape is None:
            shape = aligned_shape(*meshes, true.valid, protocol=protocol, seed=seed, restarts=restarts)
        means[side], tables[side] = score_aligned(*meshes, true.valid, shape)
    table = pd.concat([own.assign(hand=side) if len(tables) > 1 else own for side, own in tables.items()])
    write_scores(
        scores, frames, of_both_hands(list(means.values())), table, of | ({"hands": means} if len(means) > 1 else {})
    )


def of_both_hands(scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of every number over the hands; all else is the same."""
    first = scores[0]
    return {
        name: float(np.mean([each[name] for each in scores])) if isinstance(value, float) else value
        for name, value in first.items()
    }


def aligned_shape(
    predicted: FrameMeshes,
    truth: FrameMeshes,
    valid: Bool[np.ndarray, " frames"],
    *,
    protocol: Protocol,
    seed: int,
    restarts: int,
) -> dict[int, Aligned]:
    """The best alignment of the object's shape in the frames that the protocol asks for; see the module."""
    frames = np.flatnonzero(valid & predicted.object_points.usable & truth.object_points.usable).tolist()

    def align(frame: int, count: int, starts: Float[np.ndarray, "_ 3 3"] | None = None) -> Aligned:
        stream = derived_seed(seed, "alignment", frame)
        meshes = *predicted.mesh(frame), *truth.mesh(frame)
        return align_meshes(*meshes, seed=stream, restarts=count, first_rotations=starts)

    if protocol == "faithful":
        return {frame: align(frame, restarts) for frame in frames[:1]}
    if frames and predicted.cam_from_object is not None and truth.cam_from_object is not None:
        # Two rigid shapes: frames differ in the start of the alignment alone, so all starts serve all frames. Those are
        # the rotations that the identity of each frame is, seen in the first one; at most 60, evenly chosen.
        every = frames[:: math.ceil(len(frames) / _MOST_POSE_STARTS)]
        from_predicted, from_truth = predicted.cam_from_object[:, :3, :3], truth.cam_from_object[:, :3, :3]
        true_from_predicted = from_truth[every].swapaxes(1, 2) @ from_predicted[every]
        starts = from_truth[frames[0]] @ true_from_predicted @ from_predicted[frames[0]].T
        return dict.fromkeys(frames, align(frames[0], restarts, starts))
    return {frame: align(frame, RESTARTS_PER_FRAME) for frame in frames}


def score_aligned(
    predicted: FrameMeshes, truth: FrameMeshes, valid: Bool[np.ndarray, " frames"], shape: Mapping[int, Aligned]
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The scores of frames that are `matched`, and a table with one row a frame of the ground truth.

    Each metric of the table is its mean among the scores, NaN where nothing could be scored. `coverage_pct` is the
    share of the valid frames in which both hand and object were predicted, `aligned_frame` the first frame whose shape
    was aligned.
    """
    metrics = frame_metrics(predicted.joints_m, predicted.object_points, truth.joints_m, truth.object_points, valid)
    scored = ~np.isnan(metrics["mpjpe_mm"]) & ~np.isnan(metrics["chamfer_hand_cm2"])
    for name in ("chamfer_cm2", "f5_pct", "f10_pct", "chamfer_cm"):
        metrics[name] = np.full(len(valid), np.nan)
        metrics[name][list(shape)] = [getattr(aligned, name) for aligned in shape.values()]
    first = min(shape, default=None)
    scores = {
        **{name: mean_of_known(values) for name, values in metrics.items()},
        "coverage_pct": 100 * int(scored.sum()) / int(valid.sum()) if valid.any() else math.nan,
        "frames": len(valid),
        "valid_frames": int(valid.sum()),
        "scored_frames": int(scored.sum()),
        "aligned_frame": "" if first is None else truth.names[first],
        "aligned_scale": math.nan if first is None else shape[first].scale,
    }
    return scores, pd.DataFrame({"name": truth.names, "valid": valid, "scored": scored, **metrics})


def write_scores(
    path: Path, frames_path: Path, scores: Mapping[str, Any], frames: pd.DataFrame, of: Mapping[str, Any]
) -> None:
    """Write a sequence's scores as JSON (NaN as null, also under the reference's names) and its frames as CSV.

    `of` says what was scored: sequence, method, variant, protocol, seed, which hand, and perhaps a remark, what a
    reader of the numbers has to know, which goes into the table's row.
    """
    values, of = _without_nan(scores), _without_nan(of)
    reference: dict[str, Any] = {}
    for side, own in of.get("hands", {of["hand"]: values}).items():
        of_side = _OF_LEFT if side == "left" else {}
        reference |= {of_side.get(name, name): own[ours] for name, ours in _REFERENCE_NAMES.items()}
    write_table(frames_path, frames.round(6))
    write_json(path, {**of, **values, "reference_names": {**reference, "seq_name": of["sequence"]}})
    print(
        f"{of['sequence']} {of['method']} {of['variant']}: MPJPE {scores['mpjpe_mm']:.2f} mm, CD "
        f"{scores['chamfer_cm2']:.3f} cm2, F10 {scores['f10_pct']:.1f} %, CD_h {scores['chamfer_hand_cm2']:.2f} cm2, "
        f"MRRPE {scores['mrrpe_mm']:.2f} mm, {scores['scored_frames']} of {scores['valid_frames']} valid frames",
        file=sys.stderr,
    )


def _without_nan(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, None for NaN, also in mappings within."""
    return {
        name: _without_nan(value)
        if isinstance(value, Mapping)
        else None
        if isinstance(value, float) and math.isnan(value)
        else value
        for name, value in values.items()
    }


def matched(predicted: FrameMeshes, truth: FrameMeshes) -> FrameMeshes:
    """The predicted frames in the order of the ground truth, matched by name; one that is not predicted fails.

    Raises InputError when no name is in both.
    """
    row_of = {name: row for row, name in enumerate(predicted.names)}
    rows = np.array([row_of.get(name, -1) for name in truth.names])
    present = rows >= 0
    if not present.any():
        some, known = (", ".join(names[:3]) + ", ..." * (len(names) > 3) for names in (predicted.names, truth.names))
        raise InputError(
            f"predicted frames {some}: none is among the {len(truth.names)} frames of the ground truth {known}; "
            "score with the annotation of the same sequence"
        )

    def of_rows(values: np.ndarray) -> np.ndarray:
        return np.where(present[:, None, None], values[rows], np.nan)

    nothing = np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)
    vertices, faces = zip(*(predicted.mesh(row) if row >= 0 else nothing for row in rows.tolist()), strict=True)
    pose = predicted.cam_from_object
    return FrameMeshes(
        truth.names,
        of_rows(predicted.joints_m),
        FramePoints.of_frames(vertices),
        predicted.face_blocks if len(predicted.face_blocks) == 1 else list(faces),
        None if pose is None else of_rows(pose),
    )
