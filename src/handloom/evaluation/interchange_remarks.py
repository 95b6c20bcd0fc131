"""What a reader of another method's scores has to know: frames that are not there, and signs of a wrong convention.

A file can be well formed and still be of other axes, of another scale or with hand and object in different frames. The
annotation shows such things; they are told in the table's row and change no score.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from handloom.evaluation.frame_meshes import FrameMeshes, matched
from handloom.evaluation.mesh_metrics import mpjpe_mm

_ROWS_NAMED = 5
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
_SIZE_RATIO = 4.0


def remarks(
    predicted: FrameMeshes,
    failed: Bool[np.ndarray, " frames"],
    truth: FrameMeshes,
    valid: Bool[np.ndarray, " annotated"],
) -> list[str]:
    """Each a sentence without a full stop: frames missing, failed or unknown to the sequence, and suspicions."""
    present, known = set(predicted.names), set(truth.names)
    annotated = [name for name, good in zip(truth.names, valid, strict=True) if good]
    missing = [name for name in annotated if name not in present]
    lost = [name for name, bad in zip(predicted.names, failed, strict=True) if bad and name in known]
    strangers = [name for name in predicted.names if name not in known]
    found = []
    if missing:
        found.append(f"{len(missing)} of {len(annotated)} annotated frames are not in the file ({listed(missing)})")
    if lost:
        found.append(f"{len(lost)} frames failed ({listed(lost)})")
    if strangers:
        found.append(f"{len(strangers)} frames of the file are not the sequence's ({listed(strangers)})")
    aligned = matched(predicted, truth)
    return [*found, *_axes(aligned, truth, valid), *_scale(aligned, truth, valid), *_apart(predicted)]


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - _ROWS_NAMED} more" if len(names) > _ROWS_NAMED else ""
    return f"frame{'s' if len(names) > 1 else ''} {', '.join(names[:_ROWS_NAMED])}{more}"


def _axes(predicted: FrameMeshes, truth: FrameMeshes, valid: Bool[np.ndarray, " frames"]) -> list[str]:
    """The convention whose axes would fit the annotated hand far better, if any."""

    def error_mm(signs: tuple[float, ...]) -> float:
        return _median(mpjpe_mm(predicted.joints_m * np.array(signs), truth.joints_m, valid))

    given = error_mm((1.0, 1.0, 1.0))
    others = {name: error_mm(signs) for name, signs in _AXES.items()}
    best = min(others, key=lambda name: others[name])
    if not given > _LARGE_MM or not others[best] < _CLEARLY * given:
        return []
    return [
        f"the hand would fit far better in {best}: {others[best]:.0f} mm instead of {given:.0f} mm; OpenCV's are due"
    ]


def _scale(predicted: FrameMeshes, truth: FrameMeshes, valid: Bool[np.ndarray, " frames"]) -> list[str]:
    """CD is taken after the scale was aligned and would not show an object in other units than the hand."""
    chosen = np.flatnonzero(valid & predicted.object_points.usable & truth.object_points.usable).tolist()
    ratios = [_diagonal_m(predicted.object_points.of(row)) / _diagonal_m(truth.object_points.of(row)) for row in chosen]
    ratio = _median(np.array(ratios))
    if not ratios or 1 / _SIZE_RATIO < ratio < _SIZE_RATIO:
        return []
    return [f"the object is {ratio:.3g} times as large as the annotated one; is it in the hand's units?"]


def _apart(predicted: FrameMeshes) -> list[str]:
    centres, wrists = predicted.object_points.bounding_box_centres_m(), predicted.joints_m[:, 0]
    away = np.linalg.norm(centres - wrists, axis=1) > _APART_M
    rows = [name for name, far in zip(predicted.names, away, strict=True) if far]
    if not rows:
        return []
    return [f"{listed(rows)}: the object is more than {_APART_M} m from the wrist; are both in the same frame?"]


def _diagonal_m(points_m: Float[np.ndarray, "points 3"]) -> float:
    return float(np.linalg.norm(np.ptp(points_m, axis=0)))


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")
