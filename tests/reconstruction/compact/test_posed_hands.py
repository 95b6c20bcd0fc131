"""Neighbours on the posed hands: each point meets its own frame's hand, inside is negative."""

import pytest
import torch
from torch import Tensor

from handloom.reconstruction.compact.posed_hands import PosedHands

from ..held_box import FRAMES, MODEL, held_box


@pytest.fixture(scope="module")
def hands() -> PosedHands:
    return PosedHands(MODEL, held_box().scene_poses().hand().vertices_m)


@pytest.fixture
def somewhere() -> tuple[Tensor, Tensor]:
    """Points about the hands, frames mixed."""
    generator = torch.Generator().manual_seed(0)
    points = torch.tensor([0.0, 0.0, 0.4]) + 0.08 * torch.randn(200, 3, generator=generator)
    return points, torch.randint(FRAMES, (200,), generator=generator)


def test_neighbours_are_those_of_the_points_own_frame(hands: PosedHands, somewhere: tuple[Tensor, Tensor]) -> None:
    """Protects the one tree for all frames against mixing them: compared with every distance of the own frame."""
    points, frame = somewhere
    vertex, distance_m = hands.near(points, frame, 3)
    every = torch.linalg.vector_norm(points[:, None] - hands.vertices[frame], dim=-1)
    wanted, _ = every.topk(3, largest=False, sorted=True)
    torch.testing.assert_close(distance_m, wanted, atol=1e-6, rtol=0)
    torch.testing.assert_close(every.gather(1, vertex), wanted, atol=1e-6, rtol=0)


def test_no_points_have_no_neighbours(hands: PosedHands) -> None:
    """Protects batches in which no ray comes near a hand."""
    near = hands.near(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), 3)
    assert near[0].shape == (0, 3)
    assert hands.skinning_weights(*near).shape == (0, 16)


def test_distance_is_negative_inside(hands: PosedHands) -> None:
    """Protects the sign that proposals and the hull's carving use: 1 mm to both sides of the skin."""
    frame = torch.full((len(hands.vertices[2]),), 2)
    for step in (0.001, -0.001):
        found = hands.distance_m(hands.vertices[2] + step * hands.normals[2], frame)
        right = (found.sign() == (1 if step > 0 else -1)) & (found.abs() < 0.0011)
        assert right.float().mean() > 0.97  # where skin touches skin, the other side is nearer


def test_sphere_of_each_frame_holds_its_hand(hands: PosedHands) -> None:
    """Protects rays from being skipped: no vertex lies outside the sphere that rays are tested with."""
    distance = torch.linalg.vector_norm(hands.vertices - hands.centre_m[:, None], dim=-1)
    assert (distance <= hands.radius_m[:, None] + 1e-6).all()
    assert (hands.radius_m < 0.2).all()


def test_skinning_weights_are_the_neighbours_mean(hands: PosedHands) -> None:
    """Protects the way back to the rest pose: on a vertex its own weights, else shares that sum to one."""
    one = torch.tensor([[5], [700]]), torch.tensor([[0.0], [0.01]])
    torch.testing.assert_close(hands.skinning_weights(*one), MODEL.weights[[5, 700]])
    two = torch.tensor([[5, 700]]), torch.tensor([[0.0, 1.0]])
    share = torch.tensor([1.0, 1.0]).mul(torch.tensor([0.0, -1.0]).exp())
    wanted = (share / share.sum()) @ MODEL.weights[[5, 700]]
    torch.testing.assert_close(hands.skinning_weights(*two)[0], wanted)
