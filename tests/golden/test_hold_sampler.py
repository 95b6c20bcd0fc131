"""HOLD's rays and the samples along them against numbers of the released code."""

import re

import numpy as np
import pytest
import torch
from torch import Tensor

from handloom.reconstruction.holdnet.rays import rays_through_pixels, sphere_exit
from handloom.reconstruction.holdnet.rendering import Background, background_weights, inverse_sphere_points
from handloom.reconstruction.holdnet.sampler import SMALLEST_BETA, error_bounded_depths, uniform_depths
from handloom.runtime.config.fields import HoldNetSettings

from .hold_files import hold_json, hold_tensors, recipe_value, weight_seed

SIZES = HoldNetSettings()
Arrays = dict[str, Tensor]


def close(actual: Tensor, expected: Tensor, *, atol: float, rtol: float = 1e-4) -> None:
    np.testing.assert_allclose(actual.detach().numpy(), expected.numpy(), atol=atol, rtol=rtol)


@pytest.fixture(scope="module")
def c05() -> Arrays:
    return hold_tensors("c05_sampler")


def test_rays_and_sphere(c05: Arrays) -> None:
    far = sphere_exit(c05["cam_loc"], c05["ray_dirs"])
    close(far, c05["sphere_near_far_R6"][:, 1], atol=1e-5)
    assert (c05["sphere_near_far_R6"][:, 0] == 0).all()
    close(uniform_depths(torch.zeros_like(far), far, 128), c05["uniform128_z"], atol=1e-5)


@pytest.mark.parametrize("sequence", ["fixed", "auto"])
def test_directions_through_pixels(sequence: str) -> None:
    """The loader's rays, from its own cameras."""
    load = hold_tensors("c09_load")
    uv = load[f"{sequence}_uv"].float()
    intrinsics, world_from_cam = (load[f"{sequence}_{name}"].float() for name in ("intrinsics", "cam2world"))
    origins, directions = rays_through_pixels(uv, intrinsics, world_from_cam)
    close(directions, load[f"{sequence}_ray_dirs"].reshape(directions.shape), atol=1e-5)
    wanted = load[f"{sequence}_cam_loc"].reshape(len(origins), -1, 3)
    close(origins[:, None].expand_as(wanted), wanted, atol=1e-5)


def test_error_bounded_samples_of_a_sphere(c05: Arrays) -> None:
    """At least 99 % of the depths within 1e-3, their median within 1e-5, and the number of rounds exact."""
    origins, directions = c05["cam_loc"][:, None], c05["ray_dirs"][:, None]
    far = sphere_exit(c05["cam_loc"], c05["ray_dirs"])
    names = [name.removesuffix("_z") for name in c05 if re.fullmatch(r"r[\d.]+_beta[\d.]+_z", name)]
    assert len(names) >= 6
    for name in names:
        radius, beta = (float(number) for number in re.findall(r"[\d.]+", name))
        sampling = error_bounded_depths(
            lambda depths, radius=radius: (origins + depths[..., None] * directions).norm(dim=-1) - radius,
            torch.tensor(abs(beta)) + SMALLEST_BETA,
            far,
            SIZES.sampler,
        )
        assert sampling.rounds == int(c05[f"{name}_rounds"]), name
        error = (sampling.depths - c05[f"{name}_z"]).abs()
        assert (error <= 1e-3).float().mean() >= 0.99, name
        assert error.median() <= 1e-5, name


def test_background_points_weights_and_colour(c05: Arrays) -> None:
    frames = int(hold_json("c01_hold_keys")["n_frames"])
    background = Background(SIZES.background, frames=frames, frame_code=32)
    with torch.no_grad():
        for name, parameter in background.named_parameters():
            parameter.copy_(recipe_value(weight_seed(), f"background.{name}", tuple(parameter.shape)))
    inverse = background.inverse_radii(c05["cam_loc"][:, 0])
    close(inverse, c05["bg_inv_z"], atol=1e-6)
    descending = inverse.flip(1)
    points = inverse_sphere_points(c05["cam_loc"], c05["ray_dirs"], descending)
    close(points, c05["bg_points4"], atol=1e-5)
    close(background_weights(c05["bg_sdf_like"][..., 0], descending), c05["bg_weights"], atol=1e-5)
    colour = background(c05["cam_loc"], c05["ray_dirs"], torch.ones(len(points), dtype=torch.long))
    close(colour, c05["bg_rgb_frame1"], atol=1e-4)
