"""Images read with Pillow, which refuses a truncated file where OpenCV returns half of it."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from handloom.runtime.errors import InputError

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
