"""Signed distance from points to a closed triangle mesh, exact near it, in double precision on the CPU."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor

from handloom.geometry.surfaces import require_faces

_FIRST_CANDIDATES = 32
"""Faces tried for each point at first; nearly always certain at once."""
_MOST_PIECES, _TRIANGLES_AT_ONCE = 500_000, 1_000_000
"""Bounds on memory."""
_MOST_CELLS = 64
"""Of the grid of sides, along the mesh's longest side."""
_VERTICES, _EDGES, _FACE = (0, 1, 2), (3, 4, 5), 6
"""What a closest point lies on: a corner, an edge (after corner 0, 1 or 2), or the face."""


class _Sides(NamedTuple):
    """The side of the mesh (1 outside, -1 inside, 0 too close to tell) at the nodes of a grid around it."""

    side: np.ndarray
    low: np.ndarray
    spacing: float

    def at(self, points: np.ndarray) -> np.ndarray:
        """The side at the nearest node, outside beyond the grid."""
        node = np.rint((points - self.low) / self.spacing).astype(int)
        within = ((node >= 0) & (node < self.side.shape)).all(1)
        sides = np.ones(len(points), int)
        sides[within] = self.side[tuple(node[within].T)]
        return sides


class MeshDistance:
    """A closed mesh whose faces look outwards, ready for distance queries.

    The closest point comes from the faces whose centres are nearest, as many as it takes to be certain; large faces
    count as several pieces, so few are needed. The sign is that of the angle-weighted pseudo-normal at the closest
    point (Baerentzen and Aanaes, IEEE TVCG 11, 2005), which is right at edges and corners too. Raises InputError for a
    mesh without faces or with vertices that are not finite.
    """

    def __init__(self, vertices: Float[Tensor, "vertex 3"], faces: Int[Tensor, "face 3"]) -> None:
        require_faces(vertices, faces)
        corners = vertices.detach().double().cpu().numpy()[faces.cpu().numpy()]
        self._corners = corners
        self._normals = _pseudo_normals(corners, faces.cpu().numpy())
        self._low, self._high = corners.min((0, 1)), corners.max((0, 1))
        centres, self._face_of_piece, self._piece_radius = _pieces(corners)
        self._tree = cKDTree(centres)
        self._sides: dict[float, _Sides] = {}

    def signed(self, points: Float[Tensor, "*batch 3"], reach: float | None = None) -> Float[Tensor, "*batch"]:
        """Distance to the mesh, negative inside, in the mesh's unit; nothing is differentiated.

        With `reach`, a point farther than that gets the right sign and some distance above it, at much less cost.
        """
        flat = points.detach().double().cpu().numpy().reshape(-1, 3)
        if reach is None:
            signed = self._exact(flat)
        else:
            signed, near = self._beyond(flat, reach)
            signed[near] = self._exact(flat[near])
        return torch.from_numpy(signed).to(points).reshape(points.shape[:-1])

    def farther_than(self, points: Float[Tensor, "*batch 3"], distance: float) -> Bool[Tensor, "*batch"]:
        """Whether signed distances exceed a positive number; points far from the mesh's box cost nothing."""
        flat = points.detach().double().cpu().numpy().reshape(-1, 3)
        far = np.ones(len(flat), bool)
        box = np.flatnonzero(((flat > self._low - distance) & (flat < self._high + distance)).all(1))
        # A piece's centre is a point of the mesh, so one within reach decides.
        on_surface = self._tree.query(flat[box], distance_upper_bound=distance)[0] <= distance
        far[box[on_surface]] = False
        rest = box[~on_surface]
        signed, near = self._beyond(flat[rest], distance)
        signed[near] = self._exact(flat[rest[near]])
        far[rest] = signed > distance
        return torch.from_numpy(far).to(points.device).reshape(points.shape[:-1])

    def _beyond(self, points: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
        """Signed lower bounds of points certainly farther than `reach`, and the rows of the others."""
        if reach not in self._sides:
            self._sides[reach] = self._sides_around(reach)
        sides = self._sides[reach]
        bound = self._tree.query(points)[0] - self._piece_radius
        side = sides.at(points)
        # The nearest node is at most half a cell's diagonal away, so no surface lies between.
        far = (side != 0) & (bound > max(reach, sides.spacing * 3**0.5 / 2))
        return side * bound, np.flatnonzero(~far)

    def _sides_around(self, reach: float) -> _Sides:
        spacing = max(reach / 3, float((self._high - self._low).max()) / _MOST_CELLS)
        low = self._low - 2 * spacing
        counts = np.ceil((self._high - low) / spacing).astype(int) + 3
        nodes = low + spacing * np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), axis=-1)
        distance = self._tree.query(nodes.reshape(-1, 3))[0].reshape(counts) - self._piece_radius
        # Neighbours a spacing apart are on one side when both are farther than that from the surface.
        region, count = ndimage.label(distance > spacing)
        _, first = np.unique(region, return_index=True)
        representative = nodes.reshape(-1, 3)[first[-count:]] if count else np.zeros((0, 3))
        side = np.concatenate([[0], np.sign(self._exact(representative)).astype(int)])[region]
        return _Sides(np.where(distance > spacing, side, 0), low, spacing)

    def _exact(self, points: np.ndarray) -> np.ndarray:
        signed = np.empty(len(points))
        open_rows, count = np.arange(len(points)), min(_FIRST_CANDIDATES, self._tree.n)
        while len(open_rows):
            parts = np.array_split(open_rows, 1 + len(open_rows) * count // _TRIANGLES_AT_ONCE)
            found = [self._among(points[part], count) for part in parts]
            signed[open_rows] = np.concatenate([values for values, _ in found])
            certain = np.concatenate([sure for _, sure in found])
            open_rows, count = open_rows[~certain], min(4 * count, self._tree.n)
        return signed

    def _among(self, points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Signed distances to the faces of the `count` nearest pieces, and whether no other face can be nearer."""
        centre_distance, piece = self._tree.query(points, k=np.arange(1, count + 1))
        faces = self._face_of_piece[piece]
        closest, feature = _closest_on_triangles(points[:, None], self._corners[faces])
        offset = points[:, None] - closest
        distance = np.linalg.norm(offset, axis=-1)
        row, best = np.arange(len(points)), distance.argmin(1)
        nearest = distance[row, best]
        outside = (offset[row, best] * self._normals[faces[row, best], feature[row, best]]).sum(-1) >= 0
        # A piece not looked at has its centre farther than the last one's, and its points at most a radius less.
        certain = (nearest <= centre_distance[:, -1] - self._piece_radius) | (count == self._tree.n)
        return np.where(outside, nearest, -nearest), certain


def _pieces(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Centres of faces, large ones cut in four until all are of like size; their faces, and the largest radius."""
    triangles, face = corners, np.arange(len(corners))
    target = 1.5 * float(np.median(_radii(corners)))
    while True:
        large = _radii(triangles) > max(target, 1e-12)
        if not large.any() or len(triangles) + 3 * large.sum() > _MOST_PIECES:
            break
        a, b, c = (triangles[large, corner] for corner in range(3))
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        quarters = np.concatenate([np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
        triangles = np.concatenate([triangles[~large], quarters])
        face = np.concatenate([face[~large], np.tile(face[large], 4)])
    return triangles.mean(1), face, float(_radii(triangles).max())


def _radii(triangles: np.ndarray) -> np.ndarray:
    radii: np.ndarray = np.linalg.norm(triangles - triangles.mean(1, keepdims=True), axis=-1).max(1)
    return radii


def _pseudo_normals(corners: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Per face the normals (not of unit length) at its corners, edges and inside: (faces, 7, 3)."""
    sides = np.roll(corners, -1, axis=1) - corners
    normal = np.cross(sides[:, 0], sides[:, 1])
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-300)
    unit = sides / np.maximum(np.linalg.norm(sides, axis=-1, keepdims=True), 1e-300)
    angle = np.arccos(np.clip(-(unit * np.roll(unit, 1, axis=1)).sum(-1), -1, 1))

    at_vertex = np.zeros((faces.max() + 1, 3))
    np.add.at(at_vertex, faces, angle[..., None] * normal[:, None])
    ends = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1), axis=-1)
    _, edge = np.unique(ends.reshape(-1, 2), axis=0, return_inverse=True)
    edge = edge.reshape(faces.shape)
    at_edge = np.zeros((edge.max() + 1, 3))
    np.add.at(at_edge, edge, normal[:, None])
    return np.concatenate([at_vertex[faces], at_edge[edge], normal[:, None]], axis=1)


def _closest_on_triangles(points: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Closest points, and what they lie on, by Voronoi regions (Ericson, Real-Time Collision Detection, 5.1.5)."""
    a, b, c = (triangles[..., corner, :] for corner in range(3))
    ab, ac = b - a, c - a
    along = [((points - corner) * side).sum(-1) for corner in (a, b, c) for side in (ab, ac)]
    d1, d2, d3, d4, d5, d6 = along
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    regions = [
        (d1 <= 0) & (d2 <= 0),
        (d3 >= 0) & (d4 <= d3),
        (d6 >= 0) & (d5 <= d6),
        (vc <= 0) & (d1 >= 0) & (d3 <= 0),
        (va <= 0) & (d4 >= d3) & (d5 >= d6),
        (vb <= 0) & (d2 >= 0) & (d6 <= 0),
    ]
    feature = np.select(regions, [*_VERTICES, *_EDGES], _FACE)
    on_ab, on_ac, on_bc = _share(d1, d1 - d3), _share(d2, d2 - d6), _share(d4 - d3, (d4 - d3) + (d5 - d6))
    zero, one, whole = np.zeros_like(d1), np.ones_like(d1), va + vb + vc
    weight_b = np.choose(feature, [zero, one, zero, on_ab, 1 - on_bc, zero, _share(vb, whole)])
    weight_c = np.choose(feature, [zero, zero, one, zero, on_bc, on_ac, _share(vc, whole)])
    return a + weight_b[..., None] * ab + weight_c[..., None] * ac, feature


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)
