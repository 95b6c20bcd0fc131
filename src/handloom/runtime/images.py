"""Pictures of a few known formats, opened in one place, and sheets of many.

Pillow decodes them: it refuses a truncated file where OpenCV returns half of it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from handloom.runtime.errors import InputError
from handloom.runtime.files import atomic_path
from handloom.runtime.reading import require_regular

SUFFIXES_OF = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm"),
}
"""The formats that are read, whatever a file's name says: Pillow knows others, some of which start programs."""
PICTURE_SUFFIXES = tuple(suffix for suffixes in SUFFIXES_OF.values() for suffix in suffixes)
# A file of few bytes may promise any size.
_MOST_PIXELS = 150_000_000
# A phone's JPEG may hold a second picture, for depth, after the one that is meant.
_OF_ONE_PICTURE = {"PNG", "WEBP", "TIFF"}
_FIRST_ON_ITS_SIDE = 5
"""Of EXIF's eight orientations."""
_GREY = {"1", "L", "I", "I;16", "I;16B", "F"}
_RGB_MODES = ("RGB", "L", "P")
_COLOUR = {"RGB", "RGBA", "P", "PA", "LA"}


@dataclass(frozen=True)
class StoredPicture:
    """A picture as it is stored: grey levels, or the numbers of a palette, or colours; and what belongs to them."""

    values: Shaped[np.ndarray, "height width *channels"]
    alpha: UInt8[np.ndarray, "height width"] | None
    colours: UInt8[np.ndarray, "height width 3"] | None
    """Of a palette."""


def read_rgb(path: Path) -> np.ndarray:
    """An 8-bit picture as (height, width, 3) uint8; a grey one repeats its channel, a palette gives its colours.

    Raises InputError when the file cannot be used (see `opened`), is transparent or has more than 8 bits.
    """
    return _decoded(Path(path), "RGB", _RGB_MODES)


def read_grey(path: Path) -> np.ndarray:
    """An 8-bit picture as (height, width) uint8; colour is weighted by ITU-R 601-2.

    Raises InputError as `read_rgb` does, and for a palette, whose numbers may be what is meant.
    """
    return _decoded(Path(path), "L", ("RGB", "L"))


def read_stored(path: Path) -> StoredPicture:
    """A picture's stored values at any depth, upright; raises InputError for what `opened` refuses, and for CMYK."""
    with opened(path) as image:
        upright = ImageOps.exif_transpose(image)
        upright.load()
        if upright.mode not in _GREY | _COLOUR:
            raise InputError(f"{path}: has colours of mode {upright.mode}, but grey, a palette or RGB was expected")
        alpha = np.asarray(upright.convert("RGBA"))[..., 3] if _has_alpha(upright) else None
        of_palette = np.asarray(upright.convert("RGB")) if upright.mode in ("P", "PA") else None
        values = np.asarray(upright)
        if values.ndim == 3:
            values = values[..., 0] if upright.mode in ("LA", "PA") else values[..., :3]
        return StoredPicture(values.astype(np.uint8) if values.dtype == bool else values, alpha, of_palette)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture as it is shown, from its header alone; raises InputError as `opened` does."""
    with opened(path) as image:
        return _size_as_shown(image)


def rgb_size(path: Path) -> tuple[int, int]:
    """The same of a picture for `read_rgb`; raises InputError as that does, as far as the header tells."""
    with opened(path) as image:
        if _is_deep(image) or not (image.mode in _RGB_MODES or _has_alpha(image)):
            raise _of_other_mode(path, image.mode, deep=_is_deep(image))
        return _size_as_shown(image)


def _size_as_shown(image: Image.Image) -> tuple[int, int]:
    # Pillow decodes a PNG to look for what may follow the pixels.
    told = image.format != "PNG" or "exif" in image.info
    on_its_side = told and image.getexif().get(ExifTags.Base.Orientation, 1) >= _FIRST_ON_ITS_SIDE
    return (image.height, image.width) if on_its_side else image.size


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A picture whose header is read, to be decoded inside of the block.

    Raises InputError, whatever the decoder raises: for a file that is missing, no regular one, of another format,
    damaged, too large, or of several pictures.
    """
    require_regular(path, "image")
    try:
        with Image.open(path, formats=tuple(SUFFIXES_OF)) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise InputError(
                    f"{path}: has {image.width} x {image.height} pixels, expected at most {_MOST_PIXELS:,}; make it "
                    "smaller"
                )
            count = getattr(image, "n_frames", 1) if image.format in _OF_ONE_PICTURE else 1
            if count > 1:
                raise InputError(f"{path}: holds {count} pictures, expected one a file; save them one by one")
            yield image
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path}: cannot be decoded as any format that is read ({', '.join(SUFFIXES_OF)}), whatever its name says; "
            "convert it, or fetch it again if it is damaged"
        ) from error
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{path}: has more pixels than {_MOST_PIXELS:,}, the most that is read; make it smaller"
        ) from error
    except Exception as error:  # decoders raise anything at all about a damaged file
        told = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path}: cannot be decoded ({told}); the file is damaged or cut short, fetch it again"
        ) from error


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA") or (image.mode == "P" and "transparency" in image.info)


def _is_deep(image: Image.Image) -> bool:
    """Whether it has 16 bits, which Pillow would cut to 8."""
    return ";16" in str(getattr(image, "tile", ""))


def _of_other_mode(path: Path, found: str, *, deep: bool) -> InputError:
    return InputError(
        f"{path}: is an image of mode {found}{' and 16 bits' if deep else ''}, but 8-bit grey or RGB was expected; "
        "convert it"
    )


def _decoded(path: Path, mode: str, modes: Sequence[str]) -> np.ndarray:
    with opened(path) as image:
        deep = _is_deep(image)
        upright = ImageOps.exif_transpose(image)
        upright.load()
        found = upright.mode
        if _has_alpha(upright):
            with_alpha = upright.convert("RGBA")
            if np.asarray(with_alpha)[..., 3].min() == 255 and found != "PA":
                upright = with_alpha.convert("RGB") if found in ("RGBA", "P") else upright.convert("L")
            else:
                found += " with transparent pixels"
        if deep or upright.mode not in modes:
            raise _of_other_mode(path, found, deep=deep)
        return np.asarray(upright.convert(mode))


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
