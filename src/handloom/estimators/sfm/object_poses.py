"""The object's pose in every frame, as every backend leaves it, and what is made of it: gaps filled, points trimmed,
the lens's distortion removed, and a picture to check it all by eye.
"""

import shutil
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float
from PIL import Image
from pydantic import FiniteFloat
from scipy.spatial.transform import Rotation, Slerp

from handloom.datasets.frames import Frames, Picture, write_frames_sheet
from handloom.datasets.masks import mask_files
from handloom.estimators.sfm.seams import Tear
from handloom.geometry.camera import project
from handloom.runtime.artifacts import Artifact
from handloom.runtime.files import whole_folder
from handloom.runtime.images import read_grey, read_rgb

# HOLD's generator/src/colmap/colmap_utils.py, trim_point_cloud.
_TRIM_QUANTILE, _TRIM_FACTOR = 0.8, 1.5
_INTERPOLATED_RGB, _CUT_RGB = (213, 94, 0), (230, 0, 0)
_MOST_INTERPOLATED = 3
# A depth that can be divided by; what lies nearer is not drawn.
_NEAREST = 1e-9


@dataclass(frozen=True)
class ObjectPoses(
    Artifact,
    kind="object_poses",
    units="SfM units, or metres of known poses; px",
    frame="OpenCV camera from object",
    may_be_nan=("link_share",),
):
    """Poses of all frames, points of the object's surface, and the one camera that saw them.

    Frames that were not `registered` have interpolated poses, which mean nothing where they are not `posed`. `radial`
    is COLMAP's k of r_d = r (1 + k r^2), 0 for a pinhole.
    """

    intrinsics: Float[np.ndarray, "3 3"]
    radial: FiniteFloat
    cam_from_object: Float[np.ndarray, "frames 4 4"]
    registered: Bool[np.ndarray, " frames"]
    points_object: Float[np.ndarray, "points 3"]
    reprojection_px: FiniteFloat
    mapper: str
    """What found them; `known` for those of a data set."""
    median_features: int | None = None
    """Features on the object in the frame in the middle of their ranking."""
    link_share: Float[np.ndarray, " frames"] | None = None
    """Of the seam behind each frame (`seams`), NaN where there is none; None of poses that were not judged."""
    cuts: tuple[Tear, ...] | None = None
    """Where the sequence fell apart; None of poses that were not judged."""
    focal_guess: str | None = None
    """What an estimated focal length began from; None of a camera that was given."""

    @property
    def posed(self) -> Bool[np.ndarray, " frames"]:
        """Frames whose pose is known: registered, or in a gap of at most 3 frames that have poses on both sides."""
        rows = np.flatnonzero(self.registered)
        posed = self.registered.copy()
        for before, after in pairwise(rows.tolist()):
            posed[before:after] |= after - before <= _MOST_INTERPOLATED + 1
        return posed


def filled_poses(
    cam_from_object: Float[np.ndarray, "frames 4 4"],
    registered: Bool[np.ndarray, " frames"],
    pivot_object: Float[np.ndarray, "3"],
) -> Float[np.ndarray, "frames 4 4"]:
    """Poses with the gaps filled: SLERP of the rotation, linear camera position of `pivot_object`, ends held.

    With the pivot at the object's middle the object moves straight across a gap even where SfM's origin lies far from
    it; HOLD interpolates the translation itself, a pivot of zero (slerp_o2w of generator/src/colmap/colmap_utils.py).
    """
    known = np.flatnonzero(registered)
    rotations, translations = cam_from_object[known, :3, :3], cam_from_object[known, :3, 3]
    frames = np.clip(np.arange(len(registered)), known[0], known[-1])
    if len(known) == 1:
        filled_rotations = np.repeat(rotations, len(registered), 0)
    else:
        filled_rotations = Slerp(known, Rotation.from_matrix(rotations))(frames).as_matrix()
    pivot_cam = rotations @ pivot_object + translations
    pivots = np.stack([np.interp(frames, known, pivot_cam[:, axis]) for axis in range(3)], -1)
    filled = np.tile(np.eye(4), (len(registered), 1, 1))
    filled[:, :3, :3] = filled_rotations
    filled[:, :3, 3] = pivots - filled_rotations @ pivot_object
    filled[known] = cam_from_object[known]
    return filled


def trimmed_points(points: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, "kept 3"]:
    """Points nearer to the median point than 1.5 times the 80 % quantile of those distances."""
    distance = np.linalg.norm(points - np.median(points, 0), axis=1)
    return points[distance < _TRIM_FACTOR * np.quantile(distance, _TRIM_QUANTILE)]


