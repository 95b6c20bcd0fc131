"""Where the object can be, from masks alone: the visual hull without the hand, as a first signed distance.

A point of the object hardly ever projects onto background. Where hand and object hide each other, the one that a
point belongs to is in front in half of the views or more, when the grasp is seen from all around; and what lies inside
the posed hand is hand. The hull is only where training starts from.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor

from handloom.reconstruction.compact.classes import BACKGROUND, HAND, OBJECT
from handloom.runtime.errors import InputError

LARGEST_BACKGROUND_SHARE = 0.03
"""Frames that may show background where the object is: masks are wrong by a pixel or so, poses too."""
SMALLEST_OBJECT_SHARE = 0.5
"""Of the frames that show object or hand at one of its points, those that show the object; 0.3 lets the forearm in."""
_FEWEST_NODES = 30


def label_counts(
    points_cam_m: Float[Tensor, "frames points 3"],
    class_u8: UInt8[Tensor, "frames rows columns"],
    intrinsics: Float[Tensor, "3 3"],
) -> Float[Tensor, "points 3"]:
    """In how many frames each point projects onto background, object and hand; outside the image it does not count."""
    pixels = points_cam_m @ intrinsics.T
    place = (pixels[..., :2] / pixels[..., 2:].clamp_min(1e-6)).round().long()
    rows, columns = class_u8.shape[1:]
    column, row = place.unbind(-1)
    seen = (pixels[..., 2] > 0) & (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    frame = torch.arange(len(class_u8))[:, None].expand_as(row)
    found = class_u8[frame, row.clamp(0, rows - 1), column.clamp(0, columns - 1)].long()
    return torch.stack([((found == label) & seen).float().sum(0) for label in (BACKGROUND, OBJECT, HAND)], -1)


def hull_nodes(counts: Float[Tensor, "points 3"]) -> Bool[Tensor, " points"]:
    """Points that the masks allow to be of the object."""
    background, thing, hand = counts.unbind(-1)
    allowed = background <= LARGEST_BACKGROUND_SHARE * (background + thing + hand).clamp_min(1.0)
    return allowed & (thing >= SMALLEST_OBJECT_SHARE * (thing + hand).clamp_min(1.0)) & (thing > 0)


def hull_distance(
    inside: Bool[np.ndarray, "cells cells cells"], spacing: float, *, smoothing_cells: float = 0.7
) -> Float[np.ndarray, "cells cells cells"]:
    """Signed distance to the hull's surface, negative inside, a little smoothed.

    Raises InputError for a hull of a few points: masks and object poses do not fit each other.
    """
    if int(inside.sum()) < _FEWEST_NODES:
        raise InputError(
            f"visual hull: only {int(inside.sum())} of {inside.size} points project onto the object in nearly all "
            "frames; the object's masks and its poses do not fit each other: look at the pictures of both stages"
        )
    outwards = distance_transform_edt(~inside) - 0.5
    inwards = distance_transform_edt(inside) - 0.5
    signed = np.where(inside, -inwards, outwards)
    return gaussian_filter(signed, smoothing_cells, mode="nearest") * spacing
