"""The object's mesh: marching cubes on a grid of its distances, its largest piece, and the file that phases hand on."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import marching_cubes

from handloom.reconstruction.scene_poses import ObjectCube
from handloom.runtime.artifacts import Artifact
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


@dataclass(frozen=True)
class ObjectMesh(Artifact, kind="object_mesh", units="SfM", frame="object"):
    """The file object.npz: a mesh in the SfM frame and its units, so that a refined scale still applies to it."""

    vertices: Float[np.ndarray, "vertices 3"]
    faces: Int[np.ndarray, "faces 3"]

    @classmethod
    def of(cls, mesh: SurfaceMesh, cube: ObjectCube) -> "ObjectMesh":
        """A mesh of the cube, x_sfm = centre + radius x_unit."""
        vertices = cube.centre.numpy() + cube.radius * mesh.vertices
        return cls(vertices.astype(np.float32), mesh.faces.astype(np.int32))

    def in_cube(self, cube: ObjectCube) -> SurfaceMesh:
        """The same mesh in its cube again."""
        vertices = (self.vertices - cube.centre.numpy()) / cube.radius
        return SurfaceMesh(vertices.astype(np.float32), self.faces.astype(np.int64))


def read_object_mesh(path: Path) -> ObjectMesh:
    """Read object.npz; raises InputError also for one without faces or with faces beyond its vertices."""
    mesh = ObjectMesh.load(path)
    faces, count = mesh.faces, len(mesh.vertices)
    if not len(faces) or faces.min() < 0 or faces.max() >= count:
        raise InputError(
            f"{path}: its {len(faces)} faces do not fit its {count} vertices; delete it and run the phase that makes "
            "it again"
        )
    return mesh
