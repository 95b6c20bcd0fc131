"""Distances to meshes: exact against brute force and a box, right signs everywhere, shortcuts that change nothing."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from handloom.geometry.signed_distance import MeshDistance
from handloom.geometry.surfaces import hole_cap
from handloom.hand.models import open_hand


class Surface(NamedTuple):
    vertices: Tensor
    faces: Tensor
    distance: MeshDistance


@pytest.fixture(scope="module")
def hand() -> Surface:
    model = open_hand()
    cap = hole_cap(model.faces, len(model.v_template))
    vertices = cap.sealed(model.v_template)
    return Surface(vertices, cap.faces, MeshDistance(vertices, cap.faces))


@pytest.fixture(scope="module")
def near_hand(hand: Surface) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return hand.vertices[::10] + 0.008 * torch.randn(len(hand.vertices[::10]), 3, generator=generator)


def winding_number(mesh: Surface, points: Tensor) -> Tensor:
    """Solid angle of all faces / 4 pi: 1 inside, 0 outside (Van Oosterom and Strackee 1983)."""
    a, b, c = (corner[None] - points.double()[:, None] for corner in mesh.vertices.double()[mesh.faces].unbind(1))
    la, lb, lc = (side.norm(dim=-1) for side in (a, b, c))
    triple = (a * torch.linalg.cross(b, c)).sum(-1)
    under = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
    return torch.atan2(triple, under).sum(1) / (2 * torch.pi)


def test_box_on_faces_edges_and_corners() -> None:
    box = trimesh.creation.box(extents=(2, 2, 2))
    distance = MeshDistance(torch.tensor(box.vertices), torch.tensor(box.faces))
    points = torch.tensor(
        [[0, 0, 0], [0.5, 0, 0], [3, 0, 0], [2, 2, 0], [2, 2, 2], [0.9, 0.9, 0.9], [1, 0, 0], [30.0, 0, 0]]
    )
    expected = [-1, -0.5, 2, 2**0.5, 3**0.5, -0.1, 0, 29]
    assert distance.signed(points).tolist() == pytest.approx(expected, abs=1e-6)


def test_signs_agree_with_the_winding_number(hand: Surface, near_hand: Tensor) -> None:
    inside = winding_number(hand, near_hand) > 0.5
    signed = hand.distance.signed(near_hand)
    assert 10 < int(inside.sum()) < len(inside) - 10
    assert torch.equal(signed < 0, inside)


def test_distance_is_that_of_brute_force(hand: Surface, near_hand: Tensor) -> None:
    mesh = trimesh.Trimesh(hand.vertices.numpy(), hand.faces.numpy(), process=False)
    _, expected, _ = trimesh.proximity.closest_point_naive(mesh, near_hand.numpy())
    found = hand.distance.signed(near_hand).abs()
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-7)


@pytest.mark.parametrize("reach", [0.002, 0.01, 0.03])
def test_reach_changes_nothing_within_it_and_no_sign(hand: Surface, near_hand: Tensor, reach: float) -> None:
    exact, cheap = hand.distance.signed(near_hand), hand.distance.signed(near_hand, reach=reach)
    assert torch.equal(exact.clamp(-reach, reach), cheap.clamp(-reach, reach))
    assert torch.equal(exact.sign(), cheap.sign())


def test_farther_than_is_the_comparison_of_distances(hand: Surface, near_hand: Tensor) -> None:
    for threshold in (0.003, 0.01):
        far = hand.distance.farther_than(near_hand, threshold)
        assert torch.equal(far, hand.distance.signed(near_hand) > threshold)
        assert bool(far.any())
        assert not bool(far.all())


def test_deep_inside_a_large_box_is_not_off_the_surface() -> None:
    box = trimesh.creation.box(extents=(2, 2, 2)).subdivide().subdivide().subdivide()
    distance = MeshDistance(torch.tensor(box.vertices), torch.tensor(box.faces))
    points = torch.tensor([[0.0, 0, 0], [0.5, 0.5, 0.5], [1.2, 0, 0], [1.04, 0, 0]])
    assert distance.farther_than(points, 0.05).tolist() == [False, False, True, False]
