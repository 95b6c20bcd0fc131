"""Videos of a reconstructed sequence: hand and object turning once, and the reconstruction over the frames."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from handloom.datasets.frames_file import read_frames_file
from handloom.figures.hold_sequence import HAND_RGB, OBJECT_RGB, HoldSequence, read_hold_sequence
from handloom.figures.mesh_picture import (
    PaintedMesh,
    framed_camera,
    laid_over,
    one_colour,
    take_picture,
    turned_about,
)
from handloom.figures.surface_colours import surface_colours
from handloom.figures.video_file import write_video

Picture = UInt8[np.ndarray, "height width 3"]
TURN_PICTURES = 48
_TURN_SECONDS = 4.0
_TURNTABLE_PX = 240
_OVERLAY_HEIGHT_PX = 240
_SIDE_RAD = np.pi / 2
_NO_TIMES_FPS = 10.0


def write_turntable(predictions: Path, frames: Path, frames_json: Path, output: Path) -> None:
    """Stage: hand and object of the middle reconstructed frame turn once about the vertical; MP4, headless.

    Files are as `read_hold_sequence` takes them. On the right the object turns alone, in the photographs' colours.
    """
    found = read_hold_sequence(predictions, frames, frames_json)
    write_video(output, turning(found, surface_colours(found)), frames_per_second=TURN_PICTURES / _TURN_SECONDS)


def write_overlay_video(predictions: Path, frames: Path, frames_json: Path, output: Path) -> None:
    """Stage: per frame the photograph, the reconstruction over it, and the same from the side; MP4, headless.

    Plays as fast as the frames were taken; a varying rate is played at its median.
    """
    found = read_hold_sequence(predictions, frames, frames_json)
    listed = read_frames_file(frames_json)
    shown = set(found.names)
    times_s = [time for name, time in zip(listed.names, listed.times_s, strict=True) if name in shown]
    write_video(output, overlaid(found), frames_per_second=median_rate(np.array(times_s)))


def turning(
    found: HoldSequence,
    object_colours: UInt8[np.ndarray, "vertices 3"],
    pictures: int = TURN_PICTURES,
    side_px: int = _TURNTABLE_PX,
) -> Iterator[Picture]:
    """The turntable's pictures, 360 degrees in equal steps; the camera keeps still and sees all of them."""
    frame = found.usable[len(found.usable) // 2]
    hand = one_colour(found.hand_vertices_cam_m[frame], found.hand_faces, HAND_RGB)
    thing = PaintedMesh(found.object_cam_m(frame), found.object_faces, object_colours)
    angles_rad = 2 * np.pi * np.arange(pictures) / pictures
    panels = [_turned(meshes, angles_rad, side_px) for meshes in ([thing, hand], [thing])]
    for pair in zip(*panels, strict=True):
        yield np.concatenate(pair, axis=1)


def overlaid(found: HoldSequence, height_px: int = _OVERLAY_HEIGHT_PX) -> Iterator[Picture]:
    """Every frame's three pictures side by side; one that was not reconstructed says so."""
    centre_m, side_camera, size = _side_view(found, height_px)
    height, width = size
    usable = set(found.usable)
    for frame in range(len(found.names)):
        image = found.picture(frame)
        intrinsics = _scaled(found.intrinsics, image.shape[:2], size)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        if frame not in usable:
            blank = np.full_like(image, 255)
            cv2.putText(blank, "no reconstruction", (8, height // 2), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (90, 90, 90), 1)
            yield np.concatenate([image, image, blank], axis=1)
            continue
        meshes = _painted(found, frame)
        over = laid_over(image, take_picture(meshes, intrinsics, height, width))
        aside = [_turn(mesh, centre_m, _SIDE_RAD) for mesh in meshes]
        yield np.concatenate([image, over, take_picture(aside, side_camera, height, width).rgb_u8], axis=1)


def median_rate(times_s: Float[np.ndarray, " frames"]) -> float:
    """Frames per second from time stamps; 10 when they do not tell, and within what players take."""
    steps = np.diff(times_s)
    step = float(np.median(steps)) if len(steps) else 0.0
    return float(np.clip(1 / step, 1, 60)) if step > 0 else _NO_TIMES_FPS


def _turned(meshes: list[PaintedMesh], angles_rad: Float[np.ndarray, " pictures"], side_px: int) -> Iterator[Picture]:
    points = np.concatenate([mesh.vertices_m for mesh in meshes])
    centre = (points.min(0) + points.max(0)) / 2
    every = np.concatenate([turned_about(points, centre, angle) for angle in angles_rad])
    camera = framed_camera(every, side_px, side_px, margin=0.05)
    for angle in angles_rad:
        yield take_picture([_turn(mesh, centre, angle) for mesh in meshes], camera, side_px, side_px).rgb_u8


def _side_view(
    found: HoldSequence, height_px: int
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3 3"], tuple[int, int]]:
    """Where to turn about, a camera that sees all frames from the side, and the even size of a panel."""
    height, width = found.picture(0).shape[:2]
    scale = min(1.0, height_px / height)
    size = 2 * max(1, round(scale * height / 2)), 2 * max(1, round(scale * width / 2))
    points = np.concatenate([mesh.vertices_m for frame in found.usable for mesh in _painted(found, frame)])
    centre = (points.min(0) + points.max(0)) / 2
    return centre, framed_camera(turned_about(points, centre, _SIDE_RAD), *size), size


def _painted(found: HoldSequence, frame: int) -> list[PaintedMesh]:
    return [
        one_colour(found.object_cam_m(frame), found.object_faces, OBJECT_RGB),
        one_colour(found.hand_vertices_cam_m[frame], found.hand_faces, HAND_RGB),
    ]


def _turn(mesh: PaintedMesh, centre_m: Float[np.ndarray, "3"], angle_rad: float) -> PaintedMesh:
    return PaintedMesh(turned_about(mesh.vertices_m, centre_m, angle_rad), mesh.faces, mesh.colours_u8)


def _scaled(
    intrinsics: Float[np.ndarray, "3 3"], old: tuple[int, int], new: tuple[int, int]
) -> Float[np.ndarray, "3 3"]:
    """The camera of a resized picture; pixel centres have whole coordinates, sizes are (height, width)."""
    x, y = new[1] / old[1], new[0] / old[0]
    resize = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
    return np.asarray(resize @ intrinsics)
