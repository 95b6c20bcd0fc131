"""The stage that finds the object's pose in every frame, and the gates it has to pass."""

import sys
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from handloom.datasets.mask_labels import OBJECT
from handloom.estimators.masks.sequence_files import frame_paths, image_size, read_label_sequence, shrunk
from handloom.estimators.sfm.job import SfmJob, run_job
from handloom.estimators.sfm.point_cloud import trimmed_points
from handloom.estimators.sfm.sparse_model import SparseModel
from handloom.estimators.sfm.trajectory import filled_poses
from handloom.runtime.artifacts import Header, write_arrays
from handloom.runtime.config.sfm import SfmSettings
from handloom.runtime.errors import InputError

KIND = "object_poses"
UNITS = "SfM units; intrinsics and reprojection_px in pixels"
FRAME = "OpenCV camera from object"
# A radial term is only told from the focal length by features near the image's edge.
_RADIAL_REACH = 0.75
_LISTED = 8

CameraModel = Literal["PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL"]


def estimate_object_poses(
    settings: SfmSettings,
    frames_folder: Path,
    masks_folder: Path,
    output: Path,
    *,
    known_intrinsics: Float[np.ndarray, "3 3"] | None,
    seed: int,
) -> None:
    """Write `object_poses`: structure from motion of the masked object, gaps interpolated, points trimmed.

    Arrays: intrinsics, radial (COLMAP's k; 0 for a pinhole), cam_from_object in SfM units, registered, points_object,
    reprojection_px. Raises InputError for an object without texture or with an empty mask in most frames, for too
    few registered frames, mixed sizes, and a backend that fails. Source: facts/hold.md 1.7.
    """
    frames = frame_paths(frames_folder)
    labels = read_label_sequence(masks_folder, frames)
    _require_visible(labels, masks_folder, settings)
    width, height = image_size(frames[0])
    known = None if known_intrinsics is None or not settings.use_known_intrinsics else np.asarray(known_intrinsics)
    with tempfile.TemporaryDirectory(prefix="handloom-sfm-") as work:
        masks = Path(work) / "masks"
        _write_object_masks(masks, [path.name for path in frames], labels, settings.mask_erosion_px)
        job = SfmJob(
            frames_folder=Path(frames_folder).absolute(),
            masks_folder=masks,
            work_folder=Path(work) / "model",
            names=[path.name for path in frames],
            width_px=width,
            height_px=height,
            camera_model=camera_model(settings, labels, known),
            known_intrinsics=known,
            settings=settings,
            seed=seed,
        )
        model = run_job(job)
    _write_object_poses(model, settings, [path.name for path in frames], Path(frames_folder), output, seed)


def camera_model(
    settings: SfmSettings,
    labels: UInt8[np.ndarray, "frames height width"],
    known_intrinsics: Float[np.ndarray, "3 3"] | None,
) -> CameraModel:
    """PINHOLE where the camera is known; `auto` estimates distortion only if the object comes near the image's edge."""
    if known_intrinsics is not None:
        return "PINHOLE"
    if settings.camera_model != "auto":
        return settings.camera_model
    height, width = labels.shape[1:]
    row, column = np.nonzero((labels == OBJECT).any(0))
    radius = np.hypot(row - (height - 1) / 2, column - (width - 1) / 2) / (np.hypot(height, width) / 2)
    return "SIMPLE_RADIAL" if radius.max() >= _RADIAL_REACH else "SIMPLE_PINHOLE"


def _require_visible(labels: UInt8[np.ndarray, "frames height width"], folder: Path, settings: SfmSettings) -> None:
    visible = (labels == OBJECT).any((1, 2))
    if visible.mean() < max(settings.min_registered, 1 / len(labels)):
        raise InputError(
            f"{folder}: the object's mask is empty in {np.sum(~visible)} of {len(visible)} frames, but at least "
            f"{settings.min_registered:.0%} of the frames must show it (sfm.min_registered); check the masks or the "
            "prompt they are made from"
        )


def _write_object_masks(
    folder: Path, names: list[str], labels: UInt8[np.ndarray, "frames height width"], erosion_px: int
) -> None:
    """Masks as COLMAP looks for them: `<name>.png`, 255 where features may lie."""
    folder.mkdir(parents=True)
    for name, image in zip(names, labels, strict=True):
        mask = np.where(image == OBJECT, np.uint8(255), np.uint8(0))
        Image.fromarray(shrunk(mask, erosion_px)).save(folder / f"{name}.png")


def _write_object_poses(
    model: SparseModel, settings: SfmSettings, names: list[str], frames_folder: Path, output: Path, seed: int
) -> None:
    features = int(np.median(model.features))
    if features < settings.min_features:
        raise InputError(
            f"{frames_folder}: the object has {features} features in the median frame, expected at least "
            f"{settings.min_features} (sfm.min_features): it seems to have no texture, or is very small in the image. "
            "Try sharper or larger frames, a lower sfm.peak_threshold, or poses from elsewhere (sfm.backend: known)"
        )
    registered = model.registered & (model.observed >= settings.min_observed_points)
    missing = [name for name, there in zip(names, registered, strict=True) if not there]
    listed = ", ".join(missing[:_LISTED]) + (", ..." if len(missing) > _LISTED else "")
    if registered.mean() < settings.min_registered or not registered.any():
        raise InputError(
            f"{frames_folder}: structure from motion registered {registered.sum()} of {len(registered)} frames, "
            f"expected at least {settings.min_registered:.0%} (sfm.min_registered); without pose: {listed}. Try frames "
            "that follow each other closely, an object larger in view, sfm.mapper: incremental, a lower "
            "sfm.min_matches or sfm.peak_threshold, or check the object's masks"
        )
    points = trimmed_points(model.points_object, quantile=settings.trim_quantile, factor=settings.trim_factor)
    poses = filled_poses(model.cam_from_object, registered, np.median(points, 0))
    if missing:
        print(f"{output.name}: {len(missing)} of {len(names)} poses interpolated: {listed}", file=sys.stderr)
    arrays = {
        "intrinsics": model.intrinsics,
        "radial": np.array(model.radial),
        "cam_from_object": poses,
        "registered": registered,
        "points_object": points,
        "reprojection_px": np.array(model.reprojection_px),
    }
    extra = {
        "mapper": model.mapper,
        "registered": f"{registered.sum()} of {len(registered)}",
        "interpolated": ", ".join(missing),
        "trimmed_points": f"{len(model.points_object) - len(points)} of {len(model.points_object)}",
        "median_features": str(features),
    }
    write_arrays(output, arrays, Header(KIND, units=UNITS, frame=FRAME, seed=seed, extra=extra))
