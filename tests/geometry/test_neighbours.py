"""Nearest vertices in a batch of clouds, against brute force."""

import torch

from handloom.geometry.neighbours import NeighbourSearch


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


CLOUDS = 0.1 * torch.randn(3, 778, 3, generator=generator())


def test_tree_of_a_batch_is_brute_force_in_each_cloud() -> None:
    search = NeighbourSearch(CLOUDS)
    for spread in (0.01, 50.0):  # the second call needs clouds farther apart
        points = CLOUDS[:, ::40] + spread * torch.randn(3, 20, 3, generator=generator())
        found, expected = search.nearest(points, 15), search._nearest_by_force(points, 15)
        torch.testing.assert_close(found.squared_distance, expected.squared_distance, atol=1e-6, rtol=1e-4)
        chosen = CLOUDS[torch.arange(3)[:, None, None], found.vertex]
        distance = (points[:, :, None] - chosen).square().sum(-1)
        torch.testing.assert_close(found.squared_distance, distance, atol=1e-6, rtol=1e-4)


def test_queries_are_shared_by_clouds_however_far_these_are_moved_apart() -> None:
    points = torch.randn(1, 7, 3, generator=generator())
    found = NeighbourSearch(CLOUDS).nearest(points, 1)
    assert found.vertex.shape == (3, 7, 1)
    for other in (NeighbourSearch(CLOUDS), NeighbourSearch(CLOUDS, apart=64.0)):
        assert torch.equal(found.vertex, other.nearest(points.expand(3, -1, -1), 1).vertex)
