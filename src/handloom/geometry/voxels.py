"""Values on regular grids, looked up by trilinear interpolation; the signed distance of a mesh on one.

Volumes are laid out (channel, x, y, z) over the cube [-1, 1]^3; node (i, j, k) of `cells` nodes a side lies at
-1 + 2 (i, j, k) / (cells - 1).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional

from handloom.geometry.surfaces import even_samples, require_faces

_MARGIN_CELLS = 3
"""Of a distance grid around its mesh, so that its border lies outside."""
_SAMPLES_PER_CELL = 3.0
"""Along a line on the surface: no point of it is then farther than about a fifth of a cell from one."""


def look_up(
    volume: Float[Tensor, "channel xs ys zs"], points: Float[Tensor, "point 3"]
) -> Float[Tensor, "point channel"]:
    """Trilinear values at points of the cube, differentiable in both; outside, those of its border."""
    # grid_sample's first coordinate runs along the last axis.
    places = points.flip(-1).view(1, -1, 1, 1, 3)
    found = functional.grid_sample(volume[None], places, padding_mode="border", align_corners=True)
    return found.view(volume.shape[0], -1).mT


def with_gradient(
    distance: Float[Tensor, "1 cells cells cells"],
) -> Float[Tensor, "4 cells cells cells"]:
    """A volume of values and, beside them, their central differences along x, y, z (per unit of the cube).

    Looking this up gives smooth normals in one pass, and only first derivatives are needed to train on them.
    """
    spacing = 2.0 / (distance.shape[-1] - 1)
    padded = functional.pad(distance[None], (1, 1, 1, 1, 1, 1), mode="replicate")[0]
    inner = slice(1, -1)
    along = [
        padded[:, 2:, inner, inner] - padded[:, :-2, inner, inner],
        padded[:, inner, 2:, inner] - padded[:, inner, :-2, inner],
        padded[:, inner, inner, 2:] - padded[:, inner, inner, :-2],
    ]
    return torch.cat([distance, *(difference / (2.0 * spacing) for difference in along)])


def node_points(cells: int) -> Float[Tensor, "nodes 3"]:
    """The nodes of a grid in the order of a flattened volume."""
    axis = torch.linspace(-1.0, 1.0, cells)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).view(-1, 3)


@dataclass(frozen=True)
class SignedDistanceGrid:
    """Signed distance (negative inside) at the nodes of a regular grid; lengths in the unit of the mesh."""

    values: Float[Tensor, "zs ys xs"]
    origin: Float[Tensor, "3"]
    spacing: float

    def at(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
        """Trilinear value; differentiable in the points. Beyond the grid: that of the nearest node, so positive."""
        size = torch.tensor(self.values.shape[::-1], dtype=points.dtype, device=points.device)
        unit = 2 * (points - self.origin.to(points)) / (self.spacing * (size - 1)) - 1
        return look_up(self.values.to(points)[None], unit.reshape(-1, 3).flip(-1)).view(points.shape[:-1])


def signed_distance_grid(
    vertices: Float[Tensor, "vertices 3"], faces: Int[Tensor, "faces 3"], cells: int = 48
) -> SignedDistanceGrid:
    """The signed distance of a closed mesh at `cells` grid cells along its longest side.

    Distance is that to dense samples of the surface. Outside is what can be reached from the border of the grid
    without crossing a cell that holds surface; in those cells the side of the nearest face decides. Small holes, up
    to a cell, do no harm. Raises InputError for a mesh without faces or with a non-finite vertex.
    """
    require_faces(vertices, faces)
    corners, triangles = vertices.detach().double().cpu().numpy(), faces.cpu().numpy()
    low, high = corners.min(0), corners.max(0)
    spacing = float((high - low).max() / cells)
    origin = low - _MARGIN_CELLS * spacing
    size = np.ceil((high - low) / spacing).astype(int) + 2 * _MARGIN_CELLS + 1
    samples, normals = even_samples(corners, triangles, spacing / _SAMPLES_PER_CELL)
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
