"""Folders of frames and of label images: listed, checked, read, and written whole or not at all."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from handloom.datasets.mask_labels import MASK_LABELS
from handloom.runtime.errors import InputError
from handloom.runtime.files import whole_folder
from handloom.runtime.images import read_grey


def frame_paths(frames_folder: Path) -> list[Path]:
    """The frames of a sequence in name order, and their common size asserted.

    Raises InputError for fewer than two frames or frames of mixed sizes.
    """
    paths = sorted(Path(frames_folder).glob("*.png"))
    if len(paths) < 2:
        raise InputError(
            f"{frames_folder}: found {len(paths)} frames (*.png), expected at least 2; run the rule that extracts them"
        )
    sizes = {path.name: image_size(path) for path in paths}
    first = sizes[paths[0].name]
    odd = [name for name, size in sizes.items() if size != first]
    if odd:
        raise InputError(
            f"{frames_folder}: {len(odd)} frames differ in size from {paths[0].name} ({first[0]}x{first[1]}), first "
            f"{odd[0]} ({sizes[odd[0]][0]}x{sizes[odd[0]][1]}); a sequence needs one size, extract it again"
        )
    return paths


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image, from its header alone; raises InputError when it cannot be read."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, SyntaxError) as error:
        raise InputError(f"{path}: cannot be read as an image ({error}); extract the frames again") from error


def read_labels(path: Path, width_px: int, height_px: int) -> UInt8[np.ndarray, "height width"]:
    """A label image; raises InputError for another size or values other than 0, 50, 150 and 250."""
    labels = read_grey(path)
    if labels.shape != (height_px, width_px):
        raise InputError(
            f"{path}: mask is {labels.shape[1]}x{labels.shape[0]}, its frame {width_px}x{height_px}; masks must have "
            "the size of the frames, make them again"
        )
    foreign = sorted(set(np.unique(labels).tolist()) - set(MASK_LABELS))
    if foreign:
        raise InputError(
            f"{path}: holds the labels {foreign[:6]}, expected only {list(MASK_LABELS)} (background, object, right, "
            "left); declare the convention of your files under masks.files"
        )
    return labels


def read_label_sequence(masks_folder: Path, frames: Sequence[Path]) -> UInt8[np.ndarray, "frames height width"]:
    """The label images of all frames; raises InputError naming the frames that have none."""
    missing = [path.name for path in frames if not (Path(masks_folder) / path.name).is_file()]
    if missing:
        raise InputError(
            f"{masks_folder}: {len(missing)} of {len(frames)} frames have no mask, first {missing[0]}; a mask is named "
            "as its frame"
        )
    width, height = image_size(frames[0])
    return np.stack([read_labels(Path(masks_folder) / path.name, width, height) for path in frames])


def write_label_sequence(folder: Path, names: Sequence[str], labels: UInt8[np.ndarray, "frames height width"]) -> None:
    """Write one PNG per frame into a folder that appears whole and replaces what lay there."""
    with whole_folder(folder) as temporary:
        for name, image in zip(names, labels, strict=True):
            Image.fromarray(image).save(temporary / name)


def shrunk(mask: UInt8[np.ndarray, "height width"], radius_px: int) -> UInt8[np.ndarray, "height width"]:
    """A binary mask eroded by a disc; the image's border does not eat into it."""
    if radius_px == 0:
        return mask
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
    return np.asarray(cv2.erode(mask, disc), np.uint8)
