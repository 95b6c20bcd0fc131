"""Radial distortion, removed once from the frames so that every later stage has a pinhole camera.

COLMAP's SIMPLE_RADIAL is OpenCV's model with k1 alone: a ray at radius r of the unit plane is seen at r (1 + k r^2).
"""

import shutil
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float

from handloom.estimators.masks.sequence_files import frame_paths
from handloom.runtime.files import whole_folder
from handloom.runtime.finite_arrays import read_finite_arrays
from handloom.runtime.images import read_grey, read_rgb


def undistorted_points(
    points_px: Float[np.ndarray, "*batch 2"], intrinsics: Float[np.ndarray, "3 3"], radial: float
) -> Float[np.ndarray, "*batch 2"]:
    """Pixels of a distorted frame where the pinhole camera of the same intrinsics would see them; NaN stays NaN."""
    if radial == 0 or points_px.size == 0:
        return points_px
    flat = points_px.reshape(-1, 1, 2).astype(np.float64)
    known = np.isfinite(flat[:, 0, 0])
    result = np.full_like(flat, np.nan)
    if known.any():
        result[known] = cv2.undistortPoints(flat[known], intrinsics, _coefficients(radial), P=intrinsics).reshape(
            -1, 1, 2
        )
    return result.reshape(points_px.shape)


def undistorted_image(image: np.ndarray, intrinsics: Float[np.ndarray, "3 3"], radial: float) -> np.ndarray:
    """A frame, or with two axes a label image (nearest neighbour), as the pinhole camera would see it."""
    if radial == 0:
        return image
    height, width = image.shape[:2]
    columns, rows = cv2.initUndistortRectifyMap(
        intrinsics, _coefficients(radial), None, intrinsics, (width, height), cv2.CV_32FC1
    )
    order = cv2.INTER_NEAREST if image.ndim == 2 else cv2.INTER_LINEAR
    border = cv2.BORDER_CONSTANT if image.ndim == 2 else cv2.BORDER_REPLICATE
    return np.asarray(cv2.remap(image, columns, rows, order, borderMode=border))


def undistort_sequence(
    frames_folder: Path, masks_folder: Path, object_poses: Path, frames_output: Path, masks_output: Path
) -> None:
    """Write frames and masks as seen by the pinhole camera of `object_poses`; equal copies where it has no distortion.

    Raises InputError for frames of mixed sizes and unreadable files.
    """
    arrays, _ = read_finite_arrays(object_poses, "object_poses", ("radial", "intrinsics"))
    radial, intrinsics = float(arrays["radial"]), arrays["intrinsics"]
    with whole_folder(frames_output) as frames, whole_folder(masks_output) as masks:
        for path in frame_paths(frames_folder):
            mask = Path(masks_folder) / path.name
            if radial == 0:
                shutil.copyfile(path, frames / path.name)
                shutil.copyfile(mask, masks / path.name)
                continue
            image = undistorted_image(read_rgb(path), intrinsics, radial)
            cv2.imwrite(str(frames / path.name), np.ascontiguousarray(image[..., ::-1]))
            cv2.imwrite(str(masks / path.name), undistorted_image(read_grey(mask), intrinsics, radial))


def _coefficients(radial: float) -> Float[np.ndarray, "5"]:
    return np.array([radial, 0, 0, 0, 0])
