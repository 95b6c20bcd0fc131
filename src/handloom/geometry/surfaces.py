"""Triangle meshes: normals, the fan that closes a hole, enclosed volume, and points all over a surface or a sphere."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from handloom.runtime.errors import InputError

_MOST_SAMPLES = 400_000
"""More points do not fit beside the rest of a job; a mesh so large gets coarser ones."""


def require_faces(vertices: Float[Tensor, "vertices 3"], faces: Int[Tensor, "faces 3"]) -> None:
    """Raise InputError for a mesh without faces or with a vertex that is not finite."""
    bad = int((~vertices.isfinite()).any(1).sum())
    if not len(faces) or bad:
        raise InputError(
            f"mesh: has {len(faces)} faces and {bad} vertices that are not finite, but a closed mesh was expected; "
            "extract it again"
        )


def vertex_normals(
    vertices: Float[Tensor, "*batch vertices 3"], faces: Int[Tensor, "faces 3"]
) -> Float[Tensor, "*batch vertices 3"]:
    """Unit normals, weighted by the area of the faces around each vertex; zero for a vertex without faces.

    n_v = normalise(sum over the faces around v of (b - a) x (c - a)): outward when corners go counter-clockwise.
    """
    a, b, c = (vertices[..., faces[:, corner], :] for corner in range(3))
    of_face = torch.linalg.cross(b - a, c - a)
    sums = torch.zeros_like(vertices)
    for corner in range(3):
        sums = sums.index_add(-2, faces[:, corner], of_face)
    return torch.nn.functional.normalize(sums, dim=-1)


class HoleCap(NamedTuple):
    """What closes a mesh with one hole, as a hand's has at the wrist: the ring around it, and the closed mesh's faces.

    HOLD renders and samples its hands sealed like this.
    """

    ring: Int[Tensor, " ring"]
    faces: Int[Tensor, "faces 3"]
    """All faces, then one per edge of the ring; the new vertex is the last one."""

    def sealed(self, vertices: Float[Tensor, "*batch vertices 3"]) -> Float[Tensor, "*batch sealed 3"]:
        """The vertices followed by the mean of the ring."""
        return torch.cat([vertices, vertices[..., self.ring, :].mean(-2, keepdim=True)], dim=-2)


def hole_cap(faces: Int[Tensor, "faces 3"], vertex_count: int) -> HoleCap:
    """The cap of a mesh with one hole.

    A border edge runs a -> b in one face only; the new face runs b -> a, so that all normals keep looking outwards.
    Raises InputError when there is no hole.
    """
    border = _border_edges(faces, vertex_count)
    if not len(border):
        raise InputError("mesh: has no hole, but one was expected, as a hand's wrist is; use its faces as they are")
    fan = torch.column_stack([border.flip(1), border.new_full((len(border),), vertex_count)])
    return HoleCap(border[:, 0], torch.cat([faces, fan]))


def _border_edges(faces: Int[Tensor, "faces 3"], vertex_count: int) -> Int[Tensor, "border 2"]:
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    forward = edges[:, 0] * vertex_count + edges[:, 1]
    return edges[~torch.isin(forward, edges[:, 1] * vertex_count + edges[:, 0])]


def sealed_volume(
    vertices: Float[Tensor, "frames vertices 3"], faces: Int[Tensor, "faces 3"]
) -> Float[Tensor, " frames"]:
    """Volume enclosed by each frame's mesh, which has one hole, closed by its cap, or none; in the unit's cube.

    One sixth of the sum of det(a, b, c) over all triangles.
    """
    # Determinants lose digits far from the origin.
    vertices = vertices - vertices.mean(1, keepdim=True)
    if len(_border_edges(faces, vertices.shape[1])):
        cap = hole_cap(faces, vertices.shape[1])
        vertices, faces = cap.sealed(vertices), cap.faces
    a, b, c = vertices[:, faces].unbind(2)
    return (a * torch.linalg.cross(b, c)).sum((1, 2)) / 6.0


def even_samples(vertices: np.ndarray, faces: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Points about `spacing` apart all over the faces, corners included, with the faces' unit normals."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    double_area = np.linalg.norm(normals, axis=1)
    normals = normals / np.maximum(double_area, 1e-30)[:, None]
    longest = np.max([np.linalg.norm(side, axis=1) for side in (b - a, c - b, a - c)], axis=0)
    steps = np.clip(np.ceil(longest / spacing), 1, None).astype(int)
    total = int(((steps + 1) * (steps + 2) // 2).sum())
    if total > _MOST_SAMPLES:
        steps = np.maximum(1, (steps * np.sqrt(_MOST_SAMPLES / total)).astype(int))
    points, of_face = [], []
    for step in np.unique(steps):  # faces cut equally finely share one pattern
        rows = np.flatnonzero(steps == step)
        i, j = np.meshgrid(np.arange(step + 1), np.arange(step + 1), indexing="ij")
        keep = i + j <= step
        second, third = i[keep] / step, j[keep] / step
        weights = np.stack([1 - second - third, second, third], axis=1)
        points.append(np.einsum("pk,fkd->fpd", weights, vertices[faces[rows]]).reshape(-1, 3))
        of_face.append(np.repeat(rows, len(weights)))
    return np.concatenate(points), normals[np.concatenate(of_face)]


def sphere_directions(count: int) -> Float[np.ndarray, "count 3"]:
    """Unit vectors spread evenly over the sphere: a Fibonacci lattice, with nearly the same area about each."""
    index = np.arange(count) + 0.5
    height, turn = 1 - 2 * index / count, np.pi * (1 + 5**0.5) * index
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), height], axis=-1)
