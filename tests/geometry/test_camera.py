"""Pixels, rays and the turns to them: right in cases worked out by hand, shortest, and alike for mirrored hands."""

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from handloom.geometry.camera import nominal_rays, pixel_rays, project, turns_to_rays, viewing_rays
from handloom.geometry.rotations import angle_deg

Z = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
IDENTITY = torch.eye(3, dtype=torch.float64)
CAMERA = torch.tensor([[100.0, 2.0, 40.0], [0.0, 200.0, 30.0], [0.0, 0.0, 1.0]], dtype=torch.float64)


def rays(seed: int, count: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    pixels, focal = torch.rand(2, count, 2, generator=generator, dtype=torch.float64)
    return viewing_rays(1000 * pixels, 200 + 300 * focal, torch.full_like(pixels, 400.0))


def test_a_point_on_a_pixels_ray_projects_to_the_pixel() -> None:
    """In torch and NumPy alike, with skew, and with one camera per frame."""
    pixels = torch.tensor([[0.0, 0.0], [12.5, 50.0], [40.0, 30.0]], dtype=torch.float64)
    found = pixel_rays(pixels, CAMERA)
    torch.testing.assert_close(found[:, 2], torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(found[2], Z)
    points = torch.tensor([[0.4], [2.0], [7.0]], dtype=torch.float64) * found
    torch.testing.assert_close(project(points, CAMERA), pixels, atol=1e-12, rtol=0)
    np.testing.assert_allclose(project(points.numpy(), CAMERA.numpy()), pixels.numpy(), atol=1e-12)
    both = project(points[None].repeat(2, 1, 1), CAMERA[None].repeat(2, 1, 1))
    torch.testing.assert_close(both[1], pixels, atol=1e-12, rtol=0)


def test_points_too_near_are_divided_by_the_least_depth() -> None:
    points = torch.tensor([[0.1, 0.2, 2.0], [0.1, 0.2, 0.001], [0.1, 0.2, -3.0]], dtype=torch.float64)
    found = project(points, CAMERA, 0.5)
    torch.testing.assert_close(found[0], project(points[0], CAMERA))
    torch.testing.assert_close(found[1:], (points[1:] @ CAMERA.T)[:, :2] / 0.5)


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


def test_a_point_s_nominal_ray_is_that_of_its_offset_from_the_picture_s_centre() -> None:
    """At 90 degrees the focal length is half of the width, vertically too."""
    found = nominal_rays(np.array([[320.0, 240.0], [640.0, 240.0], [320.0, 560.0]]), (640, 480), 90.0)
    half = math.sqrt(0.5)
    np.testing.assert_allclose(found, [[0, 0, 1], [half, 0, half], [0, half, half]], atol=1e-12)
