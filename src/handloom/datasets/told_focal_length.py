"""The focal length that a camera wrote into its files, in pixels: a guess, as cropping and steadying change it."""

import math
from collections.abc import Mapping
from pathlib import Path

from PIL import ExifTags

from handloom.runtime.images import opened

# Of 35 mm film, 36 x 24 mm; and of the 4:3 picture with the same diagonal, the longer side.
_FILM_DIAGONAL_MM = 43.27
_FILM_SIDE_MM = 0.8 * _FILM_DIAGONAL_MM
# The longer side's fields of view of 145 and 2 degrees; what is beyond them is no number of a camera's.
_LEAST_MM, _MOST_MM = 5.0, 1000.0
# QuickTime's key; FFmpeg may put a language behind it.
_KEY = "com.apple.quicktime.camera.focal_length.35mm_equivalent"


def of_video(metadata: Mapping[str, str], size_px: tuple[int, int]) -> float | None:
    """f of frames of that size by a container's or a stream's tags, which tell its equivalent f35 on 35 mm film.

    f = f35 / 34.6 mm times the longer side: phones film with the whole width of a 4:3 sensor, for whose picture f35 is
    told. None where nothing usable is told.
    """
    for key, value in metadata.items():
        if key.startswith(_KEY) and (told := _plausible(value)) is not None:
            return told / _FILM_SIDE_MM * max(size_px)
    return None


def of_picture(path: Path, size_px: tuple[int, int]) -> float | None:
    """f by EXIF's FocalLengthIn35mmFilm: f35 / 43.27 mm times the diagonal (CIPA DCG-001); None where it is not told.

    Raises InputError for a file that is no picture.
    """
    with opened(path) as image:
        told = _plausible(image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.FocalLengthIn35mmFilm))
    return None if told is None else told / _FILM_DIAGONAL_MM * math.hypot(*size_px)


def _plausible(value: object) -> float | None:
    """A length in mm that a lens may have; None for 0, which EXIF writes for unknown, and for what is no number."""
    try:
        told = float(str(value))
    except ValueError:
        return None
    return told if _LEAST_MM <= told <= _MOST_MM else None
