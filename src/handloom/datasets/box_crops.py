"""From a hand's box to the image that DetNet sees, number for number as S2DHand's loader.

A square of 1.75 times the box is cut out and resampled to 256 pixels. Left hands are mirrored, so that the network
only ever sees right hands. For the published 128-pixel input every second pixel is taken; for any other size, areas are
averaged. Source: `datasets/assembly_hands.py` of ut-vision/S2DHand.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from handloom.runtime.errors import InputError

CROP_PX = 256
PUBLISHED_INPUT_PX = 128
BOX_MARGIN = 1.75
"""Side of a square over that of the hand's box."""
SMALLEST_SIDE_PX = 100  # of a square, in S2DHand's loader
LARGEST_SIDE_PX = 20_000
"""No image is so wide: a box that asks for more is wrong."""
DEPTH_RANGE_MM = 200.0  # about the length of a hand, on either side of its wrist


@dataclass(frozen=True)
class CropSquares:
    """Square regions of full images: the upper left corner and the side, in whole pixels."""

    corner_px: Int[np.ndarray, "hands 2"]
    side_px: Int[np.ndarray, " hands"]


def squares_around(bbox_px: Float[np.ndarray, "hands 4"]) -> CropSquares:
    """The square crop of each box (x0, y0, x1, y1): `side = max(trunc(1.75 max(w, h)), 100)`, corner truncated to zero.

    Raises InputError for a box that no image could hold.
    """
    # The reference keeps boxes and sizes in single precision and goes on in double: this decides where it truncates.
    box = bbox_px.astype(np.float32)
    size = (box[:, 2:] - box[:, :2]).astype(np.float64)
    wanted_side = BOX_MARGIN * size.max(axis=1)
    if not (wanted_side < LARGEST_SIDE_PX).all():
        row = int(np.argmax(~(wanted_side < LARGEST_SIDE_PX)))
        raise InputError(
            f"bbox {bbox_px[row].tolist()} of hand {row} would need a crop of {wanted_side[row]:.0f} px; "
            f"expected less than {LARGEST_SIDE_PX} px; correct the annotation"
        )
    side = np.maximum(wanted_side.astype(np.int64), SMALLEST_SIDE_PX)
    centre = box[:, :2] + size / 2
    corner = np.trunc(centre - side[:, None] / 2).astype(np.int64)
    return CropSquares(corner_px=corner, side_px=side)


def cut_square(
    image: UInt8[np.ndarray, "height width *channels"], corner_px: Int[np.ndarray, "2"], side_px: int
) -> UInt8[np.ndarray, "side side *channels"]:
    """A square part of an image; what lies outside of it is zero."""
    height, width = image.shape[:2]
    left, top = corner_px.tolist()
    square = np.zeros((side_px, side_px, *image.shape[2:]), dtype=np.uint8)
    rows = slice(max(top, 0), min(top + side_px, height))
    columns = slice(max(left, 0), min(left + side_px, width))
    if rows.start < rows.stop and columns.start < columns.stop:
        part = image[rows, columns]
        square[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = part
    return square


def warp_crop(
    image: UInt8[np.ndarray, "height width"], corner_px: Int[np.ndarray, "2"], side_px: int
) -> UInt8[np.ndarray, "256 256"]:
    """One square of a grey image, resampled to 256 x 256: zero outside the image, bilinear, grey levels truncated."""
    scale = CROP_PX / side_px
    matrix = np.array([[scale, 0.0, 0.0], [0.0, scale, 0.0]])
    square = cut_square(image, corner_px, side_px) / 255
    warped = cv2.warpAffine(square, matrix, (CROP_PX, CROP_PX), flags=cv2.INTER_LINEAR)
    return (np.clip(warped, 0, 1).astype(np.float32) * np.float32(255)).astype(np.uint8)


def network_image(
    crop: UInt8[np.ndarray, "256 256"], *, is_left: bool, input_px: int
) -> UInt8[np.ndarray, "input_px input_px"]:
    """The crop as the network sees it: mirrored for a left hand, reduced to the network's input size.

    Raises InputError for an input larger than the crop.
    """
    upright = crop[:, ::-1] if is_left else crop
    if input_px == PUBLISHED_INPUT_PX:
        return np.ascontiguousarray(upright[1::2, 1::2])
    if input_px > CROP_PX:
        raise InputError(f"detnet.input_px is {input_px}, but crops are {CROP_PX} px wide; choose at most {CROP_PX}")
    return cv2.resize(np.ascontiguousarray(upright), (input_px, input_px), interpolation=cv2.INTER_AREA)


def crop_intrinsics(
    intrinsics_px: Float[np.ndarray, "hands 3 3"], squares: CropSquares
) -> tuple[Float[np.ndarray, "hands 2"], Float[np.ndarray, "hands 2"]]:
    """Focal lengths `f 256 / side` and principal points `(c - corner) 256 / side` of un-mirrored crops."""
    scale = CROP_PX / squares.side_px[:, None]
    return intrinsics_px[:, [0, 1], [0, 1]] * scale, (intrinsics_px[:, :2, 2] - squares.corner_px) * scale


def project_in_crop(
    joints_cam: Float[np.ndarray, "*batch joints 3"],
    focal_px: Float[np.ndarray, "*batch 2"],
    principal_point_px: Float[np.ndarray, "*batch 2"],
) -> Float[np.ndarray, "*batch joints 2"]:
    """Pinhole projection `f x / z + c` in pixels; the unit of the points does not matter."""
    depth = joints_cam[..., 2:]
    safe_depth = np.where(np.abs(depth) < 1e-9, 1e-9, depth)
    return focal_px[..., None, :] * joints_cam[..., :2] / safe_depth + principal_point_px[..., None, :]


def seen_in_crop(
    joint_valid: Float[np.ndarray, "hands 21"],
    keypoints_px: Float[np.ndarray, "hands 21 2"],
    joints_cam_m: Float[np.ndarray, "hands 21 3"],
) -> Float[np.ndarray, "hands 21"]:
    """Validity that counts (`vis`): annotated as valid, in the crop [0, 256), within 200 mm of the wrist's depth."""
    inside = ((keypoints_px >= 0) & (keypoints_px < CROP_PX)).all(axis=-1)
    depth_mm = 1000 * (joints_cam_m[..., 2] - joints_cam_m[:, :1, 2])
    near = (depth_mm >= -DEPTH_RANGE_MM) & (depth_mm < DEPTH_RANGE_MM)
    return (joint_valid > 0) * inside * near * 1.0


def mirrored_keypoints(
    keypoints_px: Float[np.ndarray, "hands 21 2"], is_left: Bool[np.ndarray, " hands"]
) -> Float[np.ndarray, "hands 21 2"]:
    """Key points of the image the network sees: x becomes 256 - x for left hands (a pixel off, as in the reference)."""
    mirrored = np.array(keypoints_px)
    mirrored[is_left, :, 0] = CROP_PX - mirrored[is_left, :, 0]
    return mirrored
