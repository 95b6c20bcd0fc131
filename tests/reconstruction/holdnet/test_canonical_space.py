"""Canonical space and what fields are held to there; values are the goldens', here what those do not say."""

import numpy as np
import torch
import trimesh

from handloom.geometry.neighbours import NeighbourSearch
from handloom.hand.models import open_hand
from handloom.reconstruction.holdnet.canonical_space import (
    CanonicalSurface,
    HandDeformer,
    pose_hand,
    query_skin_weights,
    rest_vertices_m,
)
from handloom.reconstruction.holdnet.canonical_targets import HAND_SPREAD, Spread, eikonal_points, hand_shape_points

from .scene import generator

MODEL = open_hand()


def test_skinning_weights_sum_to_one_near_and_far_and_gradients_reach_the_pose() -> None:
    pose = (0.2 * torch.randn(3, 16, 3, generator=generator())).requires_grad_()
    shape, place = torch.zeros(3, 10), torch.full((3, 3), 0.3)
    hand = pose_hand(MODEL, pose_rotvec=pose, shape=shape, translation_m=place, scene_scale=4.7)
    points = torch.cat([hand.vertices.detach()[:, ::100], torch.full((3, 2, 3), 40.0)], dim=1)
    weights = query_skin_weights(NeighbourSearch(hand.vertices), MODEL.weights, points)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, points.shape[1]), atol=1e-5, rtol=0)
    assert bool((weights >= 0).all())
    canonical = NeighbourSearch(rest_vertices_m(MODEL, shape[0])[None])
    HandDeformer(canonical, MODEL.weights, hand).to_canonical(points).square().sum().backward()
    assert pose.grad is not None
    assert bool(torch.isfinite(pose.grad).all())
    assert bool((pose.grad[:, 0].abs() > 0).all())


def test_surface_samples_lie_on_it_and_follow_its_area(hand_at_rest: CanonicalSurface) -> None:
    samples = hand_at_rest.sample(2000, generator())
    assert float(hand_at_rest.distance.signed(samples).abs().max()) < 1e-7
    mesh = trimesh.Trimesh(hand_at_rest.vertices.numpy(), hand_at_rest.faces.numpy(), process=False)
    area_centre = (mesh.area_faces[:, None] * mesh.triangles_center).sum(0) / mesh.area
    np.testing.assert_allclose(samples.mean(0).numpy(), area_centre, atol=0.005)


def test_rays_that_touch_pass_through_or_miss(hand_at_rest: CanonicalSurface) -> None:
    along = torch.linspace(-0.3, 0.3, 200)
    through = torch.stack([torch.zeros(200), along, torch.zeros(200)], dim=1)
    beside = through + torch.tensor([0.0, 0.0, 0.2])
    assert hand_at_rest.missed_by(torch.stack([through, beside]), 0.01).tolist() == [False, True]


def test_points_around_the_hand(hand_at_rest: CanonicalSurface) -> None:
    points = hand_shape_points(hand_at_rest, 3, generator())
    assert points.shape == (3, 307, 3)
    assert torch.equal(points, hand_shape_points(hand_at_rest, 3, generator()))
    moved = hand_at_rest.distance.signed(points[:, :256]).abs()
    assert 0.003 < float(moved.mean()) < 0.010
    uniform = points[:, 256:].abs()
    assert bool((uniform <= torch.tensor(HAND_SPREAD.half_extent)).all())
    assert bool((uniform.amax((0, 1)) > 0.9 * torch.tensor(HAND_SPREAD.half_extent)).all())


def test_points_of_the_eikonal_term(hand_at_rest: CanonicalSurface) -> None:
    points = eikonal_points(hand_at_rest.vertices, 2, Spread(0.0, (1.0, 2.0, 3.0), 0.01), generator())
    assert points.shape == (2, 307, 3)
    distance = torch.cdist(points[0, :256].double(), hand_at_rest.vertices.double()).amin(1)
    assert float(distance.max()) < 1e-9
    assert float(points[..., 2].abs().max()) > 2
