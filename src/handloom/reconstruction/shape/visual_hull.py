"""The object's hull from masks alone, without the hand and without the hand's pose.

A point of the object hardly ever projects onto background. What of that is hand, two rules tell:

* *labelled*: the hull of hand and object together; every frame labels the nodes that it sees first; a node is the
  object's when it lies nearer to those seen first as object than to those seen first as hand. Nodes that are seen first
  as both are empty and are carved away. It needs a hand that keeps its place on the object.
* *shared*: where hand and object hide each other, the one that a point belongs to is in front in half of the views or
  more, when the grasp is seen from all around.

A grip that changes shows in how much must be carved; then the second rule is taken. Lengths are in cells.
"""

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor
from torch.nn import functional

from handloom.geometry.voxels import node_points
from handloom.reconstruction.observations import BACKGROUND, HAND, OBJECT
from handloom.reconstruction.shape.cube_views import CubeViews
from handloom.runtime.errors import InputError

LARGEST_BACKGROUND_SHARE = 0.03
"""Frames that may show background where the object is: masks are wrong by a pixel or so, poses too."""
SMALLEST_OBJECT_SHARE = 0.5
"""Of the frames that show object or hand at one of its points, those that show the object; 0.3 lets the forearm in."""
MOST_CARVED_SHARE = 0.03
"""Of the hull of hand and object: from 0.2 to 1.3 % on four clips whose grip stays, 6.4 % on one whose grip changes."""
SMOOTHING_CELLS = 0.7
"""Of the distance: about what a step between two cells is rough."""
_FEWEST_NODES = 30
"""Fewer are no object but chance."""
_NODES_AT_ONCE = 2**22
"""Nodes in frames that are projected at a time."""
_LABELLED_EVERY = 2
"""Frames that label nodes are every second one."""
_ERODED_PX, _CELL_SPAN = 2, 1.3
"""Labels count so far from a mask's edge; squares of the depth buffer span so many of the grid's cells."""
_FIRST_CELLS = 1.5
"""So far behind the first node of its square a node is seen, too."""
_BOTH_SHARE, _BOTH_LEAST, _MOST_ROUNDS, _FEW = 0.25, 2, 60, 3
_OBJECT_NEARER = 1.5
"""A node may be so many times as far from the object's labels as from the hand's."""
_DIRECTIONS, _WRONG_SHARE = 512, 0.02
"""In which the SfM points end, and which share of them may be wrong."""

Nodes = Bool[Tensor, "cells cells cells"]
Rule = Literal["labelled", "shared"]


class Hull(NamedTuple):
    """The hull's signed distance, and how much had to be carved off because labels contradict each other."""

    distance: Float[Tensor, "cells cells cells"]
    carved_share: float
    rule: Rule


class Labels(NamedTuple):
    """Nodes of the hull of hand and object that are left, and those seen first, more often as the one or the other."""

    solid: Nodes
    of_object: Nodes
    of_hand: Nodes
    carved_share: float


def object_hull(views: CubeViews, points: Float[Tensor, "points 3"], reach: float | None) -> Hull:
    """The hull by the rule that fits; with `reach`, cut off where it exceeds the SfM points (in cells) by as much.

    Frames without any object say nothing. Raises InputError for a hull of a few nodes.
    """
    cells = views.cells
    counts = label_counts(views)
    labels = labelled(views, counts)
    rule: Rule = "labelled" if labels.carved_share <= MOST_CARVED_SHARE else "shared"
    nodes = nearer_to_object(labels) if rule == "labelled" else shared_nodes(counts).view(cells, cells, cells)
    if reach is not None:
        half = (cells - 1) / 2
        near = near_points(node_points(cells) * half, points.cpu(), reach)
        nodes = nodes & near.view(nodes.shape).to(nodes.device)
    return Hull(hull_distance(nodes).to(views.grey.device), labels.carved_share, rule)


