"""Soft silhouettes of posed meshes in plain PyTorch: what the mask terms of the pose refinement compare.

A silhouette's derivative lives on its outline alone: inside and outside a pixel does not change when the mesh moves a
little. So an exact hard silhouette is rasterised without derivatives, its outline found (edges between a face that
looks at the camera and one that does not, lying on the border of the raster), and only pixels in a band about it get

    m(p) = sigmoid(n . (c - p) / softness),      c = (1 - w) a + w b

with c the nearest point of the outline, on the edge from vertex a to b, and n the outward normal there; n and w are
constants, a and b carry the derivative. That is the signed distance to first order, so a value costs a dozen
operations a band pixel, and an outline can be used for several steps of an optimiser while the mesh moves less than
the band is wide. All frames of a batch are handled at once. Pixels have integer coordinates at their centres.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

NEAR_M = 1e-3
"""Vertices nearer to the camera than this, or behind it, are projected as if they were there; their faces not drawn."""
BAND_PX = 4
"""How far from an outline pixels are soft, and how far it may move before it has to be found anew."""
_FRAMES_APART_PX = 1.0e5
"""Third coordinate between two frames in the search for nearest outlines: more than any image is wide."""
_SAMPLE_STEP_PX = 1.0
_CANDIDATES = 3
"""Edges with samples near a pixel of which the nearest one is taken; samples a pixel apart rarely deceive more."""
_CANDIDATES_AT_ONCE = 8_000_000
"""Most pixels of triangles' boxes in memory at a time."""
_FARTHEST_PX = 1.0e4
"""Coordinates are cut here: what lies so far outside does not show, and boxes stay countable."""


VerticesPx = Float[Tensor, "frames vertices 2"]
Along = Float[Tensor, " band"]
"""Where on its edge each band pixel's nearest point lies, 0..1."""
BandPx = Float[Tensor, "band 2"]


class MeshEdges(NamedTuple):
    """The edges of a mesh, each with the faces on its two sides; the second is -1 at a border."""

    vertices: Int[Tensor, "edges 2"]
    faces: Int[Tensor, "edges 2"]


def mesh_edges(faces: Int[Tensor, "faces 3"]) -> MeshEdges:
    """Every edge once. An edge of more than two faces keeps the first two."""
    directed = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    owner = torch.arange(len(faces), device=faces.device).repeat(3)
    edges, index = torch.unique(directed.sort(1).values, dim=0, return_inverse=True)
    order = torch.argsort(index, stable=True)
    counts = torch.bincount(index, minlength=len(edges))
    first = counts.cumsum(0) - counts
    sides = torch.stack([owner[order[first]], torch.full_like(first, -1)], dim=1)
    paired = counts > 1
    sides[paired, 1] = owner[order[first[paired] + 1]]
    return MeshEdges(edges, sides)


@dataclass(frozen=True)
class Outlines:
    """Hard silhouettes of a batch, and for every pixel near an outline the point of the outline that it belongs to."""

    coverage: Bool[Tensor, "frames height width"]
    pixel: Int[Tensor, " band"]
    """Row of each band pixel in the flattened batch of images."""
    position_px: Float[Tensor, "band 2"]
    corners: Int[Tensor, " corners"]
    """The vertices of all outlines, as rows of the flattened batch of meshes."""
    ends: Int[Tensor, "band 2"]
    """The corners at both ends of each band pixel's edge."""
    along: Float[Tensor, " band"]
    outward: Float[Tensor, "band 2"]
    drawn_px: Float[Tensor, "corners 2"]
    """Where the corners were."""

    def moved_px(self, vertices_px: VerticesPx) -> float:
        """How far the fastest outline vertex has moved since; find new outlines before this exceeds `BAND_PX`."""
        shift = self.corners_px(vertices_px.detach()) - self.drawn_px
        return float(torch.linalg.vector_norm(shift, dim=-1).max()) if len(shift) else 0.0

    def corners_px(self, vertices_px: VerticesPx) -> Float[Tensor, "corners 2"]:
        """Where the corners are now."""
        # By rows of one table: the derivative of indexing by two tensors takes three times as long.
        return vertices_px.flatten(0, 1).index_select(0, self.corners)


