"""What the pixels of users' mask files mean: binary images of one entity, and images of labels, numbers or colours."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Real

from handloom.datasets.masks import BACKGROUND, LABEL_OF, MASK_LABELS, LabelSequence, require_size
from handloom.runtime.config.sequences import Entity, MaskConvention
from handloom.runtime.errors import InputError
from handloom.runtime.images import PICTURE_SUFFIXES, SUFFIXES_OF, StoredPicture, image_size, read_stored
from handloom.runtime.reading import require_regular

MASK_SUFFIXES = (*PICTURE_SUFFIXES, ".npy")
# Of the pixels may have a colour that is not named: edges that a tool has smoothed.
_FOREIGN_SHARE = 0.01
# Pixels in the middle half of a binary image's range, for each that is set: edges are smooth, regions are not.
_BETWEEN_SHARE = 0.25
# Overlap at which an alpha channel and the colours show the same mask.
_SAME = 0.9

Numbers = Real[np.ndarray, "height width"]


def read_binary_files(
    folder: Path, files: Sequence[Path], size_px: tuple[int, int]
) -> Iterator[Bool[np.ndarray, "height width"]]:
    """The masks of one entity: what is brighter than halfway between the darkest and the brightest pixel of all files.

    So 0 and 1, 0 and 255, 3 and 255, 16 bits and the halo of a JPEG come out alike. An alpha channel is left out,
    unless the colours are flat: then it is the mask. Raises InputError for files of one value or of several regions'
    values, and where alpha and colours differ.
    """
    ranges: list[tuple[float, float]] = []
    by_alpha = False
    for path in files:
        picture = _stored(path, size_px)
        level = _brightness(path, picture)
        ranges.append((float(level.min()), float(level.max())))
        by_alpha |= _alpha_tells(picture) and not np.ptp(level)
    low, high = (0.0, 255.0) if by_alpha else (min(low for low, _ in ranges), max(high for _, high in ranges))
    if by_alpha:
        print(f"{folder}: the colours are flat, the alpha channel is taken for the mask", file=sys.stderr)
    if low == high and low != 0:
        raise InputError(
            f"{folder}: every pixel of its {len(files)} files has the brightness {low:g}, but a mask has two values; "
            "export the masks again"
        )
    quarter, inside, between, held = (high - low) / 4, 0, 0, Counter[float]()
    masks = []
    for path in files:
        picture = _stored(path, size_px)
        level = _alpha(picture) if by_alpha else _brightness(path, picture)
        mask = level > (low + high) / 2
        if not by_alpha and _alpha_tells(picture) and not _same(mask, _alpha(picture) > 127):
            raise InputError(
                f"{path}: its colours and its alpha channel show different masks; save the one that is meant without "
                "an alpha channel"
            )
        values, counts = np.unique(level, return_counts=True)
        if not mask.any() and len(values) == 2:
            raise InputError(
                f"{path}: holds {values[0]:g} and {values[1]:g}, while other files of its folder reach {high:g}; give "
                "all masks of an entity the same two values"
            )
        held += Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        inside += int(mask.sum())
        between += int(((level > low + quarter) & (level < high - quarter)).sum())
        masks.append(np.packbits(mask))
    if between > _BETWEEN_SHARE * max(inside, 1):
        most = ", ".join(f"{value:g}" for value in sorted(value for value, _ in held.most_common(6)))
        raise InputError(
            f"{folder}: is said to hold binary masks of one entity, but its files hold {most}; split them by entity, "
            "or set masks.files.convention to 'labels' or 'index'"
        )
    width, height = size_px
    return (np.unpackbits(mask, count=width * height).reshape(height, width).astype(bool) for mask in masks)


def require_lossless(folder: Path, files: Sequence[Path]) -> None:
    """Raise InputError for files of numbers or colours that are JPEGs."""
    lossy = [path.name for path in files if path.suffix.lower() in SUFFIXES_OF["JPEG"]]
    if lossy:
        raise InputError(
            f"{folder}: {lossy[0]} is a JPEG, which blurs the numbers and colours of masks; export them as PNG (JPEG "
            "will do for masks.files.convention 'entity_folders')"
        )


def read_label_files(files: Sequence[Path], settings: MaskConvention, size_px: tuple[int, int]) -> LabelSequence:
    """Label images from files of the convention 'labels', 'index' or 'colours'.

    Numbers and colours that no setting names are background, and are told with how many pixels have them. Raises
    InputError for lossy files, for more than a hundredth of a picture in unnamed colours, and when the settings'
    numbers or colours are not those of the files.
    """
    folder = files[0].parent
    require_lossless(folder, files)
    named, background = LABEL_OF, {BACKGROUND}
    if settings.convention == "index":
        named = settings.index
    elif settings.convention == "colours":
        named = {entity: _packed(colour) for entity, colour in settings.colours.items()}
        background = {_packed(colour) for colour in settings.background_colours}
    labels, held = [], Counter[int]()
    for path in files:
        picture = _stored(path, size_px)
        numbers = _colours(picture) if settings.convention == "colours" else _numbers(path, picture, settings)
        numbers = np.where(_transparent(picture), min(background), numbers)
        label = np.full(numbers.shape, BACKGROUND, np.uint8)
        for entity, number in named.items():
            label[numbers == number] = LABEL_OF[entity]
        values, counts = np.unique(numbers, return_counts=True)
        found = Counter({int(value): int(count) for value, count in zip(values, counts, strict=True)})
        if settings.convention == "colours":
            _require_named(path, found, {*named.values(), *background})
        labels.append(label)
        held += found
    _compare(folder, settings.convention, named, background, held)
    return np.stack(labels)


def _stored(path: Path, size_px: tuple[int, int]) -> StoredPicture:
    picture = StoredPicture(_array(path), None, None) if path.suffix.lower() == ".npy" else read_stored(path)
    require_size(path, picture.values.shape[1::-1], size_px)
    return picture


@cache
def stored_size(path: Path) -> tuple[int, int]:
    """Width and height of a mask, by its header."""
    return _array(path).shape[::-1] if path.suffix.lower() == ".npy" else image_size(path)


def _array(path: Path) -> Numbers:
    """A mask stored as an array of numbers or of true and false, as Track-Anything does."""
    require_regular(path, "mask")
    try:
        values = np.squeeze(np.lib.format.open_memmap(path, mode="r"))  # the header tells the shape
    except Exception as error:  # whatever is wrong with a header
        told = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as an array ({told}); export the masks as PNG") from error
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise InputError(
            f"{path}: holds {values.dtype} of shape {values.shape}, expected one number for each pixel; export the "
            "masks as PNG, one file a frame"
        )
    return np.asarray(values, np.uint8 if values.dtype == bool else None)


def _brightness(path: Path, picture: StoredPicture) -> Real[np.ndarray, "height width"]:
    """The sum of the channels, of a palette those of its colours unless they are all alike."""
    values = picture.values
    if picture.colours is not None and np.ptp(picture.colours):
        values = picture.colours
    level = values.astype(np.float64)
    if not np.isfinite(level).all():
        raise InputError(f"{path}: holds values that are no numbers; export the masks again")
    return level if level.ndim == 2 else level.sum(-1)


def _same(mask: Bool[np.ndarray, "h w"], other: Bool[np.ndarray, "h w"]) -> bool:
    return bool((mask & other).sum() >= _SAME * (mask | other).sum())


def _alpha_tells(picture: StoredPicture) -> bool:
    return picture.alpha is not None and bool(np.ptp(picture.alpha))


def _alpha(picture: StoredPicture) -> Real[np.ndarray, "height width"]:
    return np.zeros(picture.values.shape[:2]) if picture.alpha is None else picture.alpha.astype(np.float64)


def _transparent(picture: StoredPicture) -> Bool[np.ndarray, "height width"]:
    """Pixels that nothing was painted on; none where the alpha channel is flat and the colours are not."""
    told = picture.alpha is not None and (np.ptp(picture.alpha) or not np.ptp(picture.values, axis=(0, 1)).any())
    return np.asarray((_alpha(picture) == 0) & told, bool)


def _numbers(path: Path, picture: StoredPicture, settings: MaskConvention) -> Numbers:
    values = picture.values
    if values.ndim == 3:
        if np.ptp(values, axis=-1).any():
            raise InputError(
                f"{path}: holds colours, but masks.files.convention is '{settings.convention}', of grey or palette "
                "images; set it to 'colours'"
            )
        values = values[..., 0]
    if values.dtype.kind == "f" and not (np.isfinite(values) & (values == np.round(values))).all():
        raise InputError(f"{path}: holds fractions, but '{settings.convention}' takes whole numbers; export it again")
    if settings.convention == "labels":
        if picture.colours is not None and not np.isin(values, MASK_LABELS).all():
            values = picture.colours[..., 0]  # a palette of the labels' grey
        foreign = sorted(set(np.unique(values).tolist()) - set(MASK_LABELS))
        if foreign:
            raise InputError(
                f"{path}: holds the labels {foreign[:6]}, expected only {list(MASK_LABELS)} (background, object, "
                "right, left); set masks.files.convention to what your files are"
            )
    return values


def _packed(colour: Sequence[int]) -> int:
    red, green, blue = colour
    return red << 16 | green << 8 | blue


def _colours(picture: StoredPicture) -> Numbers:
    """Colours of pixels as single numbers, 0xRRGGBB."""
    values = picture.values if picture.colours is None else picture.colours
    rgb = np.stack([values] * 3, -1) if values.ndim == 2 else values
    return np.asarray(rgb.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1]))


def _require_named(path: Path, found: Counter[int], known: set[int]) -> None:
    foreign = Counter({colour: count for colour, count in found.items() if colour not in known})
    if foreign.total() > _FOREIGN_SHARE * found.total():
        most = [f"{_shown(colour)} on {count / found.total():.0%}" for colour, count in foreign.most_common(3)]
        raise InputError(
            f"{path}: {foreign.total() / found.total():.0%} of the pixels have colours that no setting names: "
            f"{', '.join(most)}; name those of object and hands in masks.files.colours, those of the background in "
            "masks.files.background_colours, and keep masks lossless (PNG, not JPEG)"
        )


def _shown(colour: int) -> str:
    return str([colour >> 16, colour >> 8 & 255, colour & 255])


def _compare(
    folder: Path, convention: str, named: Mapping[Entity, int], background: set[int], held: Counter[int]
) -> None:
    """Tell what the files hold that no setting names; raise InputError where object or hand are not among it."""
    show = _shown if convention == "colours" else str
    unnamed = Counter({value: n for value, n in held.items() if value not in {*named.values(), *background}})
    gone = [entity for entity, value in named.items() if value not in held]
    hands = [entity for entity in named if entity != "object"]
    what = "colours" if convention == "colours" else "numbers"
    if unnamed and ("object" in gone or set(hands) <= set(gone)):
        told = ", ".join(f"{show(value)} ({held[value]} pixels)" for value in sorted(held)[:8])
        asked = ", ".join(f"{show(value)} ({entity})" for entity, value in named.items())
        raise InputError(
            f"{folder}: its files hold the {what} {told}, but masks.files.{convention} names {asked}; name there those "
            "of the files"
        )
    if unnamed:
        told = ", ".join(f"{show(value)} on {count} pixels" for value, count in unnamed.most_common(6))
        print(
            f"{folder}: no setting names the {what} {told} ({unnamed.total() / held.total():.2%} of {held.total()}); "
            "they count as background",
            file=sys.stderr,
        )
