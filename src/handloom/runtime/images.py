"""Images read with Pillow, which refuses a truncated file where OpenCV returns half of it, and sheets of many."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from handloom.runtime.errors import InputError
from handloom.runtime.files import atomic_path

_MODES = {"RGB", "L"}


def read_rgb(path: Path) -> np.ndarray:
    """An 8-bit image as (height, width, 3) uint8; a grey image repeats its channel.

    Raises InputError when the file is missing, truncated, or has alpha, a palette or more than 8 bits.
    """
    return _decoded(Path(path), "RGB")


def read_grey(path: Path) -> np.ndarray:
    """An 8-bit image as (height, width) uint8; colour is weighted by ITU-R 601-2. Raises as `read_rgb` does."""
    return _decoded(Path(path), "L")


def _decoded(path: Path, mode: str) -> np.ndarray:
    try:
        with Image.open(path) as image:
            if image.mode not in _MODES:
                raise InputError(
                    f"{path}: is an image of mode {image.mode}, but 8-bit grey or RGB was expected; convert it"
                )
            upright = ImageOps.exif_transpose(image)
            upright.load()
            return np.asarray(upright.convert(mode))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such image; check the data set's root in the configuration") from error
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path}: cannot be decoded ({error}); the file is damaged or cut short, fetch it again"
        ) from error


def evenly_spread(count: int, most: int) -> list[int]:
    """Numbers of at most so many of `count` things, evenly spread, the first and the last among them."""
    chosen: list[int] = np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int)).tolist()
    return chosen


def write_contact_sheet(path: Path, tiles: Sequence[np.ndarray], columns: int, gap_px: int = 0) -> None:
    """Write RGB pictures of one size row by row on white, as PNG or JPEG."""
    height, width = tiles[0].shape[0] + gap_px, tiles[0].shape[1] + gap_px
    rows, columns = -(-len(tiles) // columns), min(columns, len(tiles))
    sheet = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for place, tile in enumerate(tiles):
        top, left = place // columns * height, place % columns * width
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    with atomic_path(path) as temporary:
        Image.fromarray(sheet).save(temporary, quality=85)  # of a JPEG