def undistort_sequence(
    frames: Frames, masks: Path, object_poses: Path, frames_output: Path, masks_output: Path
) -> None:
    """Write frames and masks as seen by the pinhole camera of `object_poses`; equal copies where it has no distortion.

    Raises InputError for frames without a mask and unreadable files.
    """
    poses = ObjectPoses.load(object_poses)
    with whole_folder(frames_output) as frames_folder, whole_folder(masks_output) as masks_folder:
        for picture, mask in zip(frames.pictures, mask_files(masks, frames), strict=True):
            if poses.radial == 0:
                shutil.copyfile(picture, frames_folder / picture.name)
                shutil.copyfile(mask, masks_folder / mask.name)
                continue
            for folder, image in ((frames_folder, read_rgb(picture)), (masks_folder, read_grey(mask))):
                straight = undistorted_image(image, poses.intrinsics, poses.radial)
                Image.fromarray(straight).save(folder / picture.name)


def undistorted_image(image: np.ndarray, intrinsics: Float[np.ndarray, "3 3"], radial: float) -> np.ndarray:
    """A frame, or with two axes a label image (nearest neighbour), as the pinhole camera would see it.

    COLMAP's SIMPLE_RADIAL is OpenCV's model with k1 alone: a ray at radius r of the unit plane is seen at
    r (1 + k r^2).
    """
    if radial == 0:
        return image
    height, width = image.shape[:2]
    coefficients = np.array([radial, 0, 0, 0, 0])
    columns, rows = cv2.initUndistortRectifyMap(
        intrinsics, coefficients, None, intrinsics, (width, height), cv2.CV_32FC1
    )
    order = cv2.INTER_NEAREST if image.ndim == 2 else cv2.INTER_LINEAR
    border = cv2.BORDER_CONSTANT if image.ndim == 2 else cv2.BORDER_REPLICATE
    return np.asarray(cv2.remap(image, columns, rows, order, borderMode=border))


def write_pose_sheet(frames: Frames, poses: ObjectPoses, output: Path) -> None:
    """Write a contact sheet with all points projected, coloured by depth, and the object's axes.

    A frame whose pose was interpolated has an orange rim, one without pose a red cross. Frames at a cut are shown, the
    cut as a red bar before the second. Points that stay put on the object say the poses are right; points of the far
    side are drawn too.
    """
    cuts = poses.cuts or ()
    behind = {cut.after for cut in cuts}

    def drawn(number: int, image: Picture) -> Picture:
        result = undistorted_image(image, poses.intrinsics, poses.radial).copy()
        bottom, right = image.shape[0] - 1, image.shape[1] - 1
        if poses.posed[number]:
            result = with_points(result, poses.points_object, poses.cam_from_object[number], poses.intrinsics)
            if not poses.registered[number]:
                cv2.rectangle(result, (0, 0), (right, bottom), _INTERPOLATED_RGB, 5)
        else:
            cv2.line(result, (0, 0), (right, bottom), _CUT_RGB, 3)
            cv2.line(result, (0, bottom), (right, 0), _CUT_RGB, 3)
        if number in behind:
            cv2.rectangle(result, (0, 0), (max(right // 30, 4), bottom), _CUT_RGB, -1)
        return result

    write_frames_sheet(frames, drawn, output, [number for cut in cuts for number in (cut.before, cut.after)])


def with_points(
    image: Picture,
    points_object: Float[np.ndarray, "points 3"],
    cam_from_object: Float[np.ndarray, "4 4"],
    intrinsics: Float[np.ndarray, "3 3"],
) -> Picture:
    """The frame with points (near: yellow, far: violet) and the object's axes (x red, y green, z blue) drawn."""
    result = np.ascontiguousarray(image.copy())
    rotation, translation = cam_from_object[:3, :3], cam_from_object[:3, 3]
    points_cam = points_object @ rotation.T + translation
    pixels, depth = project(points_cam, intrinsics, nearest=_NEAREST), points_cam[:, 2]
    order = np.argsort(-depth)
    span = np.ptp(depth) if len(depth) else 1.0
    nearness = 255 * (depth.max(initial=0) - depth) / max(span, 1e-9)
    colours = cv2.applyColorMap(nearness.astype(np.uint8)[:, None], cv2.COLORMAP_PLASMA)[:, 0, ::-1]
    for index in order[depth[order] > 0]:
        cv2.circle(result, _rounded(pixels[index]), 1, colours[index].tolist(), -1, cv2.LINE_AA)
    centre = np.median(points_object, 0)
    length = np.quantile(np.linalg.norm(points_object - centre, axis=1), 0.8)
    ends_cam = (centre + np.vstack([np.zeros(3), length * np.eye(3)])) @ rotation.T + translation
    if (ends_cam[:, 2] > 0).all():
        ends = project(ends_cam, intrinsics, nearest=_NEAREST)
        for end, colour in zip(ends[1:], ((230, 40, 40), (40, 190, 40), (60, 90, 255)), strict=True):
            cv2.line(result, _rounded(ends[0]), _rounded(end), colour, 2, cv2.LINE_AA)
    return result


def _rounded(pixel: Float[np.ndarray, "2"]) -> tuple[int, int]:
    column, row = np.clip(pixel, -10_000, 10_000).round().astype(int).tolist()
    return column, row
