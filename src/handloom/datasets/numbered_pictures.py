"""Folders of numbered pictures, in the order of their numbers: frames, masks, and the folders of HO3D and of HOLD."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from handloom.runtime.errors import InputError, listed
from handloom.runtime.images import PICTURE_SUFFIXES
from handloom.runtime.reading import require_regular

# Formats of pictures that are not read: such a file is a frame that would be missing.
_OTHERS = (
    "apng arw avif cr2 cr3 dds dib dng eps exr gif hdr heic heif hif ico j2k jfif jp2 jpe jpx jxl nef orf pbm pcx pfm "
    "pnm ps psd qoi raf raw rw2 svg tga xcf"
)
_OTHER_SUFFIXES = frozenset(f".{name}" for name in _OTHERS.split())
# What tools hang onto a picture's name: Roboflow's hash, and the suffix of the picture that was annotated.
_HASH = re.compile(r"\.rf\.[0-9A-Za-z]{20,}")
_INNER_SUFFIX = re.compile(r"[._](?:jpe?g|png|webp|bmp|tiff?)(?=$|[-_.])", re.IGNORECASE)
_DECIMAL = re.compile(r"\d+(\.\d+)?")
# What file managers call a second copy.
_COPY = re.compile(r"(.*?)(?: ?\(\d+\)| - \w+(?: \(\d+\))?| copy(?: \d+)?)", re.IGNORECASE)

Key = tuple[str | int, ...]


def numbered_pictures(
    folder: Path, files: Sequence[Path] | None = None, suffixes: Sequence[str] = PICTURE_SUFFIXES
) -> list[Path]:
    """The pictures of a folder, or those of `files` that lie in it, by their numbers: 10 follows 9, padded or not.

    Hidden files and those that are no pictures are left out. Raises InputError for a folder that is missing or holds
    none, for a picture of a format that is not read, for one that is no regular file, and for two of one number.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected one that holds the frames as pictures")
    visible = [path for path in (folder.iterdir() if files is None else files) if not path.name.startswith(".")]
    unread = sorted(path.name for path in visible if path.suffix.lower() in _OTHER_SUFFIXES)
    if unread:
        raise InputError(
            f"{folder}: {len(unread)} of its pictures are of a format that is not read ({listed(unread, 3)}); convert "
            "them to PNG or JPEG, or move them away"
        )
    pictures = [path for path in visible if path.suffix.lower() in suffixes]
    if not pictures:
        found = listed(sorted(path.name for path in visible), 3) or "nothing"
        raise InputError(f"{folder}: holds no pictures, found {found}; expected {', '.join(suffixes)}")
    for path in pictures:
        require_regular(path, "picture")
    pictures.sort(key=lambda path: ([(isinstance(part, str), part) for part in _key(stem_of(path.name))], path.name))
    _require_one_order(folder, pictures)
    _require_single(folder, pictures)
    return pictures


def pictures_and_masks(build: Path) -> tuple[list[Path], list[Path]]:
    """The files of image/ and mask/ of a HOLD build folder; raises InputError where their numbers differ."""
    images, masks = (numbered_pictures(build / kind) for kind in ("image", "mask"))
    odd = [
        f"{image.name} and {mask.name}"
        for image, mask in zip(images, masks, strict=False)
        if (numbers_of(image.name) or image.stem) != (numbers_of(mask.name) or mask.stem)
    ]
    if odd or len(images) != len(masks):
        ends = f"{images[-1].name} and {masks[-1].name}"
        raise InputError(
            f"{build}: image/ holds {len(images)} pictures and mask/ {len(masks)}, with {(odd or [ends])[0]} in one "
            "place; expected one mask of each image, by its number; fetch the folder again, or build it again"
        )
    return images, masks


def stem_of(name: str) -> str:
    """A picture's name without its suffix and what annotation tools put there: 7_jpg.rf.HASH.png is 7."""
    return _INNER_SUFFIX.sub("", _HASH.sub("", Path(name).stem))


def numbers_of(name: str) -> tuple[int, ...]:
    """All numbers in a picture's name."""
    return tuple(part for part in _key(stem_of(name)) if isinstance(part, int))


def _key(stem: str) -> Key:
    return tuple(int(part) if part.isdecimal() else part for part in re.findall(r"\d+|\D+", stem))


def _require_one_order(folder: Path, pictures: Sequence[Path]) -> None:
    """Raise InputError for names that are decimals, as seconds are, whose order is not that of their numbers."""
    stems = [stem_of(path.name) for path in pictures]
    if not all(map(_DECIMAL.fullmatch, stems)):
        return
    odd = [f"{first} and {second}" for first, second in pairwise(stems) if float(first) > float(second)]
    if odd:
        raise InputError(
            f"{folder}: {odd[0]} can be read in two orders, as decimals and as pairs of numbers; write all names with "
            "as many digits behind the point"
        )


def _require_single(folder: Path, pictures: Sequence[Path]) -> None:
    """Raise InputError where two files have the same numbers or one is named as the other's copy."""
    named: dict[Key, Path] = {}
    for path in pictures:
        stem = stem_of(path.name)
        copied = _COPY.fullmatch(stem)
        same = [numbers_of(path.name) or (stem.casefold(),), *([_key(copied[1])] if copied else [])]
        other = next((named[key] for key in same if key in named), None)
        if other is not None:
            raise InputError(
                f"{folder}: {other.name} and {path.name} are two files of one frame; keep one of them there, or put "
                "them into folders of their own"
            )
        named[same[0]] = path
        named.setdefault(_key(stem), path)
