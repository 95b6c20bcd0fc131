"""The file by which other methods (iHOI, DiffHOI) are scored with HOLD's metrics: its checks and its scorer.

One npz per sequence, written in the method's own environment with `numpy.savez`, no pickles; docs/interchange.md lists
its arrays and says how each method's output becomes such a file.

Joints are never taken from a method: they are regressed from the vertices (`J_regressor`, and five tip vertices), in
prediction and ground truth alike when the latter's hand has the same vertices. None of the metrics depends on where
the hand is, so files in both frames get the same scores.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from handloom.datasets.hand_and_object import HoldTruth
from handloom.evaluation.hold_scores import FrameMeshes, Protocol, aligned_shape, matched, score_aligned, write_scores
from handloom.evaluation.icp import RESTARTS
from handloom.evaluation.mesh_metrics import FramePoints, mpjpe_mm
from handloom.geometry.bounds import OBJECT_SIZE_M
from handloom.hand.joints import SNAP_FROM_MANO21
from handloom.hand.mano import HandModel
from handloom.hand.mano_files import MANO_VERTEX_COUNT
from handloom.hand.models import configured_hand, fits
from handloom.runtime.errors import InputError
from handloom.runtime.npz import read_npz

FRAMES = ("camera", "wrist_relative_camera")
_PAGE = "docs/interchange.md"
_TEXTS = ("frame", "units", "method", "weights_id")
_ARRAYS = {
    "hand_verts": ("f", "real numbers"),
    "obj_verts": ("f", "real numbers"),
    "obj_vert_ptr": ("iu", "integers"),
    "obj_faces": ("iu", "integers"),
    "obj_face_ptr": ("iu", "integers"),
}
"""The arrays besides `fnames`, and the kinds of NumPy types that each may be of."""
_HAND_SIZE_M = (0.05, 0.4)
"""Diagonal of a hand's bounding box, from a fist of a child to a spread hand of a man, with room."""
_WRIST_AT_ORIGIN_M = 0.02
"""Hand models differ by less in where the wrist is."""
_TYPICAL_SIZE_M = 0.2
"""Of a hand, and near enough of what it holds to tell the unit by."""
_UNITS = {
    5: "iHOI's normalised cube (0.2 m to 1)",
    10: "DiffHOI's joint frame (10 to a metre)",
    100: "centimetres",
    1000: "millimetres",
}
"""What lengths may be in when they are about so many times too large."""
_ROWS_NAMED = 5  # of frames with a problem; the rest is counted
_AXES = {
    "OpenGL's axes (y up, z towards the camera)": (1.0, -1.0, -1.0),
    "PyTorch3D's axes (x left, y up)": (-1.0, -1.0, 1.0),
    "a left hand or a mirrored image (x)": (-1.0, 1.0, 1.0),
}
"""Turned by these signs, coordinates of other conventions become OpenCV's."""
_CLEARLY = 0.5
"""Other axes are suspected when they leave less than this share of the joints' error ..."""
_LARGE_MM = 20.0
"""... and the error is larger than this."""
_APART_M = 0.5
"""Who holds an object has its middle nearer to the wrist."""
_SIZE_RATIO = 4.0
"""Reconstructions are less wrong in scale than this; other units are wrong by 5 and more."""


@dataclass(frozen=True)
class Interchange:
    """A checked interchange file."""

    method: str
    weights_id: str
    meshes: FrameMeshes
    failed: Bool[np.ndarray, " frames"]


def score_interchange(
    interchange: Path,
    truth: Path,
    scores: Path,
    frames: Path,
    *,
    hand: Path | None = None,
    sequence: str,
    method: str,
    protocol: Protocol,
    seed: int,
    restarts: int = RESTARTS,
) -> None:
    """Stage: score another method's file as HOLD's own predictions are scored; `hand` is the user's MANO.

    What lowers the coverage or looks wrong, though it can be scored, is printed and goes into the table's row. Raises
    InputError as the reader does, and for a file of another method than `method` or of another sequence.
    """
    model = configured_hand(hand)
    found = read_interchange(interchange, model)
    if found.method != method:
        raise InputError(
            f"{interchange}: states the method '{found.method}', but hold.interchange names it under {method}; "
            "correct either"
        )
    annotated = HoldTruth.load(truth)
    if annotated.hand_vertices_cam_m.shape[1] == len(model.v_template):
        joints_m = joints_from_vertices(model, annotated.hand_vertices_cam_m.astype(np.float64))
        annotated = replace(annotated, hand_joints_cam_m=joints_m)
    annotation, valid = FrameMeshes.of(annotated, truth), annotated.valid
    try:
        meshes = matched(found.meshes, annotation), annotation
        shape = aligned_shape(*meshes, valid, protocol=protocol, seed=seed, restarts=restarts)
        scored = score_aligned(*meshes, valid, shape)
    except InputError as error:
        raise InputError(f"{interchange}: {error}") from error
    of = {"sequence": sequence, "method": method, "variant": found.weights_id, "protocol": protocol, "seed": seed}
    of["hand"] = annotated.side
    notes = list(_remarks(found, annotation, valid))
    for note in notes:
        print(f"{interchange}: {note}", file=sys.stderr)
    write_scores(scores, frames, *scored, of | ({"remark": "; ".join(notes)} if notes else {}))


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
    _refuse(path, _layout_problems(arrays, len(hand.v_template)))
    names = [str(name) for name in arrays["fnames"]]
    vertices = arrays["hand_verts"].astype(np.float64)
    objects = FramePoints(arrays["obj_verts"].astype(np.float64), arrays["obj_vert_ptr"].astype(np.int64))
    face_ptr = arrays["obj_face_ptr"].astype(np.int64)
    blocks = [arrays["obj_faces"][start:stop].astype(np.int64) for start, stop in pairwise(face_ptr)]
    joints = joints_from_vertices(hand, np.where(np.isfinite(vertices), vertices, np.nan))
    meshes = FrameMeshes(names, joints, objects, blocks)
    _refuse(path, _frame_problems(meshes, vertices, str(arrays["frame"])))
    failed = np.isnan(vertices).any((1, 2)) | ~objects.usable
    return Interchange(str(arrays["method"]), str(arrays["weights_id"]), meshes, failed)


