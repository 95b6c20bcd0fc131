"""A contact sheet of frames with the sparse points laid over, to check the object's poses by eye."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from handloom.estimators.masks.picture import tiled
from handloom.estimators.masks.sequence_files import frame_paths
from handloom.estimators.sfm.distortion import undistorted_image
from handloom.runtime.artifacts import read_arrays
from handloom.runtime.errors import InputError
from handloom.runtime.files import atomic_path
from handloom.runtime.images import read_rgb

_INTERPOLATED = (213, 94, 0)


def object_pose_sheet(
    frames_folder: Path, object_poses: Path, output: Path, *, tiles: int = 12, columns: int = 4
) -> None:
    """Write frames spread over the sequence with all points projected, coloured by depth, and the object's axes.

    A frame whose pose was interpolated has an orange rim. Points that stay put on the object say the poses are right;
    points of the far side are drawn too. Raises InputError when frames and poses differ in number.
    """
    frames = frame_paths(frames_folder)
    arrays, _ = read_arrays(object_poses, "object_poses")
    if len(frames) != len(arrays["cam_from_object"]):
        raise InputError(
            f"{object_poses}: has {len(arrays['cam_from_object'])} poses, but {frames_folder} has {len(frames)} "
            "frames; run the rule that makes the poses again"
        )
    radial = float(arrays.get("radial", 0.0))
    images = []
    chosen = np.unique(np.linspace(0, len(frames) - 1, tiles).astype(int))
    for number in chosen:
        image = undistorted_image(read_rgb(frames[number]), arrays["intrinsics"], radial)
        images.append(
            with_points(image, arrays["points_object"], arrays["cam_from_object"][number], arrays["intrinsics"])
        )
        if not arrays["registered"][number]:
            cv2.rectangle(images[-1], (0, 0), (image.shape[1] - 1, image.shape[0] - 1), _INTERPOLATED, 5)
    with atomic_path(output) as temporary:
        Image.fromarray(tiled(images, [frames[number].stem for number in chosen], columns)).save(temporary)


def with_points(
    image: UInt8[np.ndarray, "height width 3"],
    points_object: Float[np.ndarray, "points 3"],
    cam_from_object: Float[np.ndarray, "4 4"],
    intrinsics: Float[np.ndarray, "3 3"],
) -> UInt8[np.ndarray, "height width 3"]:
    """The frame with points (near: yellow, far: violet) and the object's axes (x red, y green, z blue) drawn."""
    result = np.ascontiguousarray(image.copy())
    pixels, depth = _projected(points_object, cam_from_object, intrinsics)
    order = np.argsort(-depth)
    span = np.ptp(depth) if len(depth) else 1.0
    nearness = 255 * (depth.max(initial=0) - depth) / max(span, 1e-9)
    colours = cv2.applyColorMap(nearness.astype(np.uint8)[:, None], cv2.COLORMAP_PLASMA)[:, 0, ::-1]
    for index in order[depth[order] > 0]:
        cv2.circle(result, _rounded(pixels[index]), 1, colours[index].tolist(), -1, cv2.LINE_AA)
    centre = np.median(points_object, 0)
    length = np.quantile(np.linalg.norm(points_object - centre, axis=1), 0.8)
    ends, end_depth = _projected(centre + np.vstack([np.zeros(3), length * np.eye(3)]), cam_from_object, intrinsics)
    if (end_depth > 0).all():
        for end, colour in zip(ends[1:], ((230, 40, 40), (40, 190, 40), (60, 90, 255)), strict=True):
            cv2.line(result, _rounded(ends[0]), _rounded(end), colour, 2, cv2.LINE_AA)
    return result


def _projected(
    points: Float[np.ndarray, "points 3"], cam_from_object: Float[np.ndarray, "4 4"], intrinsics: np.ndarray
) -> tuple[Float[np.ndarray, "points 2"], Float[np.ndarray, " points"]]:
    camera = points @ cam_from_object[:3, :3].T + cam_from_object[:3, 3]
    pixels = camera @ intrinsics.T
    return pixels[:, :2] / np.where(np.abs(pixels[:, 2:]) < 1e-9, 1e-9, pixels[:, 2:]), camera[:, 2]


def _rounded(pixel: Float[np.ndarray, "2"]) -> tuple[int, int]:
    column, row = np.clip(pixel, -10_000, 10_000).round().astype(int).tolist()
    return column, row
