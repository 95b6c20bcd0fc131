"""Fields: metres in, metres out; density after VolSDF; colours between 0 and 1 that know frame and normal only."""

import torch
from torch import Tensor

from handloom.geometry.voxels import node_points
from handloom.reconstruction.compact.fields import VoxelField

from .scene import small_settings

RADIUS_M = 0.05
NORMAL = torch.tensor([0.6, 0.0, 0.8])


def plane_field(seed: int = 0) -> VoxelField:
    """A plane through the cube's centre: distances in metres."""
    distance_m = (RADIUS_M * node_points(9) @ NORMAL).view(1, 9, 9, 9)
    generator = torch.Generator().manual_seed(seed)
    return VoxelField(distance_m, small_settings(), 2, generator)


def some_points(count: int = 50) -> Tensor:
    return 1.2 * torch.rand(count, 3, generator=torch.Generator().manual_seed(1)) - 0.6


def test_gradient_is_metres_per_metre() -> None:
    """Protects the eikonal term: the gradient of a true distance has length 1 whatever the cube's size is."""
    field, points = plane_field(), some_points()
    values = field.at(field.distances(RADIUS_M), points, torch.zeros(len(points), dtype=torch.long))
    torch.testing.assert_close(values.distance_m, RADIUS_M * points @ NORMAL, atol=1e-6, rtol=0)
    torch.testing.assert_close(values.gradient, NORMAL.expand_as(points), atol=1e-4, rtol=0)


def test_colour_lies_between_zero_and_one_and_each_frame_has_its_code() -> None:
    """Protects the codes that take up changing light: one frame's code leaves the other frame alone."""
    field, points = plane_field(), some_points()
    first, second = (torch.full((len(points),), frame) for frame in (0, 1))
    before = [field.at(field.distances(RADIUS_M), points, frame).colour for frame in (first, second)]
    torch.testing.assert_close(before[0], before[1])
    with torch.no_grad():
        field.codes[1] = 3.0
    after = [field.at(field.distances(RADIUS_M), points, frame).colour for frame in (first, second)]
    torch.testing.assert_close(after[0], before[0])
    assert (after[1] - before[1]).abs().amax() > 1e-3
    assert ((after[1] > 0) & (after[1] < 1)).all()


def test_the_seed_decides_all_first_values() -> None:
    """Protects repeatable trainings: nothing is drawn from torch's global state."""
    one, same, other = plane_field(4), plane_field(4), plane_field(5)
    torch.testing.assert_close(one.state_dict(), same.state_dict(), atol=0, rtol=0)
    assert not torch.equal(one.features, other.features)
    assert not torch.equal(one.layers[0].weight, other.layers[0].weight)
