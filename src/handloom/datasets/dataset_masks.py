"""Masks that a data set brings along, as HOLD's label pictures of the frames' size."""

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from handloom.datasets.frames_file import FramesFile, read_frames_file
from handloom.datasets.mask_labels import BACKGROUND, LEFT_HAND, OBJECT, RIGHT_HAND
from handloom.runtime.config.sequences import SequenceSettings
from handloom.runtime.errors import InputError
from handloom.runtime.files import whole_folder
from handloom.runtime.images import read_grey, read_rgb

_LISTED = 8

Labels = UInt8[np.ndarray, "height width"]


def dataset_masks(settings: SequenceSettings, frames_json: Path, output_folder: Path) -> None:
    """Write the data set's own masks: HO3D's rendered segmentations, or those of a HOLD build folder.

    HO3D's are a quarter of the picture's size and are enlarged without mixing labels. Raises InputError when the source
    has no masks, one is missing or damaged, or no frame shows the object or no frame shows a hand; single frames
    without are counted and listed.
    """
    frames = read_frames_file(frames_json)
    folder = Path(settings.path)
    if settings.kind == "ho3d":
        paths = [_with_stem(folder / "seg", Path(name).stem) for name in frames.names]
        _write(frames, paths, lambda path: labels_from_ho3d(read_rgb(path)), output_folder)
    elif settings.kind == "build":
        known = sorted((folder / "mask").glob("*.png"))
        stop = None if settings.most is None else settings.first + settings.most * settings.every
        paths = known[settings.first : stop : settings.every]
        if len(paths) != len(frames.names):
            raise InputError(
                f"{folder / 'mask'}: has {len(paths)} masks for {len(frames.names)} frames; build it again"
            )
        _write(frames, paths, labels_from_build, output_folder)
    else:
        raise InputError(
            f"sequence {settings.path}: a source of kind {settings.kind} brings no masks; give mask files or a prompt"
        )


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
    """A mask of a build folder; values are rounded to the nearest label, as its reader does (facts/hold.md 2.5)."""
    grey = read_grey(path)
    labels = np.full(grey.shape, BACKGROUND, np.uint8)
    for least, label in ((25, OBJECT), (100, RIGHT_HAND), (200, LEFT_HAND)):
        labels[grey > least] = label
    return labels


def _with_stem(folder: Path, stem: str) -> Path:
    for suffix in (".png", ".jpg"):
        if (folder / f"{stem}{suffix}").is_file():
            return folder / f"{stem}{suffix}"
    raise InputError(f"{folder / stem}.png: no such mask; expected one for every frame")


def _write(frames: FramesFile, paths: list[Path], labels_of: Callable[[Path], Labels], output_folder: Path) -> None:
    seen: dict[int, list[bool]] = {OBJECT: [], RIGHT_HAND: [], LEFT_HAND: []}
    with whole_folder(output_folder) as folder:
        for index, path in enumerate(paths):
            labels = labels_of(path)
            if labels.shape != (frames.height_px, frames.width_px):
                _require_same_aspect(path, labels, frames)
                labels = cv2.resize(labels, (frames.width_px, frames.height_px), interpolation=cv2.INTER_NEAREST_EXACT)
            for label in seen:
                seen[label].append(bool((labels == label).any()))
            Image.fromarray(labels).save(folder / f"{index:04d}.png", compress_level=3)
        hand = [right or left for right, left in zip(seen[RIGHT_HAND], seen[LEFT_HAND], strict=True)]
        if not any(seen[OBJECT]) or not any(hand):
            missing = "the object" if not any(seen[OBJECT]) else "a hand"
            raise InputError(
                f"{paths[0].parent}: none of the {len(paths)} masks shows {missing}; expected HO3D-v3's colours or "
                "HOLD's labels; give mask files or a prompt instead"
            )
    for what, there in (("object", seen[OBJECT]), ("hand", hand)):
        absent = [name for name, is_there in zip(frames.names, there, strict=True) if not is_there]
        if absent:
            listed = ", ".join(absent[:_LISTED]) + (", ..." if len(absent) > _LISTED else "")
            print(f"masks: no {what} in {len(absent)} of {len(there)} frames: {listed}", file=sys.stderr)


def _require_same_aspect(path: Path, labels: Labels, frames: FramesFile) -> None:
    height, width = labels.shape
    if abs(width * frames.height_px - height * frames.width_px) > max(frames.width_px, frames.height_px):
        raise InputError(
            f"{path}: has {width} x {height} pixels, which is no enlargement of the frames' "
            f"{frames.width_px} x {frames.height_px}; make masks of the same pictures"
        )
