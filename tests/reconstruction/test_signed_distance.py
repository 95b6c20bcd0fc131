"""Distances to meshes: exact against brute force and a ball, right signs everywhere, shortcuts that change nothing."""

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from handloom.hand.open_hand import open_hand
from handloom.reconstruction.canonical_target import (
    HAND_HALF_EXTENT_M,
    CanonicalSurface,
    eikonal_points,
    hand_shape_points,
    hand_surface,
    hand_target_is_due,
    object_meshing_is_due,
    rays_off_surface,
)
from handloom.reconstruction.sealed_hand import wrist_cap
from handloom.reconstruction.signed_distance import MeshDistance
from handloom.runtime.errors import InputError


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.fixture(scope="module")
def hand() -> CanonicalSurface:
    model = open_hand()
    return hand_surface(model.v_template, wrist_cap(model.faces, len(model.v_template)))


@pytest.fixture(scope="module")
def near_hand(hand: CanonicalSurface) -> Tensor:
    return hand_shape_points(hand, 1, generator())[0, ::4]


def winding_number(mesh: CanonicalSurface, points: Tensor) -> Tensor:
    """Solid angle of all faces / 4 pi: 1 inside, 0 outside (Van Oosterom and Strackee 1983)."""
    a, b, c = (corner[None] - points.double()[:, None] for corner in mesh.vertices.double()[mesh.faces].unbind(1))
    la, lb, lc = (side.norm(dim=-1) for side in (a, b, c))
    triple = (a * torch.linalg.cross(b, c)).sum(-1)
    under = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
    return torch.atan2(triple, under).sum(1) / (2 * torch.pi)


class TestMeshDistance:
    def test_box_on_faces_edges_and_corners(self) -> None:
        box = trimesh.creation.box(extents=(2, 2, 2))
        distance = MeshDistance(torch.tensor(box.vertices), torch.tensor(box.faces))
        points = torch.tensor(
            [[0, 0, 0], [0.5, 0, 0], [3, 0, 0], [2, 2, 0], [2, 2, 2], [0.9, 0.9, 0.9], [1, 0, 0], [30.0, 0, 0]]
        )
        expected = [-1, -0.5, 2, 2**0.5, 3**0.5, -0.1, 0, 29]
        assert distance.signed(points).tolist() == pytest.approx(expected, abs=1e-6)

    def test_signs_agree_with_the_winding_number(self, hand: CanonicalSurface, near_hand: Tensor) -> None:
        inside = winding_number(hand, near_hand) > 0.5
        signed = hand.distance.signed(near_hand)
        assert 10 < int(inside.sum()) < len(inside) - 10
        assert torch.equal(signed < 0, inside)

    def test_distance_is_that_of_brute_force(self, hand: CanonicalSurface, near_hand: Tensor) -> None:
        mesh = trimesh.Trimesh(hand.vertices.numpy(), hand.faces.numpy(), process=False)
        _, expected, _ = trimesh.proximity.closest_point_naive(mesh, near_hand.numpy())
        found = hand.distance.signed(near_hand).abs()
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-7)

    @pytest.mark.parametrize("reach", [0.002, 0.01, 0.03])
    def test_reach_changes_nothing_within_it_and_no_sign(
        self, hand: CanonicalSurface, near_hand: Tensor, reach: float
    ) -> None:
        exact, cheap = hand.distance.signed(near_hand), hand.distance.signed(near_hand, reach=reach)
        assert torch.equal(exact.clamp(-reach, reach), cheap.clamp(-reach, reach))
        assert torch.equal(exact.sign(), cheap.sign())

    def test_farther_than_is_the_comparison_of_distances(self, hand: CanonicalSurface, near_hand: Tensor) -> None:
        for threshold in (0.003, 0.01):
            far = hand.distance.farther_than(near_hand, threshold)
            assert torch.equal(far, hand.distance.signed(near_hand) > threshold)
            assert bool(far.any())
            assert not bool(far.all())

    def test_deep_inside_a_large_box_is_not_off_the_surface(self) -> None:
        box = trimesh.creation.box(extents=(2, 2, 2)).subdivide().subdivide().subdivide()
        distance = MeshDistance(torch.tensor(box.vertices), torch.tensor(box.faces))
        points = torch.tensor([[0.0, 0, 0], [0.5, 0.5, 0.5], [1.2, 0, 0], [1.04, 0, 0]])
        assert distance.farther_than(points, 0.05).tolist() == [False, False, True, False]

    def test_meshes_without_faces_or_with_nan_are_refused(self) -> None:
        box = trimesh.creation.box()
        vertices, faces = torch.tensor(box.vertices), torch.tensor(box.faces)
        with pytest.raises(InputError, match="0 faces"):
            MeshDistance(vertices, faces[:0])
        vertices = vertices.clone()
        vertices[0] = torch.nan
        with pytest.raises(InputError, match="not finite"):
            MeshDistance(vertices, faces)


class TestCanonicalTarget:
    def test_sealed_hand_is_closed_and_keeps_its_volume(self, hand: CanonicalSurface) -> None:
        mesh = trimesh.Trimesh(hand.vertices.numpy(), hand.faces.numpy(), process=False)
        assert mesh.is_watertight
        assert mesh.is_winding_consistent
        assert mesh.volume == pytest.approx(2.5e-4, rel=0.1)

    def test_surface_samples_lie_on_it_and_follow_its_area(self, hand: CanonicalSurface) -> None:
        samples = hand.sample(2000, generator())
        assert float(hand.distance.signed(samples).abs().max()) < 1e-7
        mesh = trimesh.Trimesh(hand.vertices.numpy(), hand.faces.numpy(), process=False)
        area_centre = (mesh.area_faces[:, None] * mesh.triangles_center).sum(0) / mesh.area
        np.testing.assert_allclose(samples.mean(0).numpy(), area_centre, atol=0.005)

    def test_points_around_the_hand(self, hand: CanonicalSurface) -> None:
        points = hand_shape_points(hand, 3, generator())
        assert points.shape == (3, 307, 3)
        assert torch.equal(points, hand_shape_points(hand, 3, generator()))
        moved = hand.distance.signed(points[:, :256]).abs()
        assert 0.003 < float(moved.mean()) < 0.010
        uniform = points[:, 256:].abs()
        assert bool((uniform <= torch.tensor(HAND_HALF_EXTENT_M)).all())
        assert bool((uniform.amax((0, 1)) > 0.9 * torch.tensor(HAND_HALF_EXTENT_M)).all())

    def test_points_of_the_eikonal_term(self, hand: CanonicalSurface) -> None:
        points = eikonal_points(hand.vertices, 2, noise=0.0, half_extent=(1.0, 2.0, 3.0), generator=generator())
        assert points.shape == (2, 307, 3)
        distance = torch.cdist(points[0, :256].double(), hand.vertices.double()).amin(1)
        assert float(distance.max()) < 1e-9
        assert float(points[..., 2].abs().max()) > 2

    def test_rays_that_touch_pass_through_or_miss(self, hand: CanonicalSurface) -> None:
        along = torch.linspace(-0.3, 0.3, 200)
        through = torch.stack([torch.zeros(200), along, torch.zeros(200)], dim=1)
        beside = through + torch.tensor([0.0, 0.0, 0.2])
        assert rays_off_surface(hand, torch.stack([through, beside]), 0.01).tolist() == [False, True]

    def test_when_targets_are_made(self) -> None:
        assert [step for step in range(601) if hand_target_is_due(step)] == [200, 400, 600]
        assert [epoch for epoch in range(10) if object_meshing_is_due(epoch)] == [3, 6, 9]
