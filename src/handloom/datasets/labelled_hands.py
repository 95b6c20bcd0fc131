"""One labelled hand in its full image, as the readers of the training sets hand it over, and its crop for training.

Points in full images have pixel centres at whole numbers; points in crops are in [0, crop_px], pixel centres at halves.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from handloom.datasets.box_crops import LARGEST_SIDE_PX, cut_square
from handloom.geometry.bounds import box_fault
from handloom.hand.proportions import hand_fault, nearness_fault
from handloom.runtime.errors import InputError

FIELD_MARGIN = 1.5
"""A stored crop's side over the side of what the network sees of it: room to turn, shift and zoom."""
FIELD_OF_EXTENT = 2.0
"""Side of what the network sees over the extent of the key points, in data sets without boxes."""


@dataclass(frozen=True)
class LabelledHand:
    """A hand in its full image; nothing is mirrored yet."""

    image_u8: UInt8[np.ndarray, "height width"] | UInt8[np.ndarray, "height width 3"]
    centre_px: Float[np.ndarray, "2"]
    side_px: float
    """Side of the square around the centre that the network sees."""
    keypoints_px: Float[np.ndarray, "21 2"]
    joints_cam_m: Float[np.ndarray, "21 3"]
    joint_valid: Float[np.ndarray, "21"]
    """1 where the 2D position may be trained on."""
    is_left: bool

    @classmethod
    def about_keypoints(
        cls,
        image_u8: UInt8[np.ndarray, "height width 3"],
        keypoints_px: Float[np.ndarray, "21 2"],
        joints_cam_m: Float[np.ndarray, "21 3"],
        *,
        is_left: bool,
        least_extent_px: float = 0.0,
    ) -> "LabelledHand":
        """A hand without a box, all of whose joints are valid: the network sees twice the extent of its key points."""
        low, high = keypoints_px.min(axis=0), keypoints_px.max(axis=0)
        side_px = FIELD_OF_EXTENT * max(float((high - low).max()), least_extent_px)
        return cls(image_u8, np.trunc((low + high) / 2), side_px, keypoints_px, joints_cam_m, np.ones(21), is_left)


@runtime_checkable
class LabelledHands(Protocol):
    """A data set whose images are read one hand at a time."""

    channels: int
    """1 for grey images, 3 for RGB."""
    bad_fraction: float
    """Share of hands that may be unreadable before preparation stops."""

    def __len__(self) -> int: ...

    def hand(self, row: int) -> LabelledHand:
        """Read one hand; raises InputError when its image or labels cannot be used."""
        ...


class TrainingCrop(NamedTuple):
    """A right hand (or a mirrored left one) in a stored crop."""

    image_u8: UInt8[np.ndarray, "px px channels"]
    keypoints_px: Float[np.ndarray, "21 2"]
    joints_m: Float[np.ndarray, "21 3"]


def training_crop(hand: LabelledHand, crop_px: int) -> TrainingCrop:
    """Cut a square of `FIELD_MARGIN` times the hand's side, zero outside the image, and resample it to `crop_px`.

    Reductions average areas, so that nothing aliases. Left hands are mirrored in image, key points and joints.
    Raises InputError for labels that are not finite, joints of no hand, key points that are not in the picture, and a
    square that no image could hold.
    """
    for name in ("keypoints_px", "joints_cam_m", "centre_px", "side_px"):
        if not np.isfinite(getattr(hand, name)).all():
            raise InputError(f"{name} is not finite; expected numbers; correct the annotation or remove the image")
    if fault := hand_fault(hand.joints_cam_m) or nearness_fault(hand.joints_cam_m):
        raise InputError(f"joints_cam_m: {fault}; correct the annotation or remove the image")
    extent_px = np.concatenate([hand.keypoints_px.min(0), hand.keypoints_px.max(0)]).astype(np.float64)
    if fault := box_fault(extent_px, np.array(hand.image_u8.shape[1::-1], dtype=np.float64)):
        raise InputError(f"keypoints_px: the box around them {fault}; correct the annotation or remove the image")
    if not 0 < hand.side_px < LARGEST_SIDE_PX:
        raise InputError(
            f"the hand's square has a side of {hand.side_px:.0f} px; expected more than 0 and less than "
            f"{LARGEST_SIDE_PX}; correct the annotation or remove the image"
        )
    side = max(round(FIELD_MARGIN * hand.side_px), 2)
    corner = np.floor(hand.centre_px - side / 2).astype(np.int64)
    square = cut_square(hand.image_u8, corner, side)
    interpolation = cv2.INTER_AREA if side > crop_px else cv2.INTER_LINEAR
    image = cv2.resize(square, (crop_px, crop_px), interpolation=interpolation).reshape(crop_px, crop_px, -1)
    keypoints = (hand.keypoints_px + 0.5 - corner) * (crop_px / side)
    joints = hand.joints_cam_m
    if hand.is_left:
        image = image[:, ::-1]
        keypoints = np.stack([crop_px - keypoints[:, 0], keypoints[:, 1]], axis=1)
        joints = joints * np.array([-1.0, 1.0, 1.0])
    return TrainingCrop(np.ascontiguousarray(image), keypoints, joints)
