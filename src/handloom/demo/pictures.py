"""Picture files of the demo: quick to write, and never half-written without an error."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from handloom.runtime.errors import OutputError

_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 88)
# Sensor noise leaves no repetition to find; Huffman coding alone is faster and gives smaller files.
_NOISY_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY)
_FLAT_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 3)


def write_grey_jpeg(path: Path, picture: UInt8[np.ndarray, "height width"]) -> None:
    """Write a grey JPEG of quality 88. Raises OutputError when the disk is full or the folder cannot be written."""
    _write(path, picture, _JPEG)


def write_colour_png(path: Path, picture: UInt8[np.ndarray, "height width 3"]) -> None:
    """Write a picture in red, green, blue as PNG. Raises OutputError as `write_grey_jpeg` does."""
    _write(path, picture[..., ::-1], _NOISY_PNG)


def write_mask_png(path: Path, mask: UInt8[np.ndarray, "height width"]) -> None:
    """Write labels as a grey PNG. Raises OutputError as `write_grey_jpeg` does."""
    _write(path, mask, _FLAT_PNG)


def _write(path: Path, picture: np.ndarray, options: Sequence[int]) -> None:
    # OpenCV tells no reason when a write fails, so it only encodes.
    _, content = cv2.imencode(path.suffix, picture, list(options))
    try:
        path.write_bytes(content.tobytes())
    except OSError as error:
        raise OutputError(
            error.errno, f"cannot write {path}: {error.strerror}; free some space, check permissions and run again"
        ) from error
