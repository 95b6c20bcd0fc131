"""The file by which other methods (iHOI, DiffHOI) are scored with HOLD's metrics: its schema, checks and scorer.

One npz per sequence, written in the method's own environment with `numpy.savez`, no pickles
(facts/comparisons.md 3.4). N frames, V vertices of the hand model (778 for MANO):

| array | shape, type | content |
|---|---|---|
| `fnames` | (N) text | names of the frames, as in the sequence's `names` |
| `hand_verts` | (N, V, 3) float | MANO's vertices; a failed frame is NaN throughout |
| `obj_verts` | (P, 3) float | the object's vertices of all frames, one frame after the other |
| `obj_vert_ptr` | (N + 1) int | frame i owns rows `obj_vert_ptr[i]` to `obj_vert_ptr[i + 1]`; none for a failed frame |
| `obj_faces` | (Q, 3) int | faces, counted from the frame's own first vertex |
| `obj_face_ptr` | (N + 1) int | the same for faces; (2) when one block of faces serves all frames |
| `frame` | text | `camera`: OpenCV axes (x right, y down, z forward); `wrist_relative_camera`: the same, wrist at 0 |
| `units` | text | `m` |
| `method` | text | as the table names it: `iHOI`, `DiffHOI`, ... |
| `weights_id` | text | which weights the method ran with |

Joints are never taken from a method: they are regressed from the vertices (`J_regressor`, and five tip vertices), in
prediction and ground truth alike when the latter's hand has the same vertices. None of the metrics depends on where
the hand is, so both frames give the same scores. docs/interchange.md says how each method's output becomes such a file.
"""

import sys
import zipfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from handloom.evaluation.frame_meshes import FrameMeshes, read_truth
from handloom.evaluation.frame_points import FramePoints
from handloom.evaluation.hold_scores import Protocol, score_sequence, write_scores
from handloom.evaluation.icp import RESTARTS
from handloom.evaluation.interchange_remarks import listed, remarks
from handloom.hand.joints import SNAP_FROM_MANO21
from handloom.hand.mano import HandModel
from handloom.runtime.errors import InputError

FRAMES = ("camera", "wrist_relative_camera")
_TEXTS = ("frame", "units", "method", "weights_id")
_ARRAYS = ("fnames", "hand_verts", "obj_verts", "obj_vert_ptr", "obj_faces", "obj_face_ptr")
_HAND_SIZE_M = (0.05, 0.4)
"""Diagonal of a hand's bounding box."""
_OBJECT_SIZE_M = (0.005, 2.0)
_WRIST_AT_ORIGIN_M = 0.02
_TYPICAL_SIZE_M = 0.2
_UNITS = {
    5: "iHOI's normalised cube (0.2 m to 1)",
    10: "DiffHOI's joint frame (10 to a metre)",
    100: "centimetres",
    1000: "millimetres",
}
"""What lengths may be in when they are about so many times too large."""
_MANO_VERTICES = 778


@dataclass(frozen=True)
class Interchange:
    """A checked interchange file."""

    method: str
    weights_id: str
    frame: str
    meshes: FrameMeshes
    failed: Bool[np.ndarray, " frames"]


def score_interchange(
    interchange: Path,
    truth: Path,
    hand: HandModel,
    output: Path,
    frames_output: Path,
    *,
    sequence: str,
    protocol: Protocol,
    seed: int,
    method: str | None = None,
    restarts: int = RESTARTS,
) -> None:
    """Stage: score another method's file as HOLD's own predictions are scored.

    What lowers the coverage or looks wrong, though it can be scored, is printed and goes into the table's row. Raises
    InputError as the reader does, and for a file of another method than `method` or of another sequence.
    """
    found = read_interchange(interchange, hand)
    if method is not None and found.method != method:
        raise InputError(
            f"{interchange}: states the method '{found.method}', but hold.interchange names it under {method}; "
            "correct either"
        )
    annotation, valid = read_truth(truth)
    annotation = comparable(annotation, hand)
    try:
        scores, frames = score_sequence(
            found.meshes, annotation, valid, protocol=protocol, seed=seed, restarts=restarts
        )
    except InputError as error:
        raise InputError(f"{interchange}: {error}") from error
    notes = remarks(found.meshes, found.failed, annotation, valid)
    for note in notes:
        print(f"{interchange}: {note}", file=sys.stderr)
    remark = "; ".join(notes)
    write_scores(
        output, frames_output, scores, frames, sequence, found.method, protocol, seed, found.weights_id, remark
    )


