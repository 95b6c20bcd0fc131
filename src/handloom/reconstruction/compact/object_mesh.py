"""The object's mesh on disk, in the SfM frame and its units, so that a refined scale still applies to it."""

from pathlib import Path

import numpy as np

from handloom.reconstruction.compact.meshing import SurfaceMesh
from handloom.reconstruction.compact.scene_poses import ObjectCube
from handloom.runtime.artifacts import Header, write_arrays
from handloom.runtime.errors import InputError
from handloom.runtime.finite_arrays import read_finite_arrays

KIND = "object_mesh"


def write_object_mesh(path: Path, mesh: SurfaceMesh, cube: ObjectCube, *, seed: int, code: str = "") -> None:
    """Write a mesh of the cube as one of the SfM frame: x_sfm = centre + radius x_unit."""
    vertices = cube.centre.numpy() + cube.radius * mesh.vertices
    arrays = {"vertices": vertices.astype(np.float32), "faces": mesh.faces.astype(np.int32)}
    write_arrays(path, arrays, Header(KIND, units="SfM", frame="object", seed=seed, code=code))


def read_object_mesh(path: Path) -> SurfaceMesh:
    """Read what `write_object_mesh` wrote, in SfM units.

    Raises InputError for another artifact, one with NaN, and one without faces or with faces beyond its vertices.
    """
    arrays, _ = read_finite_arrays(path, KIND, ("vertices", "faces"))
    faces, count = arrays["faces"], len(arrays["vertices"])
    if not len(faces) or faces.min() < 0 or faces.max() >= count:
        raise InputError(
            f"{path}: its {len(faces)} faces do not fit its {count} vertices; delete it and run the phase that makes "
            "it again"
        )
    return SurfaceMesh(arrays["vertices"], arrays["faces"].astype(np.int64))
