"""Look-ups in voxel grids are exact for linear functions, so that a grid's values mean what its nodes say."""

import pytest
import torch
from torch import Tensor

from handloom.reconstruction.compact.voxels import look_up, node_points, refined, roughness, with_gradient

CELLS = 7
SLOPE = torch.tensor([0.3, -0.7, 1.1])


def linear(points: Tensor) -> Tensor:
    return points @ SLOPE + 0.2


def linear_volume(cells: int = CELLS) -> Tensor:
    return linear(node_points(cells)).view(1, cells, cells, cells)


@pytest.fixture
def points() -> Tensor:
    return 2 * torch.rand(200, 3, generator=torch.Generator().manual_seed(1)) - 1


def test_look_up_reproduces_a_linear_function(points: Tensor) -> None:
    """Protects the order of the axes and the place of the nodes."""
    torch.testing.assert_close(look_up(linear_volume(), points)[:, 0], linear(points), atol=1e-5, rtol=0)


def test_look_up_of_nodes_is_their_own_value() -> None:
    """Protects the match of `node_points` and a flattened volume, with several channels that must not mix."""
    volume = torch.randn(3, CELLS, CELLS, CELLS, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(look_up(volume, node_points(CELLS)), volume.view(3, -1).mT, atol=1e-5, rtol=0)


def test_points_outside_take_the_value_of_the_nearest_surface_point(points: Tensor) -> None:
    """Protects the signed distance outside the cube from falling to zero, which would be a surface."""
    far = 3 * points
    torch.testing.assert_close(look_up(linear_volume(), far)[:, 0], linear(far.clamp(-1, 1)), atol=1e-5, rtol=0)


def test_no_points_give_no_values() -> None:
    """Protects batches whose rays all miss."""
    assert look_up(linear_volume(), torch.zeros(0, 3)).shape == (0, 1)


def test_gradient_volume_of_a_plane_is_its_normal(points: Tensor) -> None:
    """Protects normals: central differences per unit of the cube, along x, y and z in this order."""
    found = look_up(with_gradient(linear_volume()), 0.6 * points)
    torch.testing.assert_close(found[:, 0], linear(0.6 * points), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[:, 1:], SLOPE.expand(200, 3), atol=1e-4, rtol=0)


def test_refined_grid_is_the_same_function(points: Tensor) -> None:
    """Protects the coarse-to-fine schedule: going on with more cells must not move the surface."""
    coarse = torch.randn(1, 5, 5, 5, generator=torch.Generator().manual_seed(3))
    fine = refined(coarse, 9)  # every old node is a node again
    assert fine.shape == (1, 9, 9, 9)
    torch.testing.assert_close(look_up(fine, points), look_up(coarse, points), atol=1e-5, rtol=0)


def test_roughness_is_zero_for_a_plane_and_known_for_a_parabola() -> None:
    """Protects the smoothness prior: flat faces cost nothing, curvature costs its square."""
    index = torch.arange(CELLS).float()
    parabola = (index**2).view(1, CELLS, 1, 1).expand(1, CELLS, CELLS, CELLS)
    assert float(roughness(linear_volume())) < 1e-9
    torch.testing.assert_close(roughness(parabola), torch.tensor(4.0))
