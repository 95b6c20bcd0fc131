"""A contact sheet of a sequence's annotation over its frames, to check cameras, axes and the hand model by eye."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from handloom.datasets.frames_file import read_frames_file
from handloom.hand.joints import SNAP_BONES
from handloom.runtime.artifacts import read_arrays
from handloom.runtime.errors import InputError
from handloom.runtime.files import atomic_path
from handloom.runtime.images import read_rgb

# Okabe and Ito's blue, vermilion and yellow.
_OBJECT, _HAND, _BONES = (0, 114, 178), (213, 94, 0), (240, 228, 66)
_TILE_WIDTH_PX = 320


def truth_sheet(
    frames_folder: Path, frames_json: Path, truth: Path, output: Path, *, tiles: int = 12, columns: int = 4
) -> None:
    """Write frames spread over the sequence with the outlines of the true object (blue) and hand (vermilion).

    Frames without annotation stay as they are. Raises InputError when the frames' camera is not known.
    """
    frames = read_frames_file(frames_json)
    if frames.intrinsics is None:
        raise InputError(f"{frames_json}: knows no intrinsics, so nothing can be drawn over the frames")
    arrays, _ = read_arrays(truth, "hold_truth")
    chosen = np.unique(np.linspace(0, len(frames.names) - 1, tiles).round().astype(int))
    pictures = []
    for index in chosen:
        picture = read_rgb(frames_folder / f"{index:04d}.png").copy()
        if arrays["valid"][index]:
            pose = arrays["cam_from_object"][index]
            thing = arrays["object_vertices_m"] @ pose[:3, :3].T + pose[:3, 3]
            _outline(picture, thing, arrays["object_faces"], frames.intrinsics, _OBJECT)
            hand = arrays["hand_vertices_cam_m"][index].astype(np.float64)
            _outline(picture, hand, arrays["hand_faces"], frames.intrinsics, _HAND)
            joints = np.rint(_projected(arrays["hand_joints_cam_m"][index], frames.intrinsics)).astype(int)
            for parent, child in SNAP_BONES:
                cv2.line(picture, joints[parent].tolist(), joints[child].tolist(), _BONES, 1, cv2.LINE_AA)
        height = round(_TILE_WIDTH_PX * picture.shape[0] / picture.shape[1])
        pictures.append(cv2.resize(picture, (_TILE_WIDTH_PX, height), interpolation=cv2.INTER_AREA))
    blank = np.full_like(pictures[0], 255)
    pictures += [blank] * (-len(pictures) % columns)
    rows = [np.concatenate(pictures[start : start + columns], axis=1) for start in range(0, len(pictures), columns)]
    with atomic_path(output) as temporary:
        Image.fromarray(np.concatenate(rows)).save(temporary)


def _projected(
    points_cam_m: Float[np.ndarray, "points 3"], intrinsics: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "points 2"]:
    pixels = points_cam_m @ intrinsics.T
    # OpenCV takes 32-bit coordinates: points beside or behind the camera must stay within them.
    return np.clip(pixels[:, :2] / np.maximum(pixels[:, 2:], 1e-3), -10_000, 10_000)


def _outline(
    picture: UInt8[np.ndarray, "height width 3"],
    vertices_cam_m: Float[np.ndarray, "vertices 3"],
    faces: Int[np.ndarray, "faces 3"],
    intrinsics: Float[np.ndarray, "3 3"],
    colour: tuple[int, int, int],
) -> None:
    """Draw the edge of all the pixels that the mesh covers, whatever lies before it."""
    covered = np.zeros(picture.shape[:2], np.uint8)
    corners = np.rint(_projected(vertices_cam_m, intrinsics)).astype(np.int32)[faces]
    # Filled one by one: a single fillPoly of all would count overlaps as holes.
    for triangle in corners:
        cv2.fillConvexPoly(covered, triangle, 1)
    contours, _ = cv2.findContours(covered, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, colour, 1, cv2.LINE_AA)
