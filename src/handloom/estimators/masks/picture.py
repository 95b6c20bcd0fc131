"""A contact sheet of frames with their masks laid over, to check them by eye."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from handloom.datasets.mask_labels import LEFT_HAND, OBJECT, RIGHT_HAND
from handloom.estimators.masks.sequence_files import frame_paths, read_label_sequence
from handloom.runtime.files import atomic_path
from handloom.runtime.images import read_rgb

# Okabe and Ito's blue, vermilion and green.
COLOUR_OF = {OBJECT: (0, 114, 178), RIGHT_HAND: (213, 94, 0), LEFT_HAND: (0, 158, 115)}
_TILE_WIDTH_PX = 320
_OPACITY = 0.45


def mask_sheet(frames_folder: Path, masks_folder: Path, output: Path, *, tiles: int = 12, columns: int = 4) -> None:
    """Write frames spread over the sequence with object (blue), right (vermilion) and left hand (green) tinted."""
    frames = frame_paths(frames_folder)
    chosen = np.unique(np.linspace(0, len(frames) - 1, tiles).astype(int))
    picked = [frames[number] for number in chosen]
    labels = read_label_sequence(masks_folder, picked)
    images = [overlay(read_rgb(path), label) for path, label in zip(picked, labels, strict=True)]
    names = [path.stem for path in picked]
    with atomic_path(output) as temporary:
        Image.fromarray(tiled(images, names, columns)).save(temporary)


def overlay(
    image: UInt8[np.ndarray, "height width 3"], labels: UInt8[np.ndarray, "height width"]
) -> UInt8[np.ndarray, "height width 3"]:
    """A frame whose entities are tinted and outlined."""
    result = image.astype(np.float32)
    for label, colour in COLOUR_OF.items():
        mask = labels == label
        result[mask] = (1 - _OPACITY) * result[mask] + _OPACITY * np.array(colour, np.float32)
        edge = mask & ~cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
        result[edge] = colour
    return result.astype(np.uint8)


def tiled(images: list[np.ndarray], names: list[str], columns: int) -> UInt8[np.ndarray, "height width 3"]:
    """Images of one size in rows, each shrunk to a common width, its name in the corner."""
    height, width = images[0].shape[:2]
    size = (_TILE_WIDTH_PX, round(_TILE_WIDTH_PX * height / width))
    rows = -(-len(images) // columns)
    sheet = np.full((rows * size[1], min(columns, len(images)) * size[0], 3), 255, np.uint8)
    for number, (image, name) in enumerate(zip(images, names, strict=True)):
        tile = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        for thickness, colour in ((3, (0, 0, 0)), (1, (255, 255, 255))):
            cv2.putText(tile, name, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, thickness, cv2.LINE_AA)
        top, left = number // columns * size[1], number % columns * size[0]
        sheet[top : top + size[1], left : left + size[0]] = tile
    return sheet
