"""Object poses that a data set annotates, in the form structure from motion would have found them."""

import sys
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from handloom.estimators.sfm.object_poses import FRAME, KIND
from handloom.estimators.sfm.trajectory import filled_poses
from handloom.runtime.artifacts import Header, write_arrays
from handloom.runtime.errors import InputError
from handloom.runtime.seeds import numpy_generator

_FLIP = np.diag([1.0, -1.0, -1.0])
_POINTS = 2000


def poses_from_ho3d(
    rotvec: Float[np.ndarray, "frames 3"], translation_m: Float[np.ndarray, "frames 3"]
) -> Float[np.ndarray, "frames 4 4"]:
    """OpenCV camera-from-object of HO3D's objRot and objTrans, which are in OpenGL axes: D [R | t], D = diag(1,-1,-1).

    NaN rows, frames without annotation, stay NaN. Source: facts/hold.md 4.
    """
    known = np.isfinite(rotvec).all(1) & np.isfinite(translation_m).all(1)
    poses = np.full((len(rotvec), 4, 4), np.nan)
    poses[known] = np.eye(4)
    poses[known, :3, :3] = _FLIP @ Rotation.from_rotvec(rotvec[known]).as_matrix()
    poses[known, :3, 3] = translation_m[known] @ _FLIP
    return poses


def known_object_poses(
    intrinsics: Float[np.ndarray, "3 3"],
    cam_from_object: Float[np.ndarray, "frames 4 4"],
    points_object: Float[np.ndarray, "points 3"],
    output: Path,
    *,
    valid: Bool[np.ndarray, " frames"] | None = None,
    min_registered: float = 0.7,
    seed: int = 0,
) -> None:
    """Write `object_poses` from known poses (OpenCV camera, metres) and points of the object's model.

    Frames that are not `valid`, or NaN, are interpolated and counted; at most 2000 points are kept, drawn at random.
    Raises InputError when fewer than `min_registered` of the frames have a pose or there are no points.
    """
    registered = np.isfinite(cam_from_object).all((1, 2)) & (True if valid is None else valid)
    if len(points_object) == 0:
        raise InputError(f"{output}: found no points of the object's model; check the data set's models folder")
    if not registered.any() or registered.mean() < min_registered:
        raise InputError(
            f"{output}: {registered.sum()} of {len(registered)} frames have an annotated object pose, expected at "
            f"least {min_registered:.0%} (sfm.min_registered); choose other frames or sfm.backend: pycolmap"
        )
    missing = np.flatnonzero(~registered)
    if len(missing):
        print(f"{output.name}: {len(missing)} of {len(registered)} annotated poses interpolated", file=sys.stderr)
    chosen = numpy_generator(seed, "known_object_poses").permutation(len(points_object))[:_POINTS]
    points = points_object[np.sort(chosen)]
    arrays = {
        "intrinsics": np.asarray(intrinsics, float),
        "radial": np.array(0.0),
        "cam_from_object": filled_poses(cam_from_object, registered, np.median(points, 0)),
        "registered": registered,
        "points_object": np.asarray(points, float),
        "reprojection_px": np.array(0.0),
    }
    extra = {
        "mapper": "known",
        "registered": f"{registered.sum()} of {len(registered)}",
        "interpolated": ", ".join(map(str, missing.tolist())),
    }
    write_arrays(
        output, arrays, Header(KIND, units="metres; intrinsics in pixels", frame=FRAME, seed=seed, extra=extra)
    )
