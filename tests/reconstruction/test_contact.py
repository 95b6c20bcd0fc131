"""Contact regions lie where hands touch, and contact terms have the values of their formulas."""

import pytest
import torch
import trimesh

from handloom.geometry.neighbours import NeighbourSearch
from handloom.geometry.surfaces import vertex_normals
from handloom.geometry.voxels import signed_distance_grid
from handloom.hand.joints import MANO_FINGERTIPS_SMPLX
from handloom.hand.models import mirrored, open_hand
from handloom.reconstruction.contact import contact_regions, nearest_distance, penetration_loss, tip_contact


@pytest.mark.parametrize("side", ["right", "left"])
def test_pads_and_palm_look_out_of_the_palm_side(side: str) -> None:
    hand = open_hand() if side == "right" else mirrored(open_hand())
    regions = contact_regions(hand)
    for pad, tip in zip(regions.tips, hand.tip_vertices, strict=True):
        assert 8 <= len(pad) <= 60
        assert (hand.v_template[pad] - hand.v_template[tip]).norm(dim=1).max() < 0.03
    assert len(regions.palm) > 100
    normals = vertex_normals(hand.v_template, hand.faces)
    assert (normals[regions.palm, 1] < 0).all()
    assert (normals[torch.cat(regions.tips[1:]), 1] < 0).all()
    all_vertices = regions.vertices
    assert len(all_vertices.unique()) == len(all_vertices)


def test_regions_of_a_mirrored_hand_are_the_same_vertices() -> None:
    right, left = contact_regions(open_hand()), contact_regions(mirrored(open_hand()))
    assert torch.equal(right.vertices, left.vertices)


def test_tips_are_taken_from_the_model() -> None:
    assert open_hand().tip_vertices != MANO_FINGERTIPS_SMPLX


def test_contact_terms_in_closed_form() -> None:
    plane = torch.stack(torch.meshgrid(torch.arange(0, 1, 0.1), torch.arange(0, 1, 0.1), indexing="ij"), -1).view(-1, 2)
    surface = torch.cat([plane, torch.zeros(len(plane), 1)], dim=1)[None]
    points = surface[:, ::7] + torch.tensor([[[0.0, 0, 0.02]], [[0.0, 0, 0.04]]])
    torch.testing.assert_close(nearest_distance(points, NeighbourSearch(surface))[:, 0], torch.tensor([0.02, 0.04]))


def test_tip_contact_pulls_near_regions_and_leaves_far_ones_alone() -> None:
    hand = open_hand()
    regions = contact_regions(hand)
    vertices = hand.v_template[None].clone().requires_grad_()
    touched = hand.v_template[regions.tips[1]].mean(0) + torch.tensor([0.0, -0.012, 0])
    surface = touched + 1e-4 * torch.eye(3)
    loss = tip_contact(vertices / 0.5, NeighbourSearch(surface[None] / 0.5), regions, 0.5, 0.02)
    assert 0.10 < loss.item() < 0.12  # five regions at the cap of 2 cm and one nearer
    (slope,) = torch.autograd.grad(loss, vertices)
    moved = slope[0].norm(dim=1).nonzero()[:, 0]
    assert len(moved) == 1
    assert moved.item() in regions.tips[1].tolist()
    assert slope[0, moved.item(), 1] > 0  # downhill is towards the surface, at lower y


def test_descent_pushes_points_out_and_leaves_others_alone() -> None:
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.05)
    grid = signed_distance_grid(torch.tensor(ball.vertices).float(), torch.tensor(ball.faces).long())
    start = torch.tensor([[0.03, 0.01, 0.0], [0.0, -0.04, 0.01], [0.08, 0.0, 0.0]])
    points = start.clone().requires_grad_()
    optimiser = torch.optim.SGD([points], lr=0.5)
    for _ in range(60):
        optimiser.zero_grad()
        penetration_loss(points, grid).backward()
        optimiser.step()
    assert (points.norm(dim=1) > 0.0485).all()
    assert torch.equal(points[2].detach(), start[2])
