"""What a reconstruction hands back: poses of the registered frames, points, and the camera that saw them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from handloom.runtime.artifacts import Header, read_arrays, write_arrays

KIND = "sparse_model"
# COLMAP puts the centre of the first pixel at (0.5, 0.5), handloom at (0, 0).
COLMAP_PIXEL_OFFSET = 0.5


@dataclass(frozen=True)
class SparseModel:
    """The largest model of a sequence, frames in the order of its names; rows of unregistered frames are NaN.

    Poses map SfM units to OpenCV camera axes. `radial` is COLMAP's k of r_d = r (1 + k r^2), 0 for a pinhole.
    `features` and `observed` count, per frame, the features on the object and those that became points.
    """

    intrinsics: Float[np.ndarray, "3 3"]
    radial: float
    cam_from_object: Float[np.ndarray, "frames 4 4"]
    registered: Bool[np.ndarray, " frames"]
    points_object: Float[np.ndarray, "points 3"]
    reprojection_px: float
    features: Int[np.ndarray, " frames"]
    observed: Int[np.ndarray, " frames"]
    mapper: str

    def write(self, path: Path) -> None:
        """Write the model as an npz archive of kind `sparse_model`."""
        arrays = {name: np.asarray(value) for name, value in vars(self).items()}
        write_arrays(path, arrays, Header(KIND, units="SfM", frame="camera from object, OpenCV"))

    @classmethod
    def read(cls, path: Path) -> "SparseModel":
        """Read what `write` wrote; raises InputError as `read_arrays` does."""
        arrays, _ = read_arrays(path, KIND)
        return cls(
            intrinsics=arrays["intrinsics"],
            radial=float(arrays["radial"]),
            cam_from_object=arrays["cam_from_object"],
            registered=arrays["registered"],
            points_object=arrays["points_object"],
            reprojection_px=float(arrays["reprojection_px"]),
            features=arrays["features"],
            observed=arrays["observed"],
            mapper=str(arrays["mapper"]),
        )


def empty_model(
    features: Int[np.ndarray, " frames"], intrinsics: Float[np.ndarray, "3 3"], mapper: str = "none"
) -> SparseModel:
    """The model of a sequence in which nothing was registered."""
    count = len(features)
    return SparseModel(
        intrinsics=intrinsics,
        radial=0.0,
        cam_from_object=np.full((count, 4, 4), np.nan),
        registered=np.zeros(count, bool),
        points_object=np.zeros((0, 3)),
        reprojection_px=0.0,
        features=features,
        observed=np.zeros(count, int),
        mapper=mapper,
    )


def from_reconstruction(
    reconstruction: Any, names: Sequence[str], features: Int[np.ndarray, " frames"], mapper: str
) -> SparseModel:
    """A `pycolmap.Reconstruction` with frames found by NAME: COLMAP's ids follow no order that may be relied on.

    Principal point and focal length are those of COLMAP's one camera, moved to handloom's pixel centres.
    Source: facts/hold.md 1.7, whose index = id - 1 this replaces.
    """
    row_of = {name: row for row, name in enumerate(names)}
    count = len(names)
    poses, observed = np.full((count, 4, 4), np.nan), np.zeros(count, int)
    camera = None
    for image_id in reconstruction.reg_image_ids():
        image = reconstruction.images[image_id]
        row = row_of[image.name]
        poses[row] = np.eye(4)
        poses[row, :3] = image.cam_from_world().matrix()
        observed[row] = image.num_points3D
        camera = reconstruction.cameras[image.camera_id]
    points = np.array([point.xyz for point in reconstruction.points3D.values()]).reshape(-1, 3)
    if camera is None or len(points) == 0:
        return empty_model(features, np.eye(3), mapper)
    intrinsics = np.array(camera.calibration_matrix(), float)
    intrinsics[:2, 2] -= COLMAP_PIXEL_OFFSET
    radial = float(camera.params[-1]) if camera.model.name == "SIMPLE_RADIAL" else 0.0
    return SparseModel(
        intrinsics=intrinsics,
        radial=radial,
        cam_from_object=poses,
        registered=np.isfinite(poses[:, 0, 0]),
        points_object=points,
        reprojection_px=float(reconstruction.compute_mean_reprojection_error()),
        features=features,
        observed=observed,
        mapper=mapper,
    )


def larger(first: SparseModel, second: SparseModel) -> SparseModel:
    """The model with more registered frames; of two equal ones that with more points."""
    return max((first, second), key=lambda model: (int(model.registered.sum()), len(model.points_object)))
