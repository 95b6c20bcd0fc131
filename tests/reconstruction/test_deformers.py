"""Deformers: there and back, Jacobians against autograd, neighbours against brute force, gradients to poses."""

import pytest
import roma
import torch
from torch import Tensor

from handloom.hand.open_hand import open_hand
from handloom.reconstruction.deformers import (
    HandDeformer,
    ObjectDeformer,
    blend_bones,
    inverse3,
    object_transforms,
    query_skin_weights,
    world_normals,
)
from handloom.reconstruction.hand_server import PosedHand, canonical_hand, pose_hand
from handloom.reconstruction.neighbours import NeighbourSearch

MODEL = open_hand()
SCALE = 4.7


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def posed_hand(pose: Tensor | None = None) -> PosedHand:
    random = generator()
    pose = 0.3 * torch.randn(3, 16, 3, generator=random) if pose is None else pose
    return pose_hand(
        MODEL,
        pose_rotvec=pose,
        shape=torch.zeros(3, 10),
        translation_m=0.3 * torch.randn(3, 3, generator=random),
        scene_scale=SCALE,
    )


@pytest.fixture(scope="module")
def hand() -> PosedHand:
    return posed_hand()


@pytest.fixture(scope="module")
def deformer() -> HandDeformer:
    return HandDeformer(canonical_hand(MODEL, torch.zeros(10)).vertices[0], MODEL.weights)


class TestNeighbours:
    def test_tree_of_a_batch_is_brute_force_in_each_cloud(self, hand: PosedHand) -> None:
        search = NeighbourSearch(hand.vertices)
        for spread in (0.01, 50.0):  # the second call needs clouds farther apart
            points = hand.vertices[:, ::40] + spread * torch.randn(3, 41, 3, generator=generator())
            found, expected = search.nearest(points, 15), search._nearest_by_force(points, 15)
            torch.testing.assert_close(found.squared_distance, expected.squared_distance, atol=1e-6, rtol=1e-4)
            chosen = hand.vertices[torch.arange(3)[:, None, None], found.vertex]
            distance = (points[:, :, None] - chosen).square().sum(-1)
            torch.testing.assert_close(found.squared_distance, distance, atol=1e-6, rtol=1e-4)

    def test_queries_are_shared_by_clouds(self, hand: PosedHand) -> None:
        points = torch.randn(1, 7, 3, generator=generator())
        found = NeighbourSearch(hand.vertices).nearest(points, 1)
        assert found.vertex.shape == (3, 7, 1)
        assert torch.equal(found.vertex, NeighbourSearch(hand.vertices).nearest(points.expand(3, -1, -1), 1).vertex)


class TestHandDeformer:
    def test_weights_are_positive_and_sum_to_one_near_and_far(self, hand: PosedHand) -> None:
        points = torch.cat([hand.vertices[:, :50], torch.full((3, 2, 3), 40.0)], dim=1)
        weights, nearest = query_skin_weights(NeighbourSearch(hand.vertices), MODEL.weights, points)
        torch.testing.assert_close(weights.sum(-1), torch.ones(3, 52), atol=1e-5, rtol=0)
        assert bool((weights >= 0).all())
        assert bool((nearest[:, :50] < 1e-6).all())
        assert bool((nearest[:, 50:] > 30).all())

    def test_same_weights_lead_there_and_back(self, hand: PosedHand, deformer: HandDeformer) -> None:
        points = hand.vertices[:, ::8] + 0.02 * torch.randn(3, 202, 3, generator=generator())
        canonical = deformer.to_canonical(points, hand)
        weights, _ = query_skin_weights(NeighbourSearch(hand.vertices), MODEL.weights, points)
        blend = blend_bones(weights, hand.posed_from_canonical)
        back = (blend[..., :3, :3] @ canonical.points[..., None]).squeeze(-1) + blend[..., :3, 3]
        torch.testing.assert_close(back, points, atol=1e-4, rtol=0)

    def test_posed_vertices_come_from_the_canonical_hand(self, hand: PosedHand, deformer: HandDeformer) -> None:
        """Blends of 15 neighbours differ from a vertex's own by little, but where fingers touch in this pose."""
        canonical = deformer.to_canonical(hand.vertices, hand).points
        error_m = (canonical - hand.canonical_vertices_m).norm(dim=-1)
        assert float(error_m.median()) < 5e-4
        assert float(error_m.quantile(0.9)) < 0.003

    def test_jacobian_is_that_of_autograd(self, hand: PosedHand, deformer: HandDeformer) -> None:
        points = hand.canonical_vertices_m[:, ::200] + 0.003
        found = deformer.to_world(points, hand).jacobian

        def world(moved: Tensor) -> Tensor:
            return deformer.to_world(moved, hand).points.sum((0, 1))

        def canonical(moved: Tensor) -> Tensor:
            return deformer.to_canonical(moved, hand).points.sum((0, 1))

        autograd = torch.autograd.functional.jacobian(world, points).permute(1, 2, 0, 3)
        torch.testing.assert_close(found, autograd, atol=1e-4, rtol=0)
        there = deformer.to_world(points, hand).points
        autograd = torch.autograd.functional.jacobian(canonical, there).permute(1, 2, 0, 3)
        torch.testing.assert_close(
            inverse3(deformer.to_canonical(there, hand).jacobian), autograd, atol=1e-4, rtol=1e-4
        )

    def test_gradients_reach_the_pose(self, deformer: HandDeformer) -> None:
        pose = (0.2 * torch.randn(3, 16, 3, generator=generator())).requires_grad_()
        moved = posed_hand(pose)
        points = moved.vertices.detach()[:, ::100]
        deformer.to_canonical(points, moved).points.square().sum().backward()
        assert pose.grad is not None
        assert bool(torch.isfinite(pose.grad).all())
        assert bool((pose.grad[:, 0].abs() > 0).all())

    def test_a_search_may_be_shared(self, hand: PosedHand, deformer: HandDeformer) -> None:
        points = hand.vertices[:, :9]
        shared = deformer.to_canonical(points, hand, NeighbourSearch(hand.vertices))
        assert torch.equal(shared.points, deformer.to_canonical(points, hand).points)