def comparable(truth: FrameMeshes, hand: HandModel) -> FrameMeshes:
    """The ground truth with joints regressed as the prediction's are, if its hand has the model's vertices."""
    vertices = truth.hand_vertices_m
    if vertices is None or vertices.shape[1] != len(hand.v_template):
        return truth
    return FrameMeshes(
        truth.names, joints_from_vertices(hand, vertices), truth.object_points, truth.face_blocks, truth.rigid, vertices
    )


def joints_from_vertices(
    hand: HandModel, vertices_m: Float[np.ndarray, "frames vertices 3"]
) -> Float[np.ndarray, "frames 21 3"]:
    """21 joints in SNAP's order: the regressor applied to the posed vertices, and the five tip vertices."""
    joints = hand.J_regressor.double().cpu().numpy() @ vertices_m
    tips = vertices_m[:, list(hand.tip_vertices)]
    return np.concatenate([joints, tips], axis=1)[:, list(SNAP_FROM_MANO21)]


def read_interchange(path: Path, hand: HandModel) -> Interchange:
    """Read and check an interchange file for the given hand model.

    Raises InputError that lists every problem found, with the names of the frames that have it.
    """
    arrays = _load(path)
    problems = _layout_problems(arrays, len(hand.v_template))
    if problems:
        raise _refused(path, problems)
    names = [str(name) for name in arrays["fnames"]]
    vertices = arrays["hand_verts"].astype(np.float64)
    objects = FramePoints(arrays["obj_verts"].astype(np.float64), arrays["obj_vert_ptr"].astype(np.int64))
    face_ptr = arrays["obj_face_ptr"].astype(np.int64)
    blocks = [arrays["obj_faces"][start:stop].astype(np.int64) for start, stop in pairwise(face_ptr)]
    joints = joints_from_vertices(hand, np.where(np.isfinite(vertices), vertices, np.nan))
    meshes = FrameMeshes(names, joints, objects, blocks, None, vertices)
    frame = str(arrays["frame"])
    problems = [*_row_problems(meshes, vertices), *_frame_problems(names, vertices, joints[:, 0], frame)]
    if problems:
        raise _refused(path, problems)
    failed = np.isnan(vertices).any((1, 2)) | ~objects.usable
    return Interchange(str(arrays["method"]), str(arrays["weights_id"]), frame, meshes, failed)


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: no such interchange file; write it as handloom.evaluation.interchange says"
        ) from error
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: not an npz file without pickles ({error}); write it with numpy.savez and plain arrays"
        ) from error


def _layout_problems(arrays: dict[str, np.ndarray], hand_vertices: int) -> list[str]:
    missing = [name for name in (*_ARRAYS, *_TEXTS) if name not in arrays]
    if missing:
        return [f"lacks {', '.join(missing)}"]
    problems = []
    names = arrays["fnames"]
    count = len(names) if names.ndim == 1 else 0
    if names.ndim != 1 or names.dtype.kind != "U" or not count:
        problems.append(f"fnames is {names.dtype} of shape {names.shape}, expected (N) text with N > 0")
    twice = sorted({str(name) for name in names if (names == name).sum() > 1}) if names.ndim == 1 else []
    if twice:
        problems.append(f"fnames holds {listed(twice)} more than once")
    for name, shape in (
        ("hand_verts", (count, hand_vertices, 3)),
        ("obj_verts", (None, 3)),
        ("obj_vert_ptr", (count + 1,)),
        ("obj_faces", (None, 3)),
    ):
        if not _fits(arrays[name].shape, shape):
            text = f"{name} has shape {arrays[name].shape}, expected {str(shape).replace('None', 'any')}"
            mano = name == "hand_verts" and _fits(arrays[name].shape, (count, _MANO_VERTICES, 3))
            problems.append(text + ("; these are MANO's vertices: set `mano` in the configuration" if mano else ""))
    if arrays["obj_face_ptr"].shape not in ((count + 1,), (2,)):
        problems.append(f"obj_face_ptr has shape {arrays['obj_face_ptr'].shape}, expected ({count + 1},) or (2,)")
    odd = [name for name in _TEXTS if arrays[name].ndim or arrays[name].dtype.kind != "U"]
    problems += [f"{name} is {arrays[name].dtype} of shape {arrays[name].shape}, expected one text" for name in odd]
    problems += [
        f"{name} is {arrays[name].dtype}, expected {what}"
        for name, kinds, what in (
            ("hand_verts", "f", "real numbers"),
            ("obj_verts", "f", "real numbers"),
            ("obj_vert_ptr", "iu", "integers"),
            ("obj_faces", "iu", "integers"),
            ("obj_face_ptr", "iu", "integers"),
        )
        if arrays[name].dtype.kind not in kinds
    ]
    for pointers, rows in (("obj_vert_ptr", "obj_verts"), ("obj_face_ptr", "obj_faces")):
        values = arrays[pointers].ravel().astype(np.int64)
        if len(values) and (values[0] != 0 or values[-1] != len(arrays[rows]) or (np.diff(values) < 0).any()):
            problems.append(f"{pointers} must rise from 0 to the {len(arrays[rows])} rows of {rows}")
    if str(arrays["frame"]) not in FRAMES:
        problems.append(f"frame is '{arrays['frame']}', expected one of {', '.join(FRAMES)}")
    if str(arrays["units"]) != "m":
        problems.append(f"units is '{arrays['units']}', expected 'm': convert all lengths to metres")
    return problems


