"""Shapes seen from a few sides end near their SfM points, whatever a few wrong points say."""

import torch

from handloom.reconstruction.compact.point_hull import near_points


def test_cones_beyond_the_points_are_cut_and_wrong_points_do_not_matter() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(600, 3, generator=generator) * 2 - 1
    points[torch.arange(600), torch.arange(600) % 3] = 1.0
    points[:4] = torch.tensor([5.0, 0.0, 0.0])
    axis = torch.linspace(-2, 2, 41)
    queries = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).view(-1, 3)
    near = near_points(queries, points, reach=0.1)
    beyond = queries.abs().amax(1)
    assert not near[beyond > 1.15].any()
    inner = (queries.amin(1) > -0.2) & (queries.amax(1) < 0.85)
    assert near[inner].all()
    # Nothing lies beside the corner that no point shows.
    assert not near[(queries.amax(1) < -0.9)].any()
