"""Masks: one label image per frame, named as the frame, whose grey value says what a pixel shows."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, Real, UInt8
from PIL import Image

from handloom.datasets.frames import Frames
from handloom.runtime.config.sequences import Entity
from handloom.runtime.errors import InputError
from handloom.runtime.files import whole_folder
from handloom.runtime.images import read_grey

# SEGM_IDS of HOLD's code/src/utils/const.py.
BACKGROUND, OBJECT, RIGHT_HAND, LEFT_HAND = 0, 50, 150, 250
MASK_LABELS = (BACKGROUND, OBJECT, RIGHT_HAND, LEFT_HAND)
LABEL_OF: dict[Entity, int] = {"object": OBJECT, "right": RIGHT_HAND, "left": LEFT_HAND}
# Where entities overlap the object wins, as in HOLD's generator/scripts/validate_masks.py: later ones overwrite.
PAINTING_ORDER: tuple[Entity, ...] = ("left", "right", "object")

OUTSIDE = -1
"""In place of a label, beside the picture."""
Labels = UInt8[np.ndarray, "height width"]
LabelSequence = UInt8[np.ndarray, "frames height width"]


def mask_files(folder: Path, frames: Frames) -> list[Path]:
    """The mask of every frame, in their order; raises InputError naming the first frame that has none."""
    files = [folder / path.name for path in frames.pictures]
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise InputError(
            f"{folder}: {len(missing)} of {len(frames)} frames have no mask, first {missing[0]}; a mask is named as "
            "its frame, run the rule that makes them again"
        )
    return files


def read_masks(folder: Path, frames: Frames) -> LabelSequence:
    """The label images of all frames; raises InputError as `mask_files` and `read_labels` do."""
    return np.stack([read_labels(path, frames.size_px) for path in mask_files(folder, frames)])


def read_labels(path: Path, size_px: tuple[int, int]) -> Labels:
    """A label image; raises InputError for another size (width, height) or values other than 0, 50, 150 and 250."""
    labels = read_grey(path)
    require_size(path, labels.shape[::-1], size_px)
    foreign = sorted(set(np.unique(labels).tolist()) - set(MASK_LABELS))
    if foreign:
        raise InputError(
            f"{path}: holds the labels {foreign[:6]}, expected only {list(MASK_LABELS)} (background, object, right, "
            "left); declare the convention of your files under masks.files"
        )
    return labels


def labels_at(
    labels: Labels | Bool[np.ndarray, "height width"], points_px: Real[np.ndarray, "points 2"]
) -> Int[np.ndarray, " points"]:
    """What a label image (or a mask: 0, 1) shows at the pixel nearest to each point (column, row), or `OUTSIDE`."""
    column, row = np.rint(points_px.clip(-1e6, 1e6)).astype(np.int64).T
    height, width = labels.shape
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return np.where(inside, labels[row.clip(0, height - 1), column.clip(0, width - 1)].astype(np.int64), OUTSIDE)


def require_size(path: Path, mask_px: tuple[int, ...], size_px: tuple[int, int]) -> None:
    """Raise InputError unless a mask has the frames' width and height."""
    if mask_px != size_px:
        raise InputError(
            f"{path}: mask is {mask_px[0]}x{mask_px[1]}, its frame {size_px[0]}x{size_px[1]}; masks must have the "
            "size of the frames, make them again"
        )


def write_masks(folder: Path, frames: Frames, labels: LabelSequence) -> None:
    """Write one PNG per frame into a folder that appears whole and replaces what lay there."""
    with whole_folder(folder) as temporary:
        for picture, image in zip(frames.pictures, labels, strict=True):
            Image.fromarray(image).save(temporary / picture.name, compress_level=3)
