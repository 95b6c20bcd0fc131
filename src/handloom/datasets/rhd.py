"""Rendered Hand Pose Dataset in its original layout: colour images of 320 x 320 pixels.

Layout, below the data set's root::

    RHD_published_v2/{training,evaluation}/anno_{training,evaluation}.pickle   index -> uv_vis 42x3, xyz 42x3 (m), K 3x3
                                           color/00000.png   mask/00000.png    the labels of a mask tell the hand
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float

from handloom.datasets import ImageSetSettings, RhdSettings
from handloom.datasets.labelled_hands import LabelledHand
from handloom.datasets.training_samples import sample_preparation
from handloom.hand.joints import SNAP_FROM_RHD
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_grey, read_rgb
from handloom.runtime.pickles import load_pickle

RhdSplit = Literal["training", "evaluation"]
LEFT_LABELS = (2, 17)
RIGHT_LABELS = (18, 33)
_GREY = 128
"""First and last mask label of each hand."""


@dataclass(frozen=True)
class RhdAnnotations:
    """One hand per image: the left one if it shows strictly more key points, else the right one. SNAP order."""

    index: np.ndarray
    is_left: Bool[np.ndarray, " images"]
    keypoints_px: Float[np.ndarray, "images 21 2"]
    joints_cam_m: Float[np.ndarray, "images 21 3"]


def read_annotations(path: Path) -> RhdAnnotations:
    """Read the annotation pickle without running anything in it.

    Raises InputError when it is missing or damaged, holds anything but numbers, or lacks a key or joints.
    """
    annotations = load_pickle(path)
    if not isinstance(annotations, Mapping) or not annotations:
        raise InputError(
            f"{path}: holds {type(annotations).__name__}, but a dict from image index to labels was expected"
        )
    strange = [key for key, labels in annotations.items() if not (isinstance(key, int) and isinstance(labels, Mapping))]
    if strange:
        raise InputError(
            f"{path}: entry {strange[0]!r} is a {type(annotations[strange[0]]).__name__}, but an image index and a "
            "dict of its labels were expected"
        )
    index = np.array(sorted(annotations), dtype=np.int64)
    uv_vis = _stacked(path, annotations, "uv_vis", index)
    xyz = _stacked(path, annotations, "xyz", index)
    visible = uv_vis[..., 2].reshape(-1, 2, 21).sum(axis=2)
    is_left = visible[:, 0] > visible[:, 1]
    rows, hand = np.arange(len(index)), np.where(is_left, 0, 1)
    return RhdAnnotations(
        index=index,
        is_left=is_left,
        keypoints_px=uv_vis[..., :2].reshape(-1, 2, 21, 2)[rows, hand][:, SNAP_FROM_RHD],
        joints_cam_m=xyz.reshape(-1, 2, 21, 3)[rows, hand][:, SNAP_FROM_RHD],
    )


def _stacked(
    path: Path, annotations: Mapping[int, Mapping[str, np.ndarray]], key: str, index: np.ndarray
) -> np.ndarray:
    values = []
    for number in index.tolist():
        value = annotations[number].get(key)
        if not isinstance(value, np.ndarray) or value.shape != (42, 3) or value.dtype.kind not in "fiu":
            found = "nothing" if value is None else f"{type(value).__name__} of shape {np.shape(value)}"
            raise InputError(f"{path}: image {number} has {found} as {key!r}, but 42 x 3 numbers were expected")
        values.append(value.astype(np.float64))
    return np.stack(values)


class RhdHands:
    """The hands of one split of RHD in order of their image index; a share of the images, evenly spread, is masked."""

    channels = 3

    def __init__(self, settings: ImageSetSettings, split: RhdSplit = "training", *, masked_share: float = 0.0) -> None:
        self._masked_share = masked_share
        self._folder = Path(settings.root) / "RHD_published_v2" / split
        self._annotations = read_annotations(self._folder / f"anno_{split}.pickle")
        self.bad_fraction = settings.bad_fraction

    def __len__(self) -> int:
        return len(self._annotations.index)

    def hand(self, row: int) -> LabelledHand:
        """Read one hand; raises InputError when its image or mask cannot be used."""
        name = f"{int(self._annotations.index[row]):05d}.png"
        keypoints = self._annotations.keypoints_px[row]
        is_left = bool(self._annotations.is_left[row])
        mask = read_grey(self._folder / "mask" / name)
        mask_extent = _mask_extent(mask, LEFT_LABELS if is_left else RIGHT_LABELS)
        image, joints_m = read_rgb(self._folder / "color" / name), self._annotations.joints_cam_m[row]
        if int((row + 1) * self._masked_share) > int(row * self._masked_share):
            if mask.shape != image.shape[:2]:
                raise InputError(f"mask/{name} is {mask.shape}, but its image {image.shape[:2]}; fetch both again")
            image = np.where((mask > 0)[..., None], image, _GREY).astype(np.uint8)
        return LabelledHand.about_keypoints(image, keypoints, joints_m, is_left=is_left, least_extent_px=mask_extent)


def _mask_extent(mask: np.ndarray, labels: tuple[int, int]) -> float:
    """The longer distance of two pixels of a hand's mask along an axis; zero where the mask is empty."""
    *_, width, height = cv2.boundingRect(((mask >= labels[0]) & (mask <= labels[1])).astype(np.uint8))
    return float(max(width - 1, height - 1, 0))


prepare_samples = sample_preparation(
    lambda settings: RhdHands(settings, masked_share=settings.masked_share), RhdSettings
)
