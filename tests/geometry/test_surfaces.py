"""Meshes: normals weighted by area, holes closed with outward faces, the volume inside, samples all over."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import trimesh

from handloom.geometry.signed_distance import MeshDistance
from handloom.geometry.surfaces import even_samples, hole_cap, sealed_volume, vertex_normals
from handloom.geometry.voxels import signed_distance_grid
from handloom.hand.models import mirrored, open_hand
from handloom.runtime.errors import InputError


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


@pytest.mark.parametrize("side", ["right", "left"])
def test_sealed_hand_is_watertight_with_outward_faces(side: str) -> None:
    hand = open_hand() if side == "right" else mirrored(open_hand())
    cap = hole_cap(hand.faces, len(hand.v_template))
    sealed = cap.sealed(hand.v_template[None].repeat(2, 1, 1))
    mesh = trimesh.Trimesh(sealed[1].numpy(), cap.faces.numpy(), process=False)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 1e-4
    torch.testing.assert_close(sealed[:, -1], hand.v_template[cap.ring].mean(0).expand(2, 3))


def test_a_closed_mesh_is_refused() -> None:
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    with pytest.raises(InputError, match="no hole"):
        hole_cap(faces, 4)


def test_volume_of_an_open_box_and_of_a_hand() -> None:
    corners = torch.tensor([[x, y, z] for x in (0.0, 1.0) for y in (0.0, 1.0) for z in (0.0, 1.0)])
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4]]  # the face z = 1 is open
    faces = torch.tensor([triangle for a, b, c, d in quads for triangle in ([a, b, c], [a, c, d])])
    volume = sealed_volume((2 * corners + 5)[None].double(), faces)
    assert float(volume) == pytest.approx(8.0)
    hand = open_hand()
    litres = 1000 * float(sealed_volume(hand.v_template[None].double(), hand.faces))
    assert 0.2 < litres < 0.6


def test_samples_leave_no_gap_and_know_their_face() -> None:
    box = trimesh.creation.box((1.0, 2.0, 3.0))
    points, normals = even_samples(np.array(box.vertices), np.array(box.faces), 0.2)
    anywhere = trimesh.sample.sample_surface(box, 500, seed=0)[0]
    assert np.linalg.norm(anywhere[:, None] - points, axis=-1).min(1).max() < 0.2
    outside = np.abs(points + 0.01 * normals) - [0.5, 1.0, 1.5]
    np.testing.assert_allclose(outside.max(1), 0.01, atol=1e-9)


@pytest.mark.parametrize("used", [MeshDistance, signed_distance_grid])
def test_meshes_without_faces_or_with_nan_have_no_distance(used: Callable[..., object]) -> None:
    box = trimesh.creation.box()
    vertices, faces = torch.tensor(box.vertices), torch.tensor(box.faces)
    with pytest.raises(InputError, match="0 faces"):
        used(vertices, faces[:0])
    with pytest.raises(InputError, match="not finite"):
        used(torch.where(vertices > 0, torch.nan, vertices), faces)
