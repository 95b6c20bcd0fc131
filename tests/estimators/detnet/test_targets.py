"""Targets and loss against their definitions, written out the slow way."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from handloom.estimators.detnet.network import DetNetMaps
from handloom.estimators.detnet.targets import (
    PARENTS,
    LossWeights,
    delta_target,
    detnet_loss,
    heat_map_target,
    key_point_heat_maps,
    location_target,
)
from handloom.runtime.seeds import torch_generator


def hand() -> torch.Tensor:
    return torch.randn(3, 21, 3, generator=torch_generator(5), dtype=torch.float64)


def test_location_is_relative_to_the_root_and_in_bone_lengths():
    target = location_target(hand(), 9)
    assert (target[:, 9] == 0).all()
    torch.testing.assert_close(torch.linalg.vector_norm(target[:, 0] - target[:, 9], dim=-1), torch.ones(3).double())


@pytest.mark.parametrize("root_joint", [0, 9])
def test_location_ignores_position_and_scale(root_joint):
    joints = hand()
    torch.testing.assert_close(location_target(joints * 1000 + 7, root_joint), location_target(joints, root_joint))


def test_delta_points_from_parent_to_joint():
    joints, target = hand(), delta_target(hand())
    assert (target[:, 0] == 0).all()
    for joint, parent in enumerate(PARENTS[1:], start=1):
        bone = joints[:, joint] - joints[:, parent]
        torch.testing.assert_close(target[:, joint] * bone.norm(dim=-1, keepdim=True), bone)


@given(st.integers(-8, 24), st.integers(-8, 24))
def test_heat_map_of_a_cell(x, y):
    maps, veil = heat_map_target(torch.tensor([x, y]), 16)
    expected = torch.zeros(16, 16)
    for row in range(max(y - 3, 0), min(y + 4, 16)):
        for column in range(max(x - 3, 0), min(x + 4, 16)):
            expected[row, column] = math.exp(-((row - y) ** 2 + (column - x) ** 2) / 2)
    torch.testing.assert_close(maps, expected)
    assert veil == float(-4 <= x <= 18 and -4 <= y <= 18)


def test_key_points_are_truncated_at_input_pixels_and_cells():
    # 256-pixel crop -> 64-pixel input -> 16 cells: 16 crop pixels make a cell
    keypoints_256px = torch.tensor([[0.0, 15.9], [16.0, 255.0], [-3.0, 100.0]])
    maps, veil = key_point_heat_maps(keypoints_256px, 64, 16)
    assert [maps[0, 0, 0], maps[1, 15, 1], maps[2, 6, 0]] == [1, 1, 1]
    assert veil.tolist() == [1, 1, 1]


def loss_inputs(samples: int = 2, cells: int = 3) -> tuple[torch.Tensor, ...]:
    generator = torch_generator(6)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    heat = torch.rand(samples, 21, cells, cells, generator=generator, dtype=torch.float64)
    maps = normal(samples, 21, 3, cells, cells)
    return heat, maps, maps.flip(0) + 1, heat.flip(0), normal(samples, 21, 3), normal(samples, 21, 3)


def test_loss_is_its_formula():
    heat, delta, location, heat_target, delta_goal, location_goal = loss_inputs()
    veil = torch.ones(2, 21, dtype=torch.float64)
    veil[0, 4] = 0
    flag_3d = torch.tensor([0.0, 1.0], dtype=torch.float64)
    loss = detnet_loss(
        DetNetMaps(heat, delta, location),
        heat_target,
        delta_goal,
        location_goal,
        flag_3d=flag_3d,
        veil=veil,
        weights=LossWeights(3, 5, 7),
    )
    heat_term = sum(0.5 * ((veil[:, j, None, None] * (heat - heat_target)[:, j]) ** 2).mean() for j in range(21))
    delta_term = ((delta[1] - delta_goal[1][..., None, None]) * heat_target[1][:, None]).square().sum().sqrt()
    location_term = ((location[1] - location_goal[1][..., None, None]) * heat_target[1][:, None]).square().sum().sqrt()
    torch.testing.assert_close(loss.heat, heat_term)
    torch.testing.assert_close(loss.delta, delta_term)
    torch.testing.assert_close(loss.location, location_term)
    torch.testing.assert_close(loss.total, 3 * heat_term + 5 * delta_term + 7 * location_term)


def test_gradient_of_the_loss():
    heat, delta, location, *targets = loss_inputs(cells=2)
    flag_3d, veil = torch.ones(2, dtype=torch.float64), torch.ones(2, 21, dtype=torch.float64)

    def total(heat: torch.Tensor, delta: torch.Tensor, location: torch.Tensor) -> torch.Tensor:
        return detnet_loss(DetNetMaps(heat, delta, location), *targets, flag_3d=flag_3d, veil=veil).total

    leaves = [values.clone().requires_grad_() for values in (heat, delta, location)]
    assert torch.autograd.gradcheck(total, leaves, fast_mode=True)


def test_perfect_maps_have_zero_loss_and_finite_gradients():
    *_, heat, delta_goal, location_goal = loss_inputs()
    tiled = [goal[..., None, None].expand(-1, -1, -1, 3, 3) for goal in (delta_goal, location_goal)]
    maps = DetNetMaps(*(values.clone().requires_grad_() for values in (heat, *tiled)))
    flag_3d, veil = torch.ones(2, dtype=torch.float64), torch.ones(2, 21, dtype=torch.float64)
    loss = detnet_loss(maps, heat, delta_goal, location_goal, flag_3d=flag_3d, veil=veil)
    assert loss.total == 0
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss.total, maps))
