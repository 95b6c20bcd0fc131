"""Viewing rays and the turns to them: right in cases worked out by hand, shortest, and alike for mirrored hands."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from handloom.adaptation.view_turns import crop_rays
from handloom.datasets.crops import offsets_half_widths, squares_around
from handloom.geometry.rotations import angle_deg
from handloom.geometry.viewing_rays import turns_to_rays, viewing_rays

Z = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
IDENTITY = torch.eye(3, dtype=torch.float64)


def rays(seed: int, count: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    pixels, focal = torch.rand(2, count, 2, generator=generator, dtype=torch.float64)
    return viewing_rays(1000 * pixels, 200 + 300 * focal, torch.full_like(pixels, 400.0))


def test_rays_in_cases_worked_out_by_hand() -> None:
    focal = torch.tensor([[100.0, 200.0]]).double().repeat(3, 1)
    centre = torch.tensor([[50.0, 60.0]]).double().repeat(3, 1)
    pixels = torch.tensor([[50.0, 60.0], [150.0, 60.0], [50.0, -140.0]]).double()
    half = math.sqrt(0.5)
    expected = torch.tensor([[0, 0, 1], [half, 0, half], [0, -half, half]]).double()
    torch.testing.assert_close(viewing_rays(pixels, focal, centre), expected)


def test_a_turn_to_the_right_is_about_the_y_axis() -> None:
    """x right, y down: looking right is a positive turn about y, of 45 degrees here, and half of it 22.5."""
    right = torch.tensor([[math.sqrt(0.5), 0, math.sqrt(0.5)]]).double()
    for share in (1.0, 0.5):
        c, s = math.cos(share * math.pi / 4), math.sin(share * math.pi / 4)
        torch.testing.assert_close(
            turns_to_rays(right, share)[0], torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]]).double()
        )


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_the_turn_takes_the_axis_to_the_ray_by_the_shortest_way_and_shares_add_up(seed: int) -> None:
    found = rays(seed)
    whole = turns_to_rays(found)
    torch.testing.assert_close(whole @ Z, found)
    angles = torch.rad2deg(torch.arccos(found[:, 2]))
    torch.testing.assert_close(angle_deg(whole, IDENTITY.expand_as(whole)), angles, atol=1e-5, rtol=0)
    torch.testing.assert_close(turns_to_rays(found, 0.3) @ turns_to_rays(found, 0.7), whole)


def test_no_turn_is_the_identity_exactly_and_a_ray_along_the_axis_needs_none() -> None:
    assert torch.equal(turns_to_rays(rays(0), 0.0), IDENTITY.expand(8, 3, 3))
    assert torch.equal(turns_to_rays(Z[None]), IDENTITY[None])


def test_a_mirrored_hand_lacks_the_mirrored_turn() -> None:
    """What the network sees of a left hand has the ray M d; un-mirroring its pose makes the turn Q(d) = M Q(M d) M."""
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))
    found = rays(1)
    torch.testing.assert_close(mirror @ turns_to_rays(found @ mirror, 0.4) @ mirror, turns_to_rays(found, 0.4))


def test_a_crops_ray_is_that_of_its_centre_in_the_whole_image() -> None:
    """Whatever the hand's side: crops are cut before they are mirrored, and only their places are kept."""
    squares = squares_around(np.array([[500.0, 300, 600, 420], [20, 30, 90, 80]]))
    found = crop_rays(offsets_half_widths(squares, np.array([[640.0, 480], [640, 480]])), 90.0)
    centre = squares.corner_px + squares.side_px[:, None] / 2
    expected = np.concatenate([(centre - [320, 240]) / 320, np.ones((2, 1))], axis=1)  # f = w / 2 at 90 degrees
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    assert np.degrees(np.arccos(expected[:, 2])) == pytest.approx([39, 45], abs=3)
