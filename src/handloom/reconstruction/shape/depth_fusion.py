"""Depth maps and a hull fused into one signed distance, smooth where neither says anything.

Per node a mean of the projective distances that frames measured (Curless and Levoy, SIGGRAPH 1996), how often it was
seen empty, and the hull as a weak prior; then the screened thin plate

    min_x  sum_i w_i (x_i - b_i)^2 + lambda |L x|^2

with the grid's Laplacian L, solved by conjugate gradients. Lengths are in cells.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from handloom.geometry.voxels import node_points
from handloom.reconstruction.shape.cube_views import CubeViews
from handloom.reconstruction.shape.stereo import DepthMap, at_points, placed_in

Grid = Float[Tensor, "cells cells cells"]

TRUNCATION, BEHIND = 2.0, 1.2
"""A depth says something of nodes so far before it and behind it; those farther before it are empty."""
HULL_WEIGHT, INSIDE_SHARE, SEEN_EMPTY_SHARE = 0.05, 0.1, 0.02
"""Of a hull's node outside; inside, where only stereo can tell, a share of it, and less where a frame looks through."""
STEREO_WEIGHT = 0.2
"""Of a depth that correlates fully and is seen straight on."""
STIFFNESS = 0.1
_STEPS, _TOLERANCE = 250, 1e-3


@dataclass(frozen=True)
class Evidence:
    """Sums over frames at the grid's nodes."""

    distance: Grid
    """Weighted distances to the depths near a node."""
    weight: Grid
    empty: Grid
    """Weights of the depths far behind a node."""

    def __add__(self, other: "Evidence") -> "Evidence":
        return Evidence(self.distance + other.distance, self.weight + other.weight, self.empty + other.empty)


def evidence_of(views: CubeViews, maps: list[DepthMap]) -> Evidence:
    """What confirmed depths say of the nodes; the pictures of `views` are those of the maps."""
    half = (views.cells - 1) / 2
    points = node_points(views.cells).to(views.grey.device) * half
    sums = points.new_zeros(3, len(points))
    for found in maps:
        depth, own = at_points(views, found, points)
        cosine = _facing(views, found)
        pixel, _ = views.pixels(views.cams(points, slice(found.frame, found.frame + 1))[0])
        _, place = placed_in(found.box, pixel)
        facing = cosine[place[:, 1], place[:, 0]]
        weight = facing * found.correlation[place[:, 1], place[:, 0]]
        distance = (depth - own) * facing
        near = (distance > -BEHIND) & (distance < TRUNCATION)
        sums[0] += torch.where(near, weight * distance, 0.0)
        sums[1] += torch.where(near, weight, 0.0)
        sums[2] += torch.where(distance >= TRUNCATION, weight, 0.0)
    return Evidence(*sums.view(3, views.cells, views.cells, views.cells))


def _facing(views: CubeViews, found: DepthMap) -> Float[Tensor, "rows columns"]:
    """Cosine between ray and surface normal, from the depths' slopes; steep where a neighbour is unknown."""
    padded = functional.pad(found.depth[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    down = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2
    across = (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
    slope = torch.hypot(down, across) * views.intrinsics[0, 0] / found.depth
    return (1 + torch.nan_to_num(slope, nan=3.0).square()).rsqrt()


def fused(hull: Grid, evidence: Evidence | None) -> Grid:
    """The thin plate through a hull's distances and the evidence."""
    weight = torch.full_like(hull, HULL_WEIGHT)
    if evidence is not None:
        inside = torch.where(evidence.empty > 0, SEEN_EMPTY_SHARE, INSIDE_SHARE)
        weight = torch.where(hull > 0, HULL_WEIGHT, HULL_WEIGHT * inside)
    target = weight * hull
    if evidence is not None:
        weight = weight + STEREO_WEIGHT * (evidence.weight + evidence.empty)
        target = target + STEREO_WEIGHT * (evidence.distance + evidence.empty * hull.clamp_min(TRUNCATION))
    return solved(lambda x: weight * x + STIFFNESS * laplacian(laplacian(x)), target, weight + 42 * STIFFNESS, hull)


def laplacian(values: Grid) -> Grid:
    """The sum over the six neighbours minus the value; symmetric: beyond the border nothing is counted."""
    total = torch.zeros_like(values)
    for axis in range(3):
        length = values.shape[axis] - 1
        slope = values.diff(dim=axis)
        total.narrow(axis, 0, length).add_(slope)
        total.narrow(axis, 1, length).sub_(slope)
    return total


def solved(apply: Callable[[Tensor], Tensor], target: Tensor, diagonal: Tensor, start: Tensor) -> Tensor:
    """A x = b by conjugate gradients, preconditioned by A's diagonal, from a start."""
    x, rest = start.clone(), target - apply(start)
    scaled = rest / diagonal
    direction, power = scaled, (rest * scaled).sum()
    stop = _TOLERANCE**2 * (target * target / diagonal).sum()
    for _ in range(_STEPS):
        if bool(power <= stop):
            break
        image = apply(direction)
        step = power / (direction * image).sum()
        x, rest = x + step * direction, rest - step * image
        scaled = rest / diagonal
        before, power = power, (rest * scaled).sum()
        direction = scaled + power / before * direction
    return x
