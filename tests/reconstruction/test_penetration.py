"""Signed distances of shapes known in closed form, and points that descend out of an object."""

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from handloom.reconstruction.penetration import into_object, penetration_loss, signed_distance_grid
from handloom.runtime.errors import InputError


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


def test_descent_pushes_points_out_and_leaves_others_alone() -> None:
    grid = signed_distance_grid(*tensors(trimesh.creation.icosphere(subdivisions=3, radius=0.05)))
    start = torch.tensor([[0.03, 0.01, 0.0], [0.0, -0.04, 0.01], [0.08, 0.0, 0.0]])
    points = start.clone().requires_grad_()
    optimiser = torch.optim.SGD([points], lr=0.5)
    for _ in range(60):
        optimiser.zero_grad()
        penetration_loss(points, grid).backward()
        optimiser.step()
    assert (points.norm(dim=1) > 0.0485).all()
    assert torch.equal(points[2].detach(), start[2])


def test_camera_points_come_into_the_object_s_frame() -> None:
    turn = torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]])
    shift = torch.tensor([[0.1, 0.2, 0.3]])
    inside = random_points(5, 0.1)[None]
    torch.testing.assert_close(into_object(2 * inside @ turn.mT + shift, turn, shift, 2.0), inside)


def test_broken_meshes_are_refused() -> None:
    vertices, faces = tensors(trimesh.creation.box((1, 1, 1)))
    with pytest.raises(InputError, match="not finite"):
        signed_distance_grid(torch.where(vertices > 0, torch.nan, vertices), faces)
    with pytest.raises(InputError, match="0 faces"):
        signed_distance_grid(vertices, faces[:0])