def find_outlines(
    vertices_px: VerticesPx,
    faces: Int[Tensor, "faces 3"],
    edges: MeshEdges,
    height_px: int,
    width_px: int,
    in_front: Bool[Tensor, "frames vertices"] | None = None,
    band_px: int = BAND_PX,
) -> Outlines:
    """The outlines of projected meshes; no derivatives. Faces with a vertex not `in_front` are not drawn."""
    drawn = vertices_px.detach()
    visible = torch.ones(len(drawn), len(faces), dtype=torch.bool, device=drawn.device)
    if in_front is not None:
        visible = in_front[:, faces].all(-1)
    coverage = rasterise(drawn, faces, visible, height_px, width_px)
    frame, edge = _outline_edges(drawn, faces, edges, visible, coverage)
    pixel = _band(coverage, band_px).flatten().nonzero()[:, 0]
    of_frame = pixel // (height_px * width_px)
    row, column = (pixel % (height_px * width_px)) // width_px, pixel % width_px
    position = torch.stack([column, row], dim=1).to(drawn)
    if not len(frame) or not len(pixel):
        nothing = pixel[:0]
        none_px = drawn.new_zeros(0, 2)
        ends = nothing[:, None].expand(-1, 2)
        return Outlines(coverage, nothing, none_px, nothing, ends, drawn.new_zeros(0), none_px, none_px)
    chosen, known = _nearest_edge(drawn, edges, frame, edge, position, of_frame)
    pixel, position, of_frame, ends = pixel[known], position[known], of_frame[known], edges.vertices[chosen[known]]
    along, outward = _foot(drawn, of_frame, ends, position, coverage.flatten()[pixel])
    corners, place = torch.unique(of_frame[:, None] * drawn.shape[1] + ends, return_inverse=True)
    at_corners = drawn.flatten(0, 1)[corners]
    return Outlines(coverage, pixel, position, corners, place, along, outward, at_corners)


def soft_silhouettes(
    vertices_px: VerticesPx, outlines: Outlines, softness_px: float = 1.0
) -> Float[Tensor, "frames height width"]:
    """Soft masks in 0..1, differentiable in the vertices; the step at an outline is about 4 `softness_px` wide."""
    corners_px = outlines.corners_px(vertices_px)
    a, b = (corners_px.index_select(0, end) for end in outlines.ends.unbind(1))
    foot = a + outlines.along[:, None] * (b - a)
    inside_px = ((foot - outlines.position_px) * outlines.outward).sum(1)
    masks = outlines.coverage.to(vertices_px.dtype).flatten()
    return masks.index_put((outlines.pixel,), torch.sigmoid(inside_px / softness_px)).view(outlines.coverage.shape)


def rasterise(
    vertices_px: VerticesPx,
    faces: Int[Tensor, "faces 3"],
    visible: Bool[Tensor, "frames faces"],
    height_px: int,
    width_px: int,
) -> Bool[Tensor, "frames height width"]:
    """The pixels whose centres lie in a triangle: every triangle is tried at the pixels of its bounding box."""
    limit = vertices_px.new_tensor([width_px - 1, height_px - 1])
    corners = vertices_px.nan_to_num(_FARTHEST_PX).clamp(-_FARTHEST_PX, _FARTHEST_PX)[:, faces]
    low = corners.amin(2).ceil().clamp(min=0)
    high = torch.minimum(corners.amax(2).floor(), limit)
    extent = (high - low + 1).clamp(min=0).long()
    counts = extent.prod(-1) * visible
    frame, face = counts.nonzero().unbind(1)
    covered = torch.zeros(len(vertices_px) * height_px * width_px, dtype=torch.bool, device=vertices_px.device)
    ends = counts[frame, face].cumsum(0)
    # In chunks, so that a large mesh in many frames does not fill the memory.
    firsts = torch.searchsorted(ends, torch.arange(0, int(ends[-1]) if len(ends) else 0, _CANDIDATES_AT_ONCE).to(ends))
    bounds = [*firsts.tolist(), len(frame)]
    for start, stop in pairwise(bounds):
        f, t = frame[start:stop], face[start:stop]
        count, width, corner_low = counts[f, t], extent[f, t, 0], low[f, t]
        place = torch.arange(int(count.sum()), device=count.device)
        place = place - (count.cumsum(0) - count).repeat_interleave(count)
        width_each = width.repeat_interleave(count)
        column = corner_low[:, 0].repeat_interleave(count) + place % width_each
        row = corner_low[:, 1].repeat_interleave(count) + torch.div(place, width_each, rounding_mode="floor")
        inside = _inside(corners[f, t], count, column, row)
        pixel = f.repeat_interleave(count) * (height_px * width_px) + row.long() * width_px + column.long()
        covered[pixel[inside]] = True
    return covered.view(len(vertices_px), height_px, width_px)


def _inside(corners: Tensor, count: Tensor, column: Tensor, row: Tensor) -> Tensor:
    """Whether pixels lie on the same side of all three edges; borders count, either orientation does."""
    least = torch.full_like(column, torch.inf)
    most = torch.full_like(column, -torch.inf)
    for corner in range(3):
        x, y = corners[:, corner].unbind(1)
        next_x, next_y = corners[:, (corner + 1) % 3].unbind(1)
        slope_x, slope_y = next_x - x, next_y - y
        offset = slope_y * x - slope_x * y
        side = slope_x.repeat_interleave(count) * row - slope_y.repeat_interleave(count) * column
        side = side + offset.repeat_interleave(count)
        least, most = torch.minimum(least, side), torch.maximum(most, side)
    return (least >= 0) | (most <= 0)