def _load(path: Path) -> dict[str, np.ndarray]:
    advice = f"write it with numpy.savez and plain arrays, as {_PAGE} says"
    return read_npz(path, "an interchange file, an npz without pickles", advice, wanted=("fnames", *_ARRAYS, *_TEXTS))


def _refuse(path: Path, problems: Iterable[str]) -> None:
    lines = "".join(f"\n  - {problem}" for problem in problems)
    if lines:
        raise InputError(f"{path}: cannot be scored; correct it where it is written ({_PAGE}):{lines}")


def _layout_problems(arrays: dict[str, np.ndarray], hand_vertices: int) -> Iterator[str]:
    missing = [name for name in ("fnames", *_ARRAYS, *_TEXTS) if name not in arrays]
    if missing:
        yield f"lacks {', '.join(missing)}"
        return
    names = arrays["fnames"]
    count = len(names) if names.ndim == 1 else 0
    if names.dtype.kind != "U" or not count:
        yield f"fnames is {names.dtype} of shape {names.shape}, expected (N) text with N > 0"
    twice = sorted({str(name) for name in names if (names == name).sum() > 1}) if names.ndim == 1 else []
    if twice:
        yield f"fnames holds {_listed(twice)} more than once"
    hands = {"hand_verts": (count, hand_vertices, 3), "obj_verts": (None, 3)}
    for name, shape in {**hands, "obj_vert_ptr": (count + 1,), "obj_faces": (None, 3)}.items():
        if not fits(arrays[name].shape, shape):
            mano = name == "hand_verts" and fits(arrays[name].shape, (count, MANO_VERTEX_COUNT, 3))
            hint = "; these are MANO's vertices: set `mano` in the configuration" if mano else ""
            yield f"{name} has shape {arrays[name].shape}, expected {str(shape).replace('None', 'any')}{hint}"
    if arrays["obj_face_ptr"].shape not in ((count + 1,), (2,)):
        yield f"obj_face_ptr has shape {arrays['obj_face_ptr'].shape}, expected ({count + 1},) or (2,)"
    for name in _TEXTS:
        if arrays[name].ndim or arrays[name].dtype.kind != "U":
            yield f"{name} is {arrays[name].dtype} of shape {arrays[name].shape}, expected one text"
    for name, (kinds, what) in _ARRAYS.items():
        if arrays[name].dtype.kind not in kinds:
            yield f"{name} is {arrays[name].dtype}, expected {what}"
    for pointers, rows in (("obj_vert_ptr", "obj_verts"), ("obj_face_ptr", "obj_faces")):
        values = arrays[pointers].ravel().astype(np.int64)
        if len(values) and (values[0] != 0 or values[-1] != len(arrays[rows]) or (np.diff(values) < 0).any()):
            yield f"{pointers} must rise from 0 to the {len(arrays[rows])} rows of {rows}"
    if str(arrays["frame"]) not in FRAMES:
        yield f"frame is '{arrays['frame']}', expected one of {', '.join(FRAMES)}"
    if str(arrays["units"]) != "m":
        yield f"units is '{arrays['units']}', expected 'm': convert all lengths to metres"


