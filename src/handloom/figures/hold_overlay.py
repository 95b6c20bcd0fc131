"""Contact sheet of a reconstructed sequence: input, reconstruction over the input, and the same from another side."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from handloom.figures.hold_sequence import HAND_RGB, OBJECT_RGB, HoldSequence, read_hold_sequence
from handloom.figures.mesh_picture import (
    PaintedMesh,
    framed_camera,
    laid_over,
    one_colour,
    take_picture,
    turned_about,
)
from handloom.figures.style import drawn, hide_frame
from handloom.figures.surface_colours import surface_colours

COLUMNS = ("input", "overlay", "from the side", "from behind", "object alone")
_SIDE_RAD, _BEHIND_RAD = np.pi / 2, np.pi
_CELL_IN = 2.0


def draw_hold_overlay(
    predictions: Path, frames: Path, frames_json: Path, output: Path, *, sequence: str, rows: int = 6
) -> None:
    """Stage: draw frames spread evenly over the sequence, one a row; files as `read_hold_sequence` takes them.

    Reconstructions are rendered headless. The last column turns the object, in the colours of the photographs, once
    around over the rows.
    """
    found = read_hold_sequence(predictions, frames, frames_json)
    shown = [found.usable[place] for place in np.linspace(0, len(found.usable) - 1, rows).round().astype(int)]
    shown = list(dict.fromkeys(shown))
    height, width = found.picture(shown[0]).shape[:2]
    cell_height = _CELL_IN * height / width
    with drawn(output, _CELL_IN * len(COLUMNS) + 0.7, cell_height * len(shown) + 0.6) as figure:
        _draw(figure, found, shown, cell_height)
        figure.suptitle(
            f"HOLD, {sequence}: {len(found.usable)} of {len(found.names)} frames reconstructed",
            x=0.01, ha="left", fontsize=11, fontweight="bold",
        )  # fmt: skip


def _draw(figure: Figure, found: HoldSequence, shown: list[int], cell_height: float) -> None:
    total = cell_height * len(shown) + 0.6
    grid = GridSpec(
        len(shown), len(COLUMNS), figure=figure, left=0.06, right=0.995, top=1 - 0.5 / total, bottom=0.02 / total,
        wspace=0.02, hspace=0.02,
    )  # fmt: skip
    painted = surface_colours(found)
    for row, frame in enumerate(shown):
        turn = 2 * np.pi * row / len(shown)
        for column, image in enumerate(cells(found, frame, painted, turn)):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(image)
            hide_frame(axes)
            if row == 0:
                axes.set_title(COLUMNS[column], pad=3)
            if column == 0:
                axes.set_ylabel(found.names[frame], fontsize=7.5)


def cells(found: HoldSequence, frame: int, object_colours: np.ndarray, turn_rad: float) -> list[np.ndarray]:
    """The pictures of one row, all of the photograph's size."""
    image = found.picture(frame)
    hand_m, object_m = found.hand_vertices_cam_m[frame], found.object_cam_m(frame)
    height, width = image.shape[:2]
    meshes = [one_colour(object_m, found.object_faces, OBJECT_RGB), one_colour(hand_m, found.hand_faces, HAND_RGB)]
    overlay = laid_over(image, take_picture(meshes, found.intrinsics, height, width))
    alone = [PaintedMesh(object_m, found.object_faces, object_colours)]
    around = [_from_side(meshes, angle, height, width) for angle in (_SIDE_RAD, _BEHIND_RAD)]
    return [image, overlay, *around, _from_side(alone, turn_rad, height, width)]


def _from_side(meshes: list[PaintedMesh], angle_rad: float, height: int, width: int) -> np.ndarray:
    """The meshes turned about their common centre, framed by a camera of their own."""
    centre = np.concatenate([mesh.vertices_m for mesh in meshes]).mean(0)
    turned = [
        PaintedMesh(turned_about(mesh.vertices_m, centre, angle_rad), mesh.faces, mesh.colours_u8) for mesh in meshes
    ]
    points = np.concatenate([mesh.vertices_m for mesh in turned])
    return take_picture(turned, framed_camera(points, height, width), height, width).rgb_u8
