"""A reconstructed sequence to look at: a contact sheet, a turntable, a video over the frames, and a small animation."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float
from matplotlib.gridspec import GridSpec
from PIL import Image

from handloom.datasets.frames import Picture, read_frames
from handloom.figures.hold_sequence import HoldSequence, read_hold_sequence
from handloom.figures.mesh_picture import PaintedMesh, framed_camera, laid_over, take_picture, turned_about
from handloom.figures.style import drawn, heading, hide_frame
from handloom.figures.video_file import median_rate, write_video
from handloom.reconstruction.object_size import largest_extent
from handloom.reconstruction.tracks import SequencePoses
from handloom.runtime.files import atomic_path
from handloom.runtime.images import evenly_spread

COLUMNS = ("input", "overlay", "from the side", "from behind", "object alone")
_SIDE_RAD, _BEHIND_RAD = np.pi / 2, np.pi
_CELL_IN, _TITLE_IN, _SHEET_ROWS = 2.0, 0.6, 6
TURN_PICTURES, _TURN_SECONDS = 48, 4.0
_TURNTABLE_PX, _OVERLAY_HEIGHT_PX = 240, 240
"""Sides of the videos' panels: a report holds several of them."""
_ANIMATION_PICTURES, _ANIMATION_HEIGHT_PX, _ANIMATION_MS, _ANIMATION_QUALITY = 40, 240, 110, 65
"""Of the animation on a page: below 1.5 MB."""


def draw_hold_overlay(
    predictions: Path,
    frames: Path,
    frames_json: Path,
    picture: Path,
    aligned: Path | None = None,
    *,
    sequence: str,
    masks: Path | None = None,
    rows: int = _SHEET_ROWS,
) -> None:
    """Stage: draw frames spread evenly over the sequence, one a row; files as `read_hold_sequence` takes them.

    The title tells the object's largest extent, and how unsure it is if the alignment tells that. The last column turns
    the object, in the colours of the photographs, once around over the rows.
    """
    found = read_hold_sequence(predictions, frames, frames_json, masks)
    shown = [found.usable[place] for place in evenly_spread(len(found.usable), rows)]
    height, width = found.picture(shown[0]).shape[:2]
    height_in = _CELL_IN * height / width * len(shown) + _TITLE_IN
    with drawn(picture, _CELL_IN * len(COLUMNS) + 0.7, height_in) as figure:
        sides = {"left": 0.06, "right": 0.995, "top": 1 - 0.5 / height_in, "bottom": 0.02 / height_in}
        grid = GridSpec(len(shown), len(COLUMNS), figure=figure, **sides, wspace=0.02, hspace=0.02)
        for row, frame in enumerate(shown):
            for column, image in enumerate(cells(found, frame, 2 * np.pi * row / len(shown))):
                axes = figure.add_subplot(grid[row, column])
                axes.imshow(image)
                hide_frame(axes)
                if row == 0:
                    axes.set_title(COLUMNS[column], pad=3)
                if column == 0:
                    axes.set_ylabel(found.names[frame], fontsize=7.5)
        counts = f"{len(found.usable)} of {len(found.names)} frames reconstructed"
        heading(figure, f"HOLD, {sequence}: {counts}, object {size_in_words(found.object_vertices_m, aligned)}")


def size_in_words(vertices_m: Float[np.ndarray, "vertices 3"], aligned: Path | None) -> str:
    """The largest distance between two vertices, and the alignment's standard deviation of it where it is told."""
    size = f"{1000 * largest_extent(vertices_m):.0f} mm across"
    deviation = None if aligned is None else next(iter(SequencePoses.load_each(aligned).values())).size_deviation
    return size if deviation is None else f"{size} (\N{PLUS-MINUS SIGN} {100 * deviation:.0f} %)"


def cells(found: HoldSequence, frame: int, turn_rad: float) -> list[Picture]:
    """The pictures of one row of the sheet, all of the photograph's size."""
    image, meshes = found.picture(frame), found.meshes(frame)
    height, width = image.shape[:2]
    overlay = laid_over(image, take_picture(meshes, found.intrinsics, height, width))
    around = [_from_side(meshes, angle, height, width) for angle in (_SIDE_RAD, _BEHIND_RAD)]
    return [image, overlay, *around, _from_side([found.painted_object(frame)], turn_rad, height, width)]


def _from_side(meshes: list[PaintedMesh], angle_rad: float, height: int, width: int) -> Picture:
    """The meshes turned about their common centre, framed by a camera of their own."""
    centre = np.concatenate([mesh.vertices_m for mesh in meshes]).mean(0)
    turned = [mesh.turned(centre, angle_rad) for mesh in meshes]
    points = np.concatenate([mesh.vertices_m for mesh in turned])
    return take_picture(turned, framed_camera(points, height, width), height, width).rgb_u8


