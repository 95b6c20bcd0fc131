"""The model that a backend of structure from motion hands back, and how it is read out of COLMAP's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import FiniteFloat

from handloom.estimators.sfm.seams import Tear
from handloom.runtime.artifacts import Artifact

# COLMAP puts the centre of the first pixel at (0.5, 0.5), handloom at (0, 0).
COLMAP_PIXEL_OFFSET = 0.5


@dataclass(frozen=True)
class SparseModel(
    Artifact,
    kind="sparse_model",
    units="SfM",
    frame="camera from object, OpenCV",
    may_be_nan=("cam_from_object", "link_share"),
):
    """The largest right part of a model, frames in the order of its names; rows of frames without pose are NaN.

    Poses map SfM units to OpenCV camera axes: COLMAP's camera-from-world is camera-from-object. `radial` is COLMAP's k
    of r_d = r (1 + k r^2), 0 for a pinhole. `features` and `observed` count, per frame, the features on the object and
    those that became points. `link_share` is that of the seam to the next registered frame (`seams`), NaN where none
    was looked at.
    """

    intrinsics: Float[np.ndarray, "3 3"]
    radial: FiniteFloat
    cam_from_object: Float[np.ndarray, "frames 4 4"]
    registered: Bool[np.ndarray, " frames"]
    points_object: Float[np.ndarray, "points 3"]
    reprojection_px: FiniteFloat
    features: Int[np.ndarray, " frames"]
    observed: Int[np.ndarray, " frames"]
    observations: Int[np.ndarray, "observations 2"]
    """Rows of a frame and of a point that it sees."""
    link_share: Float[np.ndarray, " frames"]
    mapper: str
    cuts: tuple[Tear, ...] = ()

    def only(self, kept: Bool[np.ndarray, " frames"]) -> "SparseModel":
        """Some of the registered frames, without the points that only the others see."""
        lost, seen = np.zeros((2, len(self.points_object)), bool)
        lost[self.observations[:, 1]] = True
        seen[self.observations[kept[self.observations[:, 0]], 1]] = True
        inner = kept & (np.cumsum(kept[::-1])[::-1] > 1)
        return replace(
            self,
            registered=kept,
            points_object=self.points_object[seen | ~lost],
            observations=np.zeros((0, 2), int),
            link_share=np.where(inner, self.link_share, np.nan),
        )


def empty_model(features: Int[np.ndarray, " frames"], mapper: str = "none") -> SparseModel:
    """The model of a sequence in which nothing was registered."""
    count = len(features)
    return SparseModel(
        intrinsics=np.eye(3),
        radial=0.0,
        cam_from_object=np.full((count, 4, 4), np.nan),
        registered=np.zeros(count, bool),
        points_object=np.zeros((0, 3)),
        reprojection_px=0.0,
        features=features,
        observed=np.zeros(count, int),
        observations=np.zeros((0, 2), int),
        link_share=np.full(count, np.nan),
        mapper=mapper,
    )


def from_reconstruction(
    reconstruction: Any, names: Sequence[str], features: Int[np.ndarray, " frames"], mapper: str
) -> SparseModel:
    """A `pycolmap.Reconstruction` with frames found by NAME: COLMAP's ids follow no order that may be relied on.

    Principal point and focal length are those of COLMAP's one camera, moved to handloom's pixel centres. HOLD takes
    COLMAP's id - 1 for a frame's number (format_poses of generator/src/colmap/colmap_utils.py).
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
        return empty_model(features, mapper)
    intrinsics = np.array(camera.calibration_matrix(), float)
    intrinsics[:2, 2] -= COLMAP_PIXEL_OFFSET
    return replace(
        empty_model(features, mapper),
        intrinsics=intrinsics,
        radial=float(camera.params[-1]) if camera.model.name == "SIMPLE_RADIAL" else 0.0,
        cam_from_object=poses,
        registered=np.isfinite(poses[:, 0, 0]),
        points_object=points,
        reprojection_px=float(reconstruction.compute_mean_reprojection_error()),
        observed=observed,
    )


def observations_of(reconstruction: Any, names: Sequence[str]) -> Int[np.ndarray, "observations 2"]:
    """Rows (frame, point) of who sees which point of a `pycolmap.Reconstruction`, points in its own order."""
    row_of = {name: row for row, name in enumerate(names)}
    frame_of = {image_id: row_of[reconstruction.images[image_id].name] for image_id in reconstruction.reg_image_ids()}
    tracks = enumerate(point.track.elements for point in reconstruction.points3D.values())
    seen = [(frame_of[each.image_id], row) for row, elements in tracks for each in elements]
    return np.array(seen, int).reshape(-1, 2)


def larger(first: SparseModel, second: SparseModel) -> SparseModel:
    """The model with more registered frames; of two equal ones that with more points."""
    return max((first, second), key=lambda model: (int(model.registered.sum()), len(model.points_object)))
