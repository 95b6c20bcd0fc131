"""Vertex normals point outwards, are weighted by area, and work on batches."""

import numpy as np
import torch
import trimesh

from handloom.hand.mesh_normals import vertex_normals


def test_normals_of_a_sphere_are_its_directions() -> None:
    ball = trimesh.creation.icosphere(subdivisions=3)
    vertices, faces = torch.from_numpy(np.array(ball.vertices)), torch.from_numpy(np.array(ball.faces))
    found = vertex_normals(torch.stack([vertices, 2 * vertices]), faces)
    assert found.shape == (2, len(vertices), 3)
    torch.testing.assert_close(found[0], vertices, atol=0.02, rtol=0)
    torch.testing.assert_close(found[1], found[0])


def test_faces_count_by_area_and_a_lone_vertex_has_no_normal() -> None:
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 3], [5, 5, 5]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])  # areas 1/2 towards z and 3/2 towards x
    normals = vertex_normals(vertices, faces)
    torch.testing.assert_close(normals[0], torch.tensor([3.0, 0, 1]) / 10**0.5)
    assert torch.equal(normals[4], torch.zeros(3))
