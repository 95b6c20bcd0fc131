"""The object's first shape, a signed distance from masks alone: the visual hull without the hand.

A point of the object hardly ever projects onto background. Where hand and object hide each other, the one that a
point belongs to is in front in half of the views or more, when the grasp is seen from all around; and what lies inside
the posed hand is hand. The hull is only where training starts from. Masks of few views leave long cones before and
behind the object; they can be cut off where they exceed the SfM points, which lie on what was seen.
"""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor

from handloom.geometry.camera import project
from handloom.geometry.voxels import node_points
from handloom.reconstruction.compact.posed_hands import PosedHands
from handloom.reconstruction.observations import BACKGROUND, HAND, OBJECT, Observations
from handloom.reconstruction.scene_poses import ScenePoses
from handloom.runtime.errors import InputError

HULL_CELLS = 48
LARGEST_BACKGROUND_SHARE = 0.03
"""Frames that may show background where the object is: masks are wrong by a pixel or so, poses too."""
SMALLEST_OBJECT_SHARE = 0.5
"""Of the frames that show object or hand at one of its points, those that show the object; 0.3 lets the forearm in."""
SMOOTHING_CELLS = 0.7
"""Of the distance: about what a step between two cells is rough."""
_FEWEST_NODES = 30
"""Fewer are no object but chance."""
_FRAMES_OF_HANDS = 12
"""In so many frames, evenly spread, points are tried against the posed hand."""
_POINTS_AT_ONCE = 60_000
_DIRECTIONS, _WRONG_SHARE = 512, 0.02
"""In which the SfM points end, and which share of them may be wrong."""
_NEAREST = 1e-6


def object_hull(
    observations: Observations, poses: ScenePoses, hands: PosedHands
) -> Float[Tensor, "1 cells cells cells"]:
    """The visual hull's signed distance (metres) on the object's cube, the posed hand taken away.

    A frame whose mask has lost the object says nothing about its shape.
    """
    points = node_points(HULL_CELLS)
    shown = (observations.class_u8 == OBJECT).flatten(1).any(1)
    frames = len(observations.image_u8)
    inside_hand = torch.zeros(len(points))
    every = torch.arange(0, frames, max(1, frames // _FRAMES_OF_HANDS))
    with torch.no_grad():
        cam = poses.object_to_cam(points)
        seen_cam, class_u8 = cam[shown], observations.class_u8[shown]
        parts = seen_cam.split(_POINTS_AT_ONCE, dim=1)
        nodes = hull_nodes(torch.cat([label_counts(part, class_u8, observations.intrinsics) for part in parts]))
        chosen = nodes.nonzero()[:, 0]
        for frame in every.tolist():
            owner = torch.full((len(chosen),), frame)
            inside_hand[chosen] += hands.distance_m(cam[frame, chosen], owner) < 0
        nodes &= inside_hand < 0.5 * len(every)
        return hull_distance(nodes.view(HULL_CELLS, HULL_CELLS, HULL_CELLS), float(poses.object_radius_m))


def label_counts(
    points_cam_m: Float[Tensor, "frames points 3"],
    class_u8: UInt8[Tensor, "frames rows columns"],
    intrinsics: Float[Tensor, "3 3"],
) -> Float[Tensor, "points 3"]:
    """In how many frames each point projects onto background, object and hand; outside the image it does not count."""
    place = project(points_cam_m, intrinsics, _NEAREST).round().long()
    rows, columns = class_u8.shape[1:]
    column, row = place.unbind(-1)
    seen = (points_cam_m[..., 2] > 0) & (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    frame = torch.arange(len(class_u8))[:, None].expand_as(row)
    found = class_u8[frame, row.clamp(0, rows - 1), column.clamp(0, columns - 1)].long()
    return torch.stack([((found == label) & seen).float().sum(0) for label in (BACKGROUND, OBJECT, HAND)], -1)


def hull_nodes(counts: Float[Tensor, "points 3"]) -> Bool[Tensor, " points"]:
    """Points that the masks allow to be of the object."""
    background, thing, hand = counts.unbind(-1)
    allowed = background <= LARGEST_BACKGROUND_SHARE * (background + thing + hand).clamp_min(1.0)
    return allowed & (thing >= SMALLEST_OBJECT_SHARE * (thing + hand).clamp_min(1.0)) & (thing > 0)


def hull_distance(nodes: Bool[Tensor, "cells cells cells"], radius_m: float) -> Float[Tensor, "1 cells cells cells"]:
    """Signed distance to the hull's surface in metres, negative inside, a little smoothed.

    Raises InputError for a hull of a few points: masks and object poses do not fit each other.
    """
    inside = nodes.numpy()
    if int(inside.sum()) < _FEWEST_NODES:
        raise InputError(
            f"visual hull: only {int(inside.sum())} of {inside.size} points project onto the object in nearly all "
            "frames; the object's masks and its poses do not fit each other: look at the pictures of both stages"
        )
    outwards = distance_transform_edt(~inside) - 0.5
    inwards = distance_transform_edt(inside) - 0.5
    signed = np.where(inside, -inwards, outwards)
    smooth = gaussian_filter(signed, SMOOTHING_CELLS, mode="nearest") * (2 * radius_m / (len(inside) - 1))
    return torch.from_numpy(smooth.astype(np.float32))[None]


def within_points(
    hull: Float[Tensor, "1 cells cells cells"], poses: ScenePoses, points_unit: Float[Tensor, "points 3"], reach: float
) -> Float[Tensor, "1 cells cells cells"]:
    """The hull's signed distance, cut off where it exceeds the SfM points by `reach` of the object's cube."""
    near = near_points(node_points(HULL_CELLS), points_unit, reach).view(HULL_CELLS, HULL_CELLS, HULL_CELLS)
    return hull_distance((hull[0] < 0) & near, float(poses.object_radius_m.detach()))


def near_points(
    queries: Float[Tensor, "queries 3"], points: Float[Tensor, "points 3"], reach: float
) -> Bool[Tensor, " queries"]:
    """Queries that exceed the points in no direction n by more than `reach`.

    x . n <= q(points . n) + reach for 512 directions n; the quantile q leaves out 2 %. All in one unit.
    """
    number = torch.arange(_DIRECTIONS, dtype=points.dtype) + 0.5
    height = 1 - 2 * number / _DIRECTIONS
    turn = math.pi * (1 + math.sqrt(5)) * number
    flat = (1 - height * height).sqrt()
    directions = torch.stack([flat * turn.cos(), flat * turn.sin(), height])
    limit = torch.quantile(points @ directions, 1 - _WRONG_SHARE, dim=0) + reach
    return (queries @ directions <= limit).all(1)