def write_hold_videos(
    predictions: Path, frames: Path, frames_json: Path, turntable: Path, overlay: Path, *, masks: Path | None = None
) -> None:
    """Stage: two MP4 files; inputs are as `read_hold_sequence` takes them.

    `turntable`: hand and object of the middle reconstructed frame turn once about the vertical, and beside them the
    object alone in the photographs' colours. `overlay`: per frame the photograph, the reconstruction over it, and the
    same from the side, as fast as the frames were taken; a varying rate is played at its median.
    """
    found = read_hold_sequence(predictions, frames, frames_json, masks)
    write_video(turntable, turning(found), frames_per_second=TURN_PICTURES / _TURN_SECONDS)
    listed = read_frames(frames, frames_json)
    shown = set(found.names)
    times_s = [time for name, time in zip(listed.names, listed.times_s, strict=True) if name in shown]
    write_video(overlay, overlaid(found), frames_per_second=median_rate(np.array(times_s)))


def write_hold_animation(
    predictions: Path, frames: Path, frames_json: Path, animation: Path, *, masks: Path | None = None
) -> None:
    """Stage: an animated WebP that loops: the photograph, the reconstruction over it, and the object turning once."""
    found = read_hold_sequence(predictions, frames, frames_json, masks)
    shown = [found.usable[place] for place in evenly_spread(len(found.usable), _ANIMATION_PICTURES)]
    height = _ANIMATION_HEIGHT_PX
    full_height, full_width = found.picture(shown[0]).shape[:2]
    width = round(height * full_width / full_height)
    angles_rad = 2 * np.pi * np.arange(len(shown)) / len(shown)
    turned = _turned([found.dense().painted_object(shown[0])], angles_rad, height)
    first, *more = [
        Image.fromarray(np.concatenate([*_over_photograph(found, frame, height, width), beside], axis=1))
        for frame, beside in zip(shown, turned, strict=True)
    ]
    with atomic_path(animation) as temporary:
        first.save(
            *(temporary, "WEBP"),
            save_all=True,
            append_images=more,
            duration=_ANIMATION_MS,
            loop=0,
            quality=_ANIMATION_QUALITY,
        )


def turning(found: HoldSequence, pictures: int = TURN_PICTURES, side_px: int = _TURNTABLE_PX) -> Iterator[Picture]:
    """The turntable's pictures, 360 degrees in equal steps; the camera keeps still and sees all of them."""
    frame = found.usable[len(found.usable) // 2]
    thing, hands = found.painted_object(frame), found.hands(frame).values()
    angles_rad = 2 * np.pi * np.arange(pictures) / pictures
    panels = [_turned(meshes, angles_rad, side_px) for meshes in ([thing, *hands], [thing])]
    for pair in zip(*panels, strict=True):
        yield np.concatenate(pair, axis=1)


def _turned(meshes: list[PaintedMesh], angles_rad: Float[np.ndarray, " pictures"], side_px: int) -> Iterator[Picture]:
    points, centre = _extent(meshes)
    every = np.concatenate([turned_about(points, centre, angle) for angle in angles_rad])
    camera = framed_camera(every, side_px, side_px, margin=0.05)
    for angle in angles_rad:
        yield take_picture([mesh.turned(centre, angle) for mesh in meshes], camera, side_px, side_px).rgb_u8


def overlaid(found: HoldSequence, height_px: int = _OVERLAY_HEIGHT_PX) -> Iterator[Picture]:
    """Every frame's three pictures side by side; one that was not reconstructed says so."""
    full_height, full_width = found.picture(0).shape[:2]
    scale = min(1.0, height_px / full_height)
    # Videos need even sides.
    height, width = (2 * max(1, round(scale * side / 2)) for side in (full_height, full_width))
    usable = set(found.usable)
    points, centre = _extent([mesh for frame in found.usable for mesh in found.meshes(frame)])
    side_camera = framed_camera(turned_about(points, centre, _SIDE_RAD), height, width)
    for frame in range(len(found.names)):
        if frame not in usable:
            image = cv2.resize(found.picture(frame), (width, height), interpolation=cv2.INTER_AREA)
            blank = np.full_like(image, 255)
            cv2.putText(blank, "no reconstruction", (8, height // 2), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (90, 90, 90), 1)
            yield np.concatenate([image, image, blank], axis=1)
            continue
        aside = [mesh.turned(centre, _SIDE_RAD) for mesh in found.meshes(frame)]
        beside = take_picture(aside, side_camera, height, width).rgb_u8
        yield np.concatenate([*_over_photograph(found, frame, height, width), beside], axis=1)


def _over_photograph(found: HoldSequence, frame: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A frame at another size, and the reconstruction over it."""
    image = found.picture(frame)
    x, y = width / image.shape[1], height / image.shape[0]
    # The camera of the resized picture: pixel centres have whole coordinates.
    intrinsics = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]]) @ found.intrinsics
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return small, laid_over(small, take_picture(found.meshes(frame), intrinsics, height, width))


def _extent(meshes: list[PaintedMesh]) -> tuple[Float[np.ndarray, "points 3"], Float[np.ndarray, "3"]]:
    """All points of some meshes, and the middle of the box around them."""
    points = np.concatenate([mesh.vertices_m for mesh in meshes])
    return points, (points.min(0) + points.max(0)) / 2