def _row_problems(meshes: FrameMeshes, vertices: Float[np.ndarray, "frames vertices 3"]) -> list[str]:
    """What is wrong with single frames: sizes, half-failed hands, faces beyond the vertices."""
    names, objects = meshes.names, meshes.object_points
    broken = (~np.isfinite(vertices)).any(2)
    problems = _of_rows(names, broken.any(1) & ~broken.all(1), "hand_verts is NaN in part; a failed frame is all NaN")
    infinite = np.isinf(vertices).any((1, 2))
    problems += _of_rows(names, infinite, "hand_verts is infinite; a failed frame is NaN")
    size = np.linalg.norm(np.ptp(vertices, axis=1), axis=1)
    problems += _of_rows(
        names, (size < _HAND_SIZE_M[0]) | (size > _HAND_SIZE_M[1]), _size_text("hand", size, _HAND_SIZE_M)
    )
    object_size = np.array([np.linalg.norm(np.ptp(objects.of(row), axis=0)) if objects.counts[row] else np.nan
                            for row in range(len(objects))])  # fmt: skip
    wrong = (object_size < _OBJECT_SIZE_M[0]) | (object_size > _OBJECT_SIZE_M[1])
    problems += _of_rows(names, wrong, _size_text("object", object_size, _OBJECT_SIZE_M))
    counts = objects.counts
    faces = [meshes.faces(row) for row in range(len(names))]
    beyond = [bool(len(block)) and count > 0 and (block.min() < 0 or block.max() >= count)
              for block, count in zip(faces, counts.tolist(), strict=True)]  # fmt: skip
    problems += _of_rows(names, np.array(beyond), "obj_faces names a vertex that the frame does not have")
    faceless = [count > 0 and not len(block) for block, count in zip(faces, counts.tolist(), strict=True)]
    return problems + _of_rows(names, np.array(faceless), "has vertices of the object but no faces")


def _size_text(what: str, size_m: np.ndarray, allowed: tuple[float, float]) -> str:
    known = size_m[np.isfinite(size_m)]
    typical = float(np.median(known)) if len(known) else np.nan
    factor = typical / _TYPICAL_SIZE_M
    nearest = min(_UNITS, key=lambda times: abs(np.log(max(factor, 1e-9) / times)))
    unit = f"; are these {_UNITS[nearest]}?" if typical > allowed[1] else ""
    return (
        f"the {what} is not between {allowed[0]} and {allowed[1]} m large (median over all frames {typical:.3g}){unit}"
    )


def _frame_problems(names: list[str], vertices: np.ndarray, wrists: np.ndarray, frame: str) -> list[str]:
    """What contradicts the stated frame."""
    if frame == "camera":
        behind = vertices[..., 2].min(axis=1) <= 0
        text = (
            "the hand is behind the camera (z <= 0): OpenCV axes look along +z; or is the frame wrist_relative_camera?"
        )
        return _of_rows(names, behind, text)
    away = np.linalg.norm(wrists, axis=1) > _WRIST_AT_ORIGIN_M
    return _of_rows(names, away, "the wrist is not at the origin: subtract it, or state the frame camera")


def _of_rows(names: list[str], rows: Bool[np.ndarray, " frames"], text: str) -> list[str]:
    found = [names[row] for row in np.flatnonzero(rows)]
    return [f"{listed(found)}: {text}"] if found else []


def _fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(shape) == len(expected) and all(e is None or e == s for s, e in zip(shape, expected, strict=True))


def _refused(path: Path, problems: list[str]) -> InputError:
    lines = "".join(f"\n  - {problem}" for problem in problems)
    return InputError(
        f"{path}: cannot be scored; correct it where it is written (handloom.evaluation.interchange):{lines}"
    )
