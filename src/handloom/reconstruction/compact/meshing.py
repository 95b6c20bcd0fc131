"""Meshes of the fields: marching cubes on their grids (facts/hold.md 2.7)."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import marching_cubes

from handloom.runtime.errors import InputError


class SurfaceMesh(NamedTuple):
    """Vertices in the grid's own cube [-1, 1]^3 and triangles that look outwards."""

    vertices: Float[np.ndarray, "vertices 3"]
    faces: Int[np.ndarray, "faces 3"]


def surface(distance: Float[torch.Tensor, "1 cells cells cells"]) -> SurfaceMesh:
    """The zero level of signed distances, its largest piece by area.

    The grid's border counts as outside, so that the surface is closed. Raises InputError where nothing is inside.
    """
    volume = distance.detach()[0].cpu().numpy()
    if not (volume < 0).any():
        raise InputError(
            "meshing: the object's distance is positive everywhere, so it has no surface; "
            "look at the masks and at the previews of phase 1"
        )
    step = 2.0 / (volume.shape[0] - 1)
    closed = np.pad(volume, 1, constant_values=step)
    vertices, faces, _, _ = marching_cubes(closed, 0.0, gradient_direction="descent")
    return largest_piece(SurfaceMesh(((vertices - 1) * step - 1).astype(np.float32), faces.astype(np.int64)))


def largest_piece(mesh: SurfaceMesh) -> SurfaceMesh:
    """The connected piece with the largest area."""
    count = len(mesh.vertices)
    a, b = mesh.faces[:, [0, 1, 2]].ravel(), mesh.faces[:, [1, 2, 0]].ravel()
    _, piece = connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(count, count)), directed=False)
    corners = mesh.vertices[mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    of_face = piece[mesh.faces[:, 0]]
    chosen = np.bincount(of_face, weights=area).argmax()
    faces = mesh.faces[of_face == chosen]
    used, new = np.unique(faces, return_inverse=True)
    return SurfaceMesh(mesh.vertices[used], new.reshape(-1, 3))
