"""The hand and the object of a sequence in every frame, metres: what a phase of HOLD predicts, what HO3D annotates.

A frame that failed or has no annotation is NaN.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from handloom.hand.joints import Side
from handloom.runtime.artifacts import Artifact


@dataclass(frozen=True)
class HandAndObject:
    """A posed hand, and one rigid shape with its pose."""

    names: np.ndarray
    object_vertices_m: Float[np.ndarray, "vertices 3"]
    object_faces: Int[np.ndarray, "faces 3"]
    cam_from_object: Float[np.ndarray, "frames 4 4"]
    hand_vertices_cam_m: Float[np.ndarray, "frames hand 3"]
    hand_joints_cam_m: Float[np.ndarray, "frames 21 3"]
    hand_faces: Int[np.ndarray, "hand_faces 3"]
    side: Side = field(default="right", kw_only=True)
    """Which hand it is."""


_MAY_BE_NAN = ("cam_from_object", "hand_vertices_cam_m", "hand_joints_cam_m")
_AXES = "camera (OpenCV)"


@dataclass(frozen=True)
class HoldPredictions(
    HandAndObject, Artifact, kind="hold_predictions", units="m", frame=_AXES, joint_order="SNAP", may_be_nan=_MAY_BE_NAN
):
    """What a phase predicts, and the camera it was seen with."""

    intrinsics: Float[np.ndarray, "3 3"]


@dataclass(frozen=True)
class HoldTruth(
    HandAndObject, Artifact, kind="hold_truth", units="m", frame=_AXES, joint_order="SNAP", may_be_nan=_MAY_BE_NAN
):
    """A data set's annotation, and which frames have one."""

    valid: Bool[np.ndarray, " frames"]