def label_counts(views: CubeViews) -> Float[Tensor, "points 3"]:
    """In how many frames with an object each node lies on background, object and hand; outside the image on none."""
    frames = (views.kind == OBJECT).flatten(1).any(1).nonzero()[:, 0]
    nodes = node_points(views.cells).to(views.grey.device) * ((views.cells - 1) / 2)
    return torch.cat([counts(views, frames, part) for part in nodes.split(_NODES_AT_ONCE // max(1, len(frames)))])


def counts(
    views: CubeViews, frames: Int[Tensor, " frames"], points: Float[Tensor, "points 3"]
) -> Float[Tensor, "points 3"]:
    """The same for points of the cube in the given frames."""
    pixel, shown = views.pixels(views.cams(points, frames))
    kind = views.kind[frames[:, None], pixel[..., 1], pixel[..., 0]]
    return torch.stack([((kind == label) & shown).sum(0).float() for label in (BACKGROUND, OBJECT, HAND)], -1)


def shared_nodes(counts: Float[Tensor, "points 3"]) -> Bool[Tensor, " points"]:
    """Points that the masks allow to be of the object."""
    _, thing, hand = counts.unbind(-1)
    return _never_background(counts) & (thing >= SMALLEST_OBJECT_SHARE * (thing + hand).clamp_min(1.0)) & (thing > 0)


def _never_background(counts: Float[Tensor, "points 3"]) -> Bool[Tensor, " points"]:
    background = counts[:, BACKGROUND]
    return (background <= LARGEST_BACKGROUND_SHARE * counts.sum(-1).clamp_min(1.0)) & (background < counts.sum(-1))


def labelled(views: CubeViews, counts: Float[Tensor, "points 3"]) -> Labels:
    """The hull of hand and object, labelled by what frames see first, carved until no label contradicts another."""
    cells, device = views.cells, views.grey.device
    chosen = _never_background(counts).nonzero()[:, 0]
    points = node_points(cells).to(device)[chosen] * ((cells - 1) / 2)
    frames = torch.arange(0, len(views.kind), _LABELLED_EVERY, device=device)
    cam = views.cams(points, frames)
    pixel, shown = views.pixels(cam)
    depth = cam[..., 2]
    label = _eroded(views.kind[frames])[torch.arange(len(frames), device=device)[:, None], pixel[..., 1], pixel[..., 0]]
    label = label.masked_fill(~shown, BACKGROUND)
    span = max(1, math.ceil(_CELL_SPAN * float(views.intrinsics[0, 0]) / float(views.translation[:, 2].median())))
    across, down = (-(-side // span) for side in views.kind.shape[:0:-1])
    square = torch.arange(len(frames), device=device)[:, None] * (across * down)
    square = square + pixel[..., 1] // span * across + pixel[..., 0] // span
    square = square.masked_fill(~shown, len(frames) * across * down)
    alive = torch.ones(len(chosen), dtype=torch.bool, device=device)
    for _ in range(_MOST_ROUNDS):
        left = alive.nonzero()[:, 0]
        of, far = square[:, left], depth[:, left]
        nearest = far.new_full((len(frames) * across * down + 1,), torch.inf)
        nearest.scatter_reduce_(0, of.flatten(), far.flatten(), "amin")
        first = far <= nearest[of] + _FIRST_CELLS
        votes = torch.stack([((label[:, left] == kind) & first).sum(0) for kind in (OBJECT, HAND)])
        lesser = votes.amin(0)
        both = (lesser >= _BOTH_LEAST) & (lesser >= _BOTH_SHARE * votes.sum(0))
        if int(both.sum()) <= _FEW:
            break
        alive[left[both]] = False

    def grid(marked: Tensor) -> Nodes:
        flat = torch.zeros(cells**3, dtype=torch.bool, device=device)
        flat[chosen[left[marked]]] = True
        return flat.view(cells, cells, cells)

    carved = 1 - len(left) / max(1, len(chosen))
    return Labels(grid(votes[0] >= 0), grid(votes[0] > votes[1]), grid(votes[1] > votes[0]), carved)


def _eroded(kind: Tensor) -> Tensor:
    """Classes whose masks have lost their rim, which becomes background."""
    left = torch.zeros_like(kind)
    for label in (OBJECT, HAND):
        rim = functional.max_pool2d((kind != label).float()[:, None], 2 * _ERODED_PX + 1, 1, _ERODED_PX)[:, 0] > 0
        left[~rim] = label
    return left


def nearer_to_object(labels: Labels) -> Nodes:
    """Nodes that are at most 1.5 times as far from nodes labelled object as from those labelled hand."""
    solid, thing, hand = (nodes.cpu().numpy() for nodes in labels[:3])
    if not hand.any() or not thing.any():
        return labels.solid
    to_object, to_hand = (distance_transform_edt(~marked) for marked in (thing, hand))
    return torch.from_numpy(solid & (to_object <= _OBJECT_NEARER * to_hand))


def hull_distance(nodes: Nodes) -> Float[Tensor, "cells cells cells"]:
    """Signed distance to the hull's surface in cells, negative inside, a little smoothed.

    Raises InputError for a hull of a few points: masks and object poses do not fit each other.
    """
    inside = nodes.cpu().numpy()
    if int(inside.sum()) < _FEWEST_NODES:
        raise InputError(
            f"visual hull: only {int(inside.sum())} of {inside.size} points project onto the object in nearly all "
            "frames; the object's masks and its poses do not fit each other: look at the pictures of both stages"
        )
    signed = np.where(inside, 0.5 - distance_transform_edt(inside), distance_transform_edt(~inside) - 0.5)
    return torch.from_numpy(gaussian_filter(signed, SMOOTHING_CELLS, mode="nearest").astype(np.float32))


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
