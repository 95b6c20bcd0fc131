"""Masks that lie in files already: those of a data set, and those that video segmentation tools write."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from jaxtyping import UInt8

from handloom.datasets.files_of_frames import files_of_frames, files_of_originals
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
    require_size,
)
from handloom.datasets.numbered_pictures import numbered_pictures, pictures_and_masks
from handloom.estimators.masks.mask_contents import (
    MASK_SUFFIXES,
    read_binary_files,
    read_label_files,
    require_lossless,
    stored_size,
)
from handloom.estimators.masks.sequence_masks import absences, write_sequence_masks
from handloom.hand.joints import Side
from handloom.runtime.config.sequences import Entity, MaskConvention
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_grey, read_rgb


def masks_of_dataset(
    given: Path,
    kind: Literal["ho3d", "build"],
    frames: Path,
    frames_json: Path,
    masks: Path,
    picture: Path,
    *,
    hands: tuple[Side, ...] = ("right",),
) -> None:
    """Stage: the masks that a data set brings: HO3D's rendered segmentations, or those of a HOLD build folder.

    HO3D's are a quarter of the picture's size and are enlarged without mixing labels. Raises InputError when one is
    missing or damaged, or no frame shows the object or no frame shows a hand.
    """
    taken = read_frames(frames, frames_json)
    labels = _segmentations(given / "seg", taken, hands) if kind == "ho3d" else _of_build(given, taken)
    for what, gone in absences(labels, hands).items():
        if gone.all():
            raise InputError(
                f"{given}: none of the {len(taken)} masks shows the {what}; expected HO3D-v3's colours or HOLD's "
                "labels; give mask files or a prompt instead"
            )
    write_sequence_masks(labels, taken, masks, picture, hands=hands)


def masks_of_files(
    given: Path,
    settings: MaskConvention,
    empty_fraction: float,
    frames: Path,
    frames_json: Path,
    masks: Path,
    picture: Path,
    *,
    largest_share: float = 1.0,
    hands: tuple[Side, ...] = ("right",),
) -> None:
    """Stage: the masks of the folder `given`; raises InputError as `read_mask_files` and `write_sequence_masks` do."""
    taken = read_frames(frames, frames_json)
    labels = read_mask_files(given, settings, taken)
    advice = f"look at the files in {given}, and at what masks.files says of them"
    write_sequence_masks(labels, taken, masks, picture, empty_fraction, largest_share, advice, hands)


def labels_from_ho3d(colour: UInt8[np.ndarray, "height width 3"], hands: tuple[Side, ...] = ("right",)) -> Labels:
    """HO3D-v3's rendered segmentation (the hand blue, object another colour, background black) as labels.

    Which hand it is they do not tell; HO3D's are right ones. Of two hands the first is blue and the second red. The
    archive's README does not tell the colours; that the hand is pure blue is how published readers of version 3 use it.
    Version 2 has other colours.
    """
    strong = colour > 127
    labels = np.full(colour.shape[:2], BACKGROUND, np.uint8)
    labels[strong.any(-1)] = OBJECT
    for channel, side in zip((2, 0), hands, strict=False):
        labels[strong[..., channel] & (strong.sum(-1) == 1)] = LABEL_OF[side]
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


def _segmentations(folder: Path, frames: Frames, hands: tuple[Side, ...]) -> LabelSequence:
    paths = files_of_originals(folder, numbered_pictures(folder), frames)
    return np.stack([_enlarged(path, labels_from_ho3d(read_rgb(path), hands), frames) for path in paths])


def _of_build(build: Path, frames: Frames) -> LabelSequence:
    _, paths = pictures_and_masks(build)
    if len(paths) != len(frames):
        raise InputError(f"{build / 'mask'}: has {len(paths)} masks for {len(frames)} frames; build it again")
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

    Raises InputError for files that are not the frames' (see `files_of_frames`), of another size, or of other contents
    than the convention says.
    """
    in_order = settings.match == "order"
    labels = np.zeros((len(frames), frames.height_px, frames.width_px), np.uint8)
    for entity, (own, found) in _files_of(folder, settings).items():
        files = files_of_frames(own, found, frames, in_order=in_order)
        if entity is None:
            return read_label_files(files, settings, frames.size_px)
        for image, mask in zip(labels, read_binary_files(own, files, frames.size_px), strict=True):
            image[mask] = LABEL_OF[entity]
    return labels


def require_planned(folder: Path, settings: MaskConvention, planned: Callable[[int], Frames], sure: int = 2) -> None:
    """Raise InputError for files that are not those of frames to come, as far as names and headers tell.

    `planned` gives the frames, of a video, which nobody has counted, the first so many: there may be any number, but
    the first `sure` ones are among them.
    """
    for entity, (own, found) in _files_of(folder, settings).items():
        if entity is None:
            require_lossless(own, found)
        last = planned(len(found))
        for frames in (planned(sure), last):
            try:
                files = files_of_frames(own, found, frames, in_order=settings.match == "order", planned=True)
                break
            except InputError:
                if frames is last:
                    raise
        for path in files:
            require_size(path, stored_size(path), last.size_px)


def _files_of(folder: Path, settings: MaskConvention) -> dict[Entity | None, tuple[Path, list[Path]]]:
    """Where the files of each entity lie, in painting order, and which they are; of None where one shows all."""
    if settings.convention != "entity_folders":
        return {None: (folder, numbered_pictures(folder, suffixes=MASK_SUFFIXES))}
    where = settings.entity_folders
    return {entity: _of_entity(folder, where[entity]) for entity in PAINTING_ORDER if entity in where}


def _of_entity(root: Path, where: str) -> tuple[Path, list[Path]]:
    """The folder of an entity's files, and these: all of the folder, or those that a pattern names."""
    own = root / where
    if "*" not in own.name:
        return own, numbered_pictures(own, suffixes=MASK_SUFFIXES)
    return own.parent, numbered_pictures(own.parent, sorted(own.parent.glob(own.name)), MASK_SUFFIXES)