def _outline_edges(
    vertices_px: Tensor, faces: Tensor, edges: MeshEdges, visible: Tensor, coverage: Tensor
) -> tuple[Tensor, Tensor]:
    """Frame and edge of contour edges that lie on the border of the raster, within a pixel."""
    a, b, c = vertices_px[:, faces].unbind(2)
    towards = ((b - a)[..., 0] * (c - a)[..., 1] - (b - a)[..., 1] * (c - a)[..., 0]) > 0
    first, second = edges.faces.unbind(1)
    contour = (towards[:, first] != towards[:, second]) | (second < 0)
    contour &= visible[:, first] & (visible[:, second] | (second < 0))
    frame, edge = contour.nonzero().unbind(1)
    ends = vertices_px[frame[:, None], edges.vertices[edge]]
    height, width = coverage.shape[1:]
    border = _band(coverage, 2)
    kept = torch.zeros(len(frame), dtype=torch.bool, device=frame.device)
    for share in (0.1, 0.5, 0.9):  # a long edge may be hidden in part
        column, row = ((1 - share) * ends[:, 0] + share * ends[:, 1]).round().long().unbind(1)
        seen = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        kept |= seen & border[frame, row.clamp(0, height - 1), column.clamp(0, width - 1)]
    return frame[kept], edge[kept]


def _band(coverage: Bool[Tensor, "frames height width"], radius_px: int) -> Bool[Tensor, "frames height width"]:
    """Pixels within `radius_px` (largest coordinate) of the border between covered and not; not the image's border."""
    return _dilated(coverage, radius_px) & _dilated(~coverage, radius_px)


def _dilated(mask: Tensor, radius_px: int) -> Tensor:
    """Pixels with a set one within `radius_px` along both axes; much faster than PyTorch's pooling."""
    for axis in (1, 2):
        size, grown = mask.shape[axis], mask.clone()
        for step in range(1, min(radius_px, size - 1) + 1):
            grown.narrow(axis, step, size - step).logical_or_(mask.narrow(axis, 0, size - step))
            grown.narrow(axis, 0, size - step).logical_or_(mask.narrow(axis, step, size - step))
        mask = grown
    return mask


def _nearest_edge(
    vertices_px: Tensor, edges: MeshEdges, frame: Tensor, edge: Tensor, position: Tensor, of_frame: Tensor
) -> tuple[Tensor, Tensor]:
    """The nearest outline edge of every band pixel, by samples along the edges, and whether its frame has any."""
    ends = vertices_px[frame[:, None], edges.vertices[edge]]
    counts = (torch.linalg.vector_norm(ends[:, 1] - ends[:, 0], dim=1) / _SAMPLE_STEP_PX).ceil().long() + 1
    counts = counts.clamp(max=4096)
    owner = torch.arange(len(edge), device=edge.device).repeat_interleave(counts)
    place = torch.arange(len(owner), device=edge.device) - (counts.cumsum(0) - counts)[owner]
    share = (place / (counts[owner] - 1).clamp(min=1))[:, None]
    samples = (1 - share) * ends[owner, 0] + share * ends[owner, 1]
    tree = cKDTree(_with_frame(samples, frame[owner]))
    count = min(_CANDIDATES, len(owner))
    _, nearest = tree.query(_with_frame(position, of_frame), k=range(1, count + 1))
    candidates = edge[owner[torch.from_numpy(nearest).to(owner.device)]]
    known = frame[owner[torch.from_numpy(nearest[:, 0]).to(owner.device)]] == of_frame
    # Of the edges with the nearest samples, the nearest one.
    away = [_from_edge(vertices_px, of_frame, edges.vertices[each], position)[1] for each in candidates.unbind(1)]
    distance = torch.stack([each.square().sum(1) for each in away], dim=1)
    return candidates.gather(1, distance.argmin(1, keepdim=True))[:, 0], known


def _from_edge(vertices_px: Tensor, frame: Tensor, ends: Tensor, position: Tensor) -> tuple[Along, BandPx, BandPx]:
    """Where on its edge each pixel's nearest point lies, the way from there to the pixel, and the edge."""
    a, b = vertices_px[frame[:, None], ends].unbind(1)
    edge = b - a
    along = ((position - a) * edge).sum(1) / edge.square().sum(1).clamp(min=1e-12)
    along = along.clamp(0, 1)
    return along, position - (a + along[:, None] * edge), edge


def _with_frame(points: Tensor, frame: Tensor) -> np.ndarray:
    return np.column_stack([points.double().cpu().numpy(), frame.cpu().numpy() * _FRAMES_APART_PX])


def _foot(vertices_px: Tensor, frame: Tensor, ends: Tensor, position: Tensor, covered: Tensor) -> tuple[Along, BandPx]:
    """Where on its edge each pixel's nearest point lies, and the outward direction there."""
    along, away, edge = _from_edge(vertices_px, frame, ends, position)
    distance = torch.linalg.vector_norm(away, dim=1, keepdim=True)
    outward = torch.where(covered[:, None], -away, away) / distance.clamp(min=1e-6)
    # On the outline itself the direction is that across the edge, either way: the value is 1/2.
    across = torch.nn.functional.normalize(torch.stack([edge[:, 1], -edge[:, 0]], dim=1), dim=1)
    return along, torch.where(distance < 1e-3, across, outward)
