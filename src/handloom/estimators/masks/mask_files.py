"""Masks that lie in files already: those of a data set, and those that video segmentation tools write."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from handloom.datasets.frames import Frames, read_frames
from handloom.datasets.masks import (
    BACKGROUND,
    LABEL_OF,
    LEFT_HAND,
    OBJECT,
    PAINTING_ORDER,
    RIGHT_HAND,
    Labels,
    LabelSequence,
    read_labels,
    require_size,
)
from handloom.estimators.masks.sequence_masks import absences, write_sequence_masks
from handloom.runtime.config.sequences import MaskConvention
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_grey, read_rgb

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
# Of the pixels may have a colour that is not named: edges that a tool has smoothed.
_FOREIGN_SHARE = 0.01


def masks_of_dataset(
    given: Path, kind: Literal["ho3d", "build"], frames: Path, frames_json: Path, masks: Path, picture: Path
) -> None:
    """Stage: the masks that a data set brings: HO3D's rendered segmentations, or those of a HOLD build folder.

    HO3D's are a quarter of the picture's size and are enlarged without mixing labels. Raises InputError when one is
    missing or damaged, or no frame shows the object or no frame shows a hand.
    """
    taken = read_frames(frames, frames_json)
    labels = _segmentations(given / "seg", taken) if kind == "ho3d" else _of_build(given / "mask", taken)
    for what, gone in absences(labels).items():
        if gone.all():
            raise InputError(
                f"{given}: none of the {len(taken)} masks shows the {what}; expected HO3D-v3's colours or HOLD's "
                "labels; give mask files or a prompt instead"
            )
    write_sequence_masks(labels, taken, 1.0, masks, picture)


def masks_of_files(
    given: Path,
    settings: MaskConvention,
    empty_fraction: float,
    frames: Path,
    frames_json: Path,
    masks: Path,
    picture: Path,
) -> None:
    """Stage: the masks of the folder `given`; raises InputError as `read_mask_files` and `write_sequence_masks` do."""
    taken = read_frames(frames, frames_json)
    write_sequence_masks(read_mask_files(given, settings, taken), taken, empty_fraction, masks, picture)


def labels_from_ho3d(colour: UInt8[np.ndarray, "height width 3"]) -> Labels:
    """HO3D-v3's rendered segmentation (right hand blue, object another colour, background black) as labels.

    The archive's README does not tell the colours; that the hand is pure blue is how published readers of version 3 use
    it. Version 2 has other colours.
    """
    strong = colour > 127
    labels = np.full(colour.shape[:2], BACKGROUND, np.uint8)
    labels[strong.any(-1)] = OBJECT
    labels[strong[..., 2] & ~strong[..., 0] & ~strong[..., 1]] = RIGHT_HAND
    return labels


def labels_from_build(path: Path) -> Labels:
    """A mask of a build folder, values brought to the nearest label as get_sem_loss of HOLD's
    code/src/hold/loss_terms.py does.
    """
    grey = read_grey(path)
    labels = np.full(grey.shape, BACKGROUND, np.uint8)
    for least, label in ((25, OBJECT), (100, RIGHT_HAND), (200, LEFT_HAND)):
        labels[grey > least] = label
    return labels


def _segmentations(folder: Path, frames: Frames) -> LabelSequence:
    labels = []
    for stem in (Path(name).stem for name in frames.names):
        path = next((path for path in (folder / f"{stem}.png", folder / f"{stem}.jpg") if path.is_file()), None)
        if path is None:
            raise InputError(f"{folder / stem}.png: no such mask; expected one for every frame")
        labels.append(_enlarged(path, labels_from_ho3d(read_rgb(path)), frames))
    return np.stack(labels)


def _of_build(folder: Path, frames: Frames) -> LabelSequence:
    paths = sorted(folder.glob("*.png"))
    if len(paths) != len(frames):
        raise InputError(f"{folder}: has {len(paths)} masks for {len(frames)} frames; build it again")
    return np.stack([_enlarged(path, labels_from_build(path), frames) for path in paths])


def _enlarged(path: Path, labels: UInt8[np.ndarray, "small_height small_width"], frames: Frames) -> Labels:
    """Labels at the frames' size; raises InputError where they have another aspect, by more than a pixel's rounding."""
    height, width = labels.shape
    if (width, height) == frames.size_px:
        return labels
    if abs(width * frames.height_px - height * frames.width_px) > max(frames.size_px):
        raise InputError(
            f"{path}: has {width} x {height} pixels, which is no enlargement of the frames' "
            f"{frames.width_px} x {frames.height_px}; make masks of the same pictures"
        )
    return np.asarray(cv2.resize(labels, frames.size_px, interpolation=cv2.INTER_NEAREST_EXACT))


def read_mask_files(folder: Path, settings: MaskConvention, frames: Frames) -> LabelSequence:
    """Label images of all frames from the files of a folder.

    A frame's file is found by the frame's own name, else by its original name, else, when there are as many files as
    frames, by order. Raises InputError for missing files, other sizes, and values the convention lacks.
    """
    if settings.convention == "entity_folders":
        return _from_entity_folders(settings, folder, frames)
    readers: dict[str, Callable[[Path], Labels]] = {
        "labels": lambda path: read_labels(path, frames.size_px),
        "index": lambda path: _from_index(path, settings, frames),
        "colours": lambda path: _from_colours(path, settings, frames),
    }
    return np.stack([readers[settings.convention](path) for path in _files_of(folder, frames)])


def _files_of(folder: Path, frames: Frames) -> list[Path]:
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in _SUFFIXES)
    if not files:
        raise InputError(f"{folder}: found no mask images ({', '.join(_SUFFIXES)}); check masks.files.folder")
    by_stem = {path.stem: path for path in files}
    own = [path.stem for path in frames.pictures]
    for stems in (own, [Path(name).stem for name in frames.names]):
        if all(stem in by_stem for stem in stems):
            return [by_stem[stem] for stem in stems]
    if len(files) == len(frames):
        return files
    missing = [stem for stem in own if stem not in by_stem]
    raise InputError(
        f"{folder}: {len(missing)} of {len(frames)} frames have no mask file, first {missing[0]}, and the number of "
        f"files, {len(files)}, is not that of the frames; name masks as the frames or as their originals"
    )


def _from_entity_folders(settings: MaskConvention, root: Path, frames: Frames) -> LabelSequence:
    labels = np.zeros((len(frames), frames.height_px, frames.width_px), np.uint8)
    for entity in PAINTING_ORDER:
        if entity not in settings.entity_folders:
            continue
        files = _files_of(root / settings.entity_folders[entity], frames)
        for image, path in zip(labels, files, strict=True):
            values = _values(path, frames)
            image[values.reshape(*values.shape[:2], -1).any(-1)] = LABEL_OF[entity]
    return labels


def _values(path: Path, frames: Frames) -> np.ndarray:
    """Stored values of an image: numbers of a palette image, not its colours."""
    try:
        with Image.open(path) as image:
            values = np.asarray(image)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise InputError(f"{path}: cannot be read as an image ({error}); make the mask again") from error
    require_size(path, values, frames.size_px)
    return values


def _from_index(path: Path, settings: MaskConvention, frames: Frames) -> Labels:
    values = _values(path, frames)
    if values.ndim != 2:
        raise InputError(f"{path}: has {values.shape[2]} channels; the convention 'index' takes grey or palette images")
    labels = np.zeros(values.shape, np.uint8)
    for entity, number in settings.index.items():
        labels[values == number] = LABEL_OF[entity]
    return labels


def _from_colours(path: Path, settings: MaskConvention, frames: Frames) -> Labels:
    values = _values(path, frames)
    if values.ndim == 2:
        # A palette image stores numbers; its colours are what the convention speaks of.
        with Image.open(path) as image:
            values = np.asarray(image.convert("RGB"))
    rgb = values[..., :3]
    labels = np.zeros(rgb.shape[:2], np.uint8)
    known = (rgb == 0).all(-1)
    for entity, colour in settings.colours.items():
        here = (rgb == np.array(colour)).all(-1)
        labels[here] = LABEL_OF[entity]
        known |= here
    foreign = rgb[~known]
    if len(foreign) > _FOREIGN_SHARE * known.size:
        raise InputError(
            f"{path}: {len(foreign) / known.size:.0%} of the pixels have colours that masks.files.colours does not "
            f"name, for one {foreign[0].tolist()}; name them, and keep masks lossless (PNG, not JPEG)"
        )
    return labels
