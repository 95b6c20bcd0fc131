"""Squares of frames as networks for meshes see them, one per frame, and the way back into the image."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, UInt8
from torch import Tensor

from handloom.estimators.mesh_hands import MeshHands
from handloom.hand.joints import JOINT_COUNT
from handloom.reconstruction.found_hands import FoundHands
from handloom.reconstruction.hand_squares import FIELD_OF_BOX, GREY, Blank, HandFrame, HandSquares, turned_crops


class UprightCrops(NamedTuple):
    """RGB squares, and the affine maps into them from the image, both with pixel centres at whole numbers."""

    image_u8: UInt8[Tensor, "frames px px 3"]
    crop_from_image: Float64[Tensor, "frames 2 3"]

    @property
    def mirrored_u8(self) -> UInt8[Tensor, "frames px px 3"]:
        """The squares of left hands as a network sees them that knows right ones only."""
        return self.image_u8.flip(2)


def upright_crops(
    frames: Sequence[HandFrame], squares: HandSquares, size_px: int, field_of_box: float, blank: Blank
) -> UprightCrops:
    """Squares whose side is `field_of_box` times that of the hand's box; outside of the image they are black.

    Where `blank` hides something, the outside is grey like it.
    """
    border = 0 if blank == "nothing" else GREY
    sides = squares.side_px * (field_of_box / FIELD_OF_BOX)
    straight, unzoomed = np.zeros(1), np.ones(1)
    views = [
        turned_crops(frame.picture(blank), centre, float(extent), size_px, straight, unzoomed, border)
        for frame, centre, extent in zip(frames, squares.centre_px, sides, strict=True)
    ]
    images, maps = (np.concatenate(parts) for parts in zip(*views, strict=True))
    return UprightCrops(torch.from_numpy(images), torch.from_numpy(maps))


def found_hands(hands: MeshHands, crops: UprightCrops) -> FoundHands:
    """Hands of the crops, their key points in the image; as such networks give no confidence, a seen hand has 1."""
    in_crop = crops.image_u8.shape[1] * hands.keypoints.double() - 0.5
    linear, shift = crops.crop_from_image[..., :2], crops.crop_from_image[:, None, :, 2]
    keypoints = (in_crop - shift) @ torch.linalg.inv(linear).mT
    confidence = hands.seen.double()[:, None].expand(-1, JOINT_COUNT)
    return FoundHands(hands.joints_m.double(), keypoints, confidence, hands.vertices_m.double())
