"""Masks from files in the conventions that video segmentation tools write."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from handloom.datasets.mask_labels import LABEL_OF, PAINTING_ORDER, Entity
from handloom.estimators.masks.sequence_files import image_size, read_labels
from handloom.runtime.config.masks import MaskFilesSettings
from handloom.runtime.errors import InputError

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")

Labels = UInt8[np.ndarray, "height width"]


def read_mask_files(
    settings: MaskFilesSettings, frames: Sequence[Path], original_names: Sequence[str] | None = None
) -> UInt8[np.ndarray, "frames height width"]:
    """Label images of all frames from the files of `settings`.

    A frame's file is found by the frame's own name, else by its original name (frames.json), else, when there are as
    many files as frames, by order. Raises InputError for missing files, other sizes, and values the convention lacks.
    """
    size = image_size(frames[0])
    root = Path(settings.folder)
    if settings.convention == "entity_folders":
        return _from_entity_folders(settings, root, frames, original_names, size)
    files = _files_of(root, frames, original_names)
    readers: dict[str, Callable[[Path], Labels]] = {
        "labels": lambda path: read_labels(path, *size),
        "index": lambda path: _from_index(path, size, settings),
        "colours": lambda path: _from_colours(path, size, settings),
    }
    return np.stack([readers[settings.convention](path) for path in files])


def _files_of(folder: Path, frames: Sequence[Path], original_names: Sequence[str] | None) -> list[Path]:
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in _SUFFIXES)
    if not files:
        raise InputError(f"{folder}: found no mask images ({', '.join(_SUFFIXES)}); check masks.files.folder")
    by_stem = {path.stem: path for path in files}
    originals = [Path(name).stem for name in original_names] if original_names else []
    for stems in ([path.stem for path in frames], originals):
        if stems and all(stem in by_stem for stem in stems):
            return [by_stem[stem] for stem in stems]
    if len(files) == len(frames):
        return files
    missing = [path.stem for path in frames if path.stem not in by_stem]
    raise InputError(
        f"{folder}: {len(missing)} of {len(frames)} frames have no mask file, first {missing[0]}, and the number of "
        f"files, {len(files)}, is not that of the frames; name masks as the frames or as their originals"
    )


def _from_entity_folders(
    settings: MaskFilesSettings,
    root: Path,
    frames: Sequence[Path],
    original_names: Sequence[str] | None,
    size: tuple[int, int],
) -> UInt8[np.ndarray, "frames height width"]:
    labels = np.zeros((len(frames), size[1], size[0]), np.uint8)
    for entity in PAINTING_ORDER:
        if entity not in settings.entity_folders:
            continue
        files = _files_of(root / settings.entity_folders[entity], frames, original_names)
        for image, path in zip(labels, files, strict=True):
            values = _values(path, size)
            image[values.reshape(*values.shape[:2], -1).any(-1)] = LABEL_OF[entity]
    return labels


def _values(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Stored values of an image: numbers of a palette image, not its colours."""
    try:
        with Image.open(path) as image:
            values = np.asarray(image)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise InputError(f"{path}: cannot be read as an image ({error}); make the mask again") from error
    if values.shape[:2] != (size[1], size[0]):
        raise InputError(
            f"{path}: mask is {values.shape[1]}x{values.shape[0]}, the frames are {size[0]}x{size[1]}; masks must have "
            "the size of the frames"
        )
    return values


def _from_index(path: Path, size: tuple[int, int], settings: MaskFilesSettings) -> Labels:
    values = _values(path, size)
    if values.ndim != 2:
        raise InputError(f"{path}: has {values.shape[2]} channels; the convention 'index' takes grey or palette images")
    labels = np.zeros(values.shape, np.uint8)
    for entity, number in settings.index.items():
        labels[values == number] = LABEL_OF[entity]
    return labels


def _from_colours(path: Path, size: tuple[int, int], settings: MaskFilesSettings) -> Labels:
    values = _values(path, size)
    if values.ndim == 2:
        # A palette image stores numbers; its colours are what the convention speaks of.
        with Image.open(path) as image:
            values = np.asarray(image.convert("RGB"))
    rgb = values[..., :3]
    labels = np.zeros(rgb.shape[:2], np.uint8)
    known = (rgb == 0).all(-1)
    colours: dict[Entity, tuple[int, int, int]] = dict(settings.colours)
    for entity, colour in colours.items():
        here = (rgb == np.array(colour)).all(-1)
        labels[here] = LABEL_OF[entity]
        known |= here
    foreign = rgb[~known]
    if len(foreign) > 0.01 * known.size:
        raise InputError(
            f"{path}: {len(foreign) / known.size:.0%} of the pixels have colours that masks.files.colours does not "
            f"name, for one {foreign[0].tolist()}; name them, and keep masks lossless (PNG, not JPEG)"
        )
    return labels