def _frame_problems(meshes: FrameMeshes, hands: Float[np.ndarray, "frames vertices 3"], frame: str) -> Iterator[str]:
    """What is wrong with single frames: sizes, half-failed hands, faces beyond the vertices, another frame."""
    broken = (~np.isfinite(hands)).any(2)
    objects = [meshes.mesh(row) for row in range(len(meshes.names))]
    hand_m = np.linalg.norm(np.ptp(hands, axis=1), axis=1)
    object_m = np.array([_diagonal_m(vertices) if len(vertices) else np.nan for vertices, _ in objects])
    beyond = [bool(len(f)) and len(v) > 0 and (f.min() < 0 or f.max() >= len(v)) for v, f in objects]
    wrist_m = np.linalg.norm(meshes.joints_m[:, 0], axis=1)
    in_camera = frame == "camera"
    checks = {
        "hand_verts is NaN in part; a failed frame is all NaN": broken.any(1) & ~broken.all(1),
        "hand_verts is infinite; a failed frame is NaN": np.isinf(hands).any((1, 2)),
        _size_text("hand", hand_m, _HAND_SIZE_M): (hand_m < _HAND_SIZE_M[0]) | (hand_m > _HAND_SIZE_M[1]),
        _size_text("object", object_m, OBJECT_SIZE_M): (object_m < OBJECT_SIZE_M[0]) | (object_m > OBJECT_SIZE_M[1]),
        "obj_faces names a vertex that the frame does not have": np.array(beyond),
        "has vertices of the object but no faces": np.array([len(v) > 0 and not len(f) for v, f in objects]),
        "the hand is behind the camera (z <= 0): OpenCV axes look along +z; or is the frame wrist_relative_camera?": (
            in_camera & (hands[..., 2].min(axis=1) <= 0)
        ),
        "the wrist is not at the origin: subtract it, or state the frame camera": (
            (not in_camera) & (wrist_m > _WRIST_AT_ORIGIN_M)
        ),
    }
    for text, rows in checks.items():
        if rows.any():
            yield f"{_listed([meshes.names[row] for row in np.flatnonzero(rows)])}: {text}"


def _size_text(what: str, size_m: np.ndarray, allowed: tuple[float, float]) -> str:
    known = size_m[np.isfinite(size_m)]
    typical = float(np.median(known)) if len(known) else np.nan
    factor = typical / _TYPICAL_SIZE_M
    nearest = min(_UNITS, key=lambda times: abs(np.log(max(factor, 1e-9) / times)))
    unit = f"; are these {_UNITS[nearest]}?" if typical > allowed[1] else ""
    return (
        f"the {what} is not between {allowed[0]} and {allowed[1]} m large (median over all frames {typical:.3g}){unit}"
    )


def _remarks(found: Interchange, truth: FrameMeshes, valid: Bool[np.ndarray, " annotated"]) -> Iterator[str]:
    """What a reader of the scores has to know: frames missing, failed or unknown to the sequence, and suspicions.

    A file can be well formed and still be of other axes, of another scale or with hand and object in different frames.
    The annotation shows such things; they are told in the table's row and change no score.
    """
    predicted = found.meshes
    present, known = set(predicted.names), set(truth.names)
    annotated = [name for name, good in zip(truth.names, valid, strict=True) if good]
    missing = [name for name in annotated if name not in present]
    lost = [name for name, bad in zip(predicted.names, found.failed, strict=True) if bad and name in known]
    strangers = [name for name in predicted.names if name not in known]
    if missing:
        yield f"{len(missing)} of {len(annotated)} annotated frames are not in the file ({_listed(missing)})"
    if lost:
        yield f"{len(lost)} frames failed ({_listed(lost)})"
    if strangers:
        yield f"{len(strangers)} frames of the file are not the sequence's ({_listed(strangers)})"
    aligned = matched(predicted, truth)

    # The convention whose axes would fit the annotated hand far better, if any.
    error_mm = {
        name: _median(mpjpe_mm(aligned.joints_m * np.array(signs), truth.joints_m, valid))
        for name, signs in {"": (1.0, 1.0, 1.0), **_AXES}.items()
    }
    given = error_mm.pop("")
    best = min(error_mm, key=lambda name: error_mm[name])
    if given > _LARGE_MM and error_mm[best] < _CLEARLY * given:
        errors = f"{error_mm[best]:.0f} mm instead of {given:.0f} mm"
        yield f"the hand would fit far better in {best}: {errors}; OpenCV's are due"

    # CD is taken after the scale was aligned and would not show an object in other units than the hand.
    usable = np.flatnonzero(valid & aligned.object_points.usable & truth.object_points.usable).tolist()
    sizes = [[_diagonal_m(meshes.object_points.of(row)) for meshes in (aligned, truth)] for row in usable]
    ratio = _median(np.array([size / true for size, true in sizes]))
    if sizes and not 1 / _SIZE_RATIO < ratio < _SIZE_RATIO:
        yield f"the object is {ratio:.3g} times as large as the annotated one; is it in the hand's units?"

    apart_m = np.linalg.norm(predicted.object_points.bounding_box_centres_m() - predicted.joints_m[:, 0], axis=1)
    far = [name for name, distance_m in zip(predicted.names, apart_m, strict=True) if distance_m > _APART_M]
    if far:
        yield f"{_listed(far)}: the object is more than {_APART_M} m from the wrist; are both in the same frame?"


def _listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - _ROWS_NAMED} more" if len(names) > _ROWS_NAMED else ""
    return f"frame{'s' if len(names) > 1 else ''} {', '.join(names[:_ROWS_NAMED])}{more}"


def _diagonal_m(points_m: Float[np.ndarray, "points 3"]) -> float:
    return float(np.linalg.norm(np.ptp(points_m, axis=0)))


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")
