"""Meshes of distance grids: the right size, looking outwards, closed, one piece; and the object's mesh on disk."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from handloom.geometry.voxels import node_points
from handloom.reconstruction.object_mesh import ObjectMesh, SurfaceMesh, read_object_mesh, surface
from handloom.reconstruction.scene_poses import ObjectCube
from handloom.runtime.errors import InputError

CELLS = 25


def ball(centre: tuple[float, float, float], radius: float) -> Tensor:
    distance = torch.linalg.vector_norm(node_points(CELLS) - torch.tensor(centre), dim=-1) - radius
    return distance.view(1, CELLS, CELLS, CELLS)


def closed(mesh: SurfaceMesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices, mesh.faces)


def test_mesh_of_a_ball_has_its_size_place_and_orientation() -> None:
    """Protects the frame of the mesh (the cube, x y z) and normals that look outwards: volume is positive."""
    centre = np.array([0.3, -0.2, 0.1])
    mesh = surface(ball((0.3, -0.2, 0.1), 0.5))
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices - centre, axis=1), 0.5, atol=0.01)
    assert closed(mesh).is_watertight
    assert closed(mesh).volume == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=0.03)


def test_an_object_that_leaves_the_cube_is_closed_at_its_border() -> None:
    """Protects later stages, which take inside and outside for granted."""
    mesh = surface(ball((0.8, 0.0, 0.0), 0.5))
    assert closed(mesh).is_watertight
    assert mesh.vertices[:, 0].max() <= 1 + 2 / (CELLS - 1)


def test_only_the_largest_piece_stays() -> None:
    """Protects the object from floating specks: of two balls the larger one is kept, its faces numbered anew."""
    mesh = surface(torch.minimum(ball((-0.5, 0, 0), 0.2), ball((0.4, 0, 0), 0.4)))
    assert mesh.vertices[:, 0].min() > -0.05
    assert mesh.faces.max() + 1 == len(mesh.vertices)
    assert closed(mesh).volume == pytest.approx(4 / 3 * np.pi * 0.4**3, rel=0.04)


def test_no_surface_is_refused() -> None:
    """Protects the user from an empty mesh: the message says where to look."""
    with pytest.raises(InputError, match=r"positive everywhere.*look at the masks"):
        surface(ball((0, 0, 0), 0.5) + 3)


def test_object_mesh_on_disk_is_in_the_sfm_frame(tmp_path: Path) -> None:
    """Protects the frame in which phases hand the object on: x_sfm = centre + radius x_unit."""
    mesh, cube = surface(ball((0, 0, 0), 0.5)), ObjectCube(torch.tensor([1.0, 2.0, 3.0]), 4.0)
    ObjectMesh.of(mesh, cube).save(tmp_path / "object.npz", seed=1)
    found = read_object_mesh(tmp_path / "object.npz")
    np.testing.assert_allclose(found.vertices, np.array([1, 2, 3]) + 4 * mesh.vertices, rtol=1e-5)
    back = found.in_cube(cube)
    np.testing.assert_allclose(back.vertices, mesh.vertices, atol=1e-6)
    np.testing.assert_array_equal(back.faces, mesh.faces)


def test_a_mesh_whose_faces_do_not_fit_is_refused(tmp_path: Path) -> None:
    """Protects predictions, which are scored and shown."""
    whole = ObjectMesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], np.int32))
    for mesh in (replace(whole, faces=whole.faces[:0]), replace(whole, vertices=whole.vertices[:2])):
        mesh.save(tmp_path / "bad.npz")
        with pytest.raises(InputError, match=r"bad\.npz: its \d faces do not fit its \d vertices"):
            read_object_mesh(tmp_path / "bad.npz")