class TestObjectDeformer:
    def transforms(self, rotvec: Tensor) -> Tensor:
        normalised = torch.eye(4)
        normalised[:3, :3] *= 0.4
        normalised[:3, 3] = torch.tensor([0.1, -0.2, 0.3])
        return object_transforms(
            rotvec=rotvec,
            translation_m=torch.tensor([[0.0, 0.1, 0.2], [0.3, 0.0, 0.0]]),
            object_scale=0.04,
            normalised_from_sfm=normalised,
            scene_scale=SCALE,
        )

    def test_there_and_back(self) -> None:
        random = generator()
        maps = self.transforms(torch.randn(2, 3, generator=random))
        points = torch.randn(2, 30, 3, generator=random)
        there = ObjectDeformer().to_world(points, maps)
        back = ObjectDeformer().to_canonical(there.points, maps)
        torch.testing.assert_close(back.points, points, atol=1e-4, rtol=0)
        assert torch.equal(back.jacobian, there.jacobian)
        assert bool(torch.isinf(there.nearest).all())

    def test_it_is_a_similarity_with_all_three_scales(self) -> None:
        maps = self.transforms(torch.randn(2, 3, generator=generator()))
        linear = maps[:, :3, :3]
        expected = (SCALE * 0.04 / 0.4) ** 2 * torch.eye(3)
        torch.testing.assert_close(linear @ linear.mT, expected.expand(2, 3, 3), atol=1e-5, rtol=1e-4)
        assert bool((torch.linalg.det(linear) > 0).all())


class TestNormals:
    def test_normals_turn_with_the_object_and_have_length_one(self) -> None:
        random = generator()
        rotvec = torch.randn(1, 3, generator=random)
        rotation = roma.rotvec_to_rotmat(rotvec)
        gradient = torch.randn(1, 20, 3, generator=random)
        jacobian = (3.0 * rotation)[:, None].expand(-1, 20, -1, -1)
        expected = torch.nn.functional.normalize(gradient @ rotation.mT, dim=-1)
        torch.testing.assert_close(world_normals(gradient, jacobian), expected, atol=1e-5, rtol=0)

    def test_a_stretched_plane_keeps_its_perpendicular(self) -> None:
        """A normal is no direction: it turns by the inverse transpose."""
        jacobian = torch.diag(torch.tensor([2.0, 1.0, 1.0]))[None, None]
        gradient = torch.tensor([[[1.0, 1.0, 0.0]]])
        within = (jacobian @ torch.tensor([1.0, -1.0, 0.0])[:, None]).squeeze(-1)
        normal = world_normals(gradient, jacobian)
        assert float((normal * within).sum()) == pytest.approx(0, abs=1e-6)

    def test_inverse_of_matrices(self) -> None:
        matrices = torch.randn(50, 3, 3, generator=generator()).double() + 2 * torch.eye(3)
        torch.testing.assert_close(inverse3(matrices), torch.linalg.inv(matrices), atol=1e-7, rtol=1e-7)
