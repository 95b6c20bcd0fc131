"""Contact sheet of a view: where the hand was found, and its key points."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from handloom.figures.painted_skeleton import Picture, paint_skeleton, paint_text, resized, rgb_of
from handloom.figures.style import YELLOW
from handloom.footage.hands_file import FootageHands, read_hands
from handloom.runtime.files import atomic_path
from handloom.runtime.images import read_rgb

_COLUMNS, _ROWS = 4, 4
_CELL_WIDTH_PX = 280


def draw_hands_sheet(frames: Path, hands_npz: Path, output: Path) -> None:
    """Stage: write frames spread evenly over the view, with the hand's square, key points and score, as JPEG."""
    hands, _ = read_hands(hands_npz)
    images = sorted(frames.glob("*.png"))
    rows = np.unique(np.linspace(0, len(images) - 1, _COLUMNS * _ROWS).round().astype(int))
    cells = [_cell(images[row], hands, int(row)) for row in rows]
    blank = np.full_like(cells[0], 255)
    cells += [blank] * (-len(cells) % _COLUMNS)
    lines = [np.concatenate(cells[at : at + _COLUMNS], axis=1) for at in range(0, len(cells), _COLUMNS)]
    with atomic_path(output) as temporary:
        Image.fromarray(np.concatenate(lines)).save(temporary, quality=85)


def square_corners(centre_px: Float[np.ndarray, "2"], side_px: float, angle_rad: float) -> Float[np.ndarray, "4 2"]:
    """Corners of a square that is turned from x to y, in order."""
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    unit = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    corners: Float[np.ndarray, "4 2"] = centre_px + side_px * unit @ np.array([[cosine, sine], [-sine, cosine]])
    return corners


def _cell(path: Path, hands: FootageHands, row: int) -> Picture:
    import cv2

    image = read_rgb(path)
    height = round(_CELL_WIDTH_PX * image.shape[0] / image.shape[1])
    cell, scale = resized(image, _CELL_WIDTH_PX, height)
    cell = np.ascontiguousarray(cell)
    if hands.found[row]:
        corners = scale * square_corners(hands.centre_px[row], float(hands.side_px[row]), float(hands.angle_rad[row]))
        cv2.polylines(cell, [np.rint(corners).astype(np.int32)], True, rgb_of(YELLOW), 1, cv2.LINE_AA)
        paint_skeleton(cell, scale * hands.keypoints_px[row], thickness=2)
    told = f"{row}: {hands.presence[row]:.2f}" if hands.found[row] else f"{row}: no hand"
    paint_text(cell, told)
    return cell
