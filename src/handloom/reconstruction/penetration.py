"""How deep points lie inside a closed mesh: a signed distance grid, and the loss that pushes them out.

HOLD's released refinement has no such term (facts/hold.md 3).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor

from handloom.runtime.errors import InputError

_MARGIN_CELLS = 3
_SAMPLES_PER_CELL = 3.0
_MOST_SAMPLES = 400_000


@dataclass(frozen=True)
class SignedDistanceGrid:
    """Signed distance (negative inside) at the nodes of a regular grid; lengths in the unit of the mesh."""

    values: Float[Tensor, "depth height width"]
    """Indexed z, y, x, as grid_sample takes it."""
    origin: Float[Tensor, "3"]
    spacing: float

    def at(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
        """Trilinear value; differentiable in the points. Beyond the grid: that of the nearest node, so positive."""
        size = torch.tensor(self.values.shape[::-1], dtype=points.dtype, device=points.device)
        unit = 2 * (points - self.origin.to(points)) / (self.spacing * (size - 1)) - 1
        sampled = torch.nn.functional.grid_sample(
            self.values.to(points)[None, None],
            unit.reshape(1, 1, 1, -1, 3),
            mode="bilinear",
            padding_mode="border",
            align_corners=True,
        )
        return sampled.reshape(points.shape[:-1])


def signed_distance_grid(
    vertices: Float[Tensor, "vertices 3"], faces: Int[Tensor, "faces 3"], cells: int = 48
) -> SignedDistanceGrid:
    """The signed distance of a closed mesh at `cells` grid cells along its longest side.

    Distance is that to dense samples of the surface. Outside is what can be reached from the border of the grid
    without crossing a cell that holds surface; in those cells the side of the nearest face decides. Small holes, up
    to a cell, do no harm. Raises InputError for a mesh without faces or with a non-finite vertex.
    """
    corners = vertices.detach().double().cpu().numpy()
    triangles = faces.cpu().numpy()
    if not len(triangles) or not np.isfinite(corners).all():
        raise InputError(
            f"object mesh: has {len(triangles)} faces and {int((~np.isfinite(corners)).any(1).sum())} vertices that "
            "are not finite, but a closed mesh was expected; extract it again"
        )
    low, high = corners.min(0), corners.max(0)
    spacing = float((high - low).max() / cells)
    origin = low - _MARGIN_CELLS * spacing
    size = np.ceil((high - low) / spacing).astype(int) + 2 * _MARGIN_CELLS + 1
    samples, normals = _surface_samples(corners, triangles, spacing / _SAMPLES_PER_CELL)
    near = np.zeros(size, dtype=bool)
    near[tuple(np.rint((samples - origin) / spacing).astype(int).T)] = True
    near = ndimage.binary_dilation(near, np.ones((3, 3, 3)))
    # Farther nodes take over the nearest sample of the nearest near node: exact to a fraction of a cell, and a search
    # would be slow where all of the surface is equally far.
    nearest = np.zeros(size, dtype=int)
    nearest[near] = cKDTree(samples).query(origin + spacing * np.argwhere(near))[1]
    nearest = nearest[tuple(ndimage.distance_transform_edt(~near, return_distances=False, return_indices=True))]
    offset = origin + spacing * np.moveaxis(np.indices(size), 0, -1) - samples[nearest]
    distance, facing = np.linalg.norm(offset, axis=-1), (offset * normals[nearest]).sum(-1)
    # Half a cell's diagonal: a wall of such cells has no gap that 6-neighbours could slip through.
    wall = distance < 0.9 * spacing
    regions, _ = ndimage.label(~wall)
    outside = np.where(wall, facing > 0, regions == regions[0, 0, 0])
    signed = np.where(outside, distance, -distance)
    values = torch.from_numpy(np.ascontiguousarray(signed.transpose(2, 1, 0))).float()
    return SignedDistanceGrid(values, torch.from_numpy(origin).float(), spacing)


def _surface_samples(vertices: np.ndarray, faces: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Points about `spacing` apart all over the faces, corners included, with the faces' unit normals."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    double_area = np.linalg.norm(normals, axis=1)
    normals = normals / np.maximum(double_area, 1e-30)[:, None]
    longest = np.max([np.linalg.norm(side, axis=1) for side in (b - a, c - b, a - c)], axis=0)
    # Coarser where a mesh is so large that its samples would not fit.
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


def penetration_loss(depth_points: Float[Tensor, "*batch 3"], grid: SignedDistanceGrid) -> Float[Tensor, ""]:
    """Mean of max(0, -sdf)^2 over the points, which are in the grid's frame and unit; zero when all are outside."""
    return grid.at(depth_points).clamp(max=0.0).square().mean()


def into_object(
    points: Float[Tensor, "frames points 3"],
    rotation: Float[Tensor, "frames 3 3"],
    translation: Float[Tensor, "frames 3"],
    scale: Float[Tensor, ""] | float = 1.0,
) -> Float[Tensor, "frames points 3"]:
    """Camera points in the object's frame: x_o = R^T (x_c - t) / scale; multiply a depth by `scale` to get metres."""
    return (points - translation[:, None]) @ rotation / scale
