"""Look-ups in grids are exact for linear functions; distances on them are those of shapes known in closed form."""

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from handloom.geometry.voxels import look_up, node_points, signed_distance_grid, with_gradient

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


def tensors(mesh: trimesh.Trimesh) -> tuple[Tensor, Tensor]:
    return torch.tensor(mesh.vertices, dtype=torch.float32), torch.tensor(mesh.faces, dtype=torch.long)


def random_points(count: int, extent: float) -> Tensor:
    return (torch.rand(count, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1) * extent


def test_distances_of_a_ball() -> None:
    grid = signed_distance_grid(*tensors(trimesh.creation.icosphere(subdivisions=4, radius=0.05)))
    points = random_points(500, 0.05)
    exact = points.norm(dim=1) - 0.05
    away = points.norm(dim=1) > 0.01  # trilinear values are rounded at the centre
    torch.testing.assert_close(grid.at(points)[away], exact[away], atol=5e-4, rtol=0)


@pytest.mark.parametrize("shape", ["torus", "box", "mug"])
def test_inside_is_negative_for_shapes_with_holes_and_hollows(shape: str) -> None:
    mesh = {
        "torus": lambda: trimesh.creation.torus(0.05, 0.02),
        "box": lambda: trimesh.creation.box((0.1, 0.06, 0.08)),
        "mug": lambda: trimesh.creation.annulus(0.03, 0.04, 0.1),
    }[shape]()
    points = random_points(2000, 0.07)
    grid = signed_distance_grid(*tensors(mesh))
    found = grid.at(points).numpy()
    x, y, z = points.double().numpy().T
    if shape == "torus":
        exact = np.hypot(np.hypot(x, y) - 0.05, z) - 0.02
    elif shape == "box":
        exact = np.max([np.abs(x) - 0.05, np.abs(y) - 0.03, np.abs(z) - 0.04], axis=0)
    else:
        exact = np.max([np.abs(np.hypot(x, y) - 0.035) - 0.005, np.abs(z) - 0.05], axis=0)
    clear = np.abs(exact) > 0.002
    assert ((found < 0) == (exact < 0))[clear].all()
    assert (found < 0).any()


def test_beyond_the_grid_counts_as_outside() -> None:
    grid = signed_distance_grid(*tensors(trimesh.creation.box((0.1, 0.1, 0.1))), cells=24)
    assert (grid.at(random_points(100, 5.0)) > 0).sum() == 100
