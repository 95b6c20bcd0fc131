"""The rotation between two cameras from points that both see, by their rays alone.

Rays a and b (unit, columns) of one point satisfy b . (t x R a) = 0 for cameras with x_2 = R x_1 + t; only the direction
of t can be told. Source: Longuet-Higgins, Nature 1981; the error is Sampson's first-order angle to the epipolar planes.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

Rays = Float[np.ndarray, "points 3"]
Matrix = Float[np.ndarray, "3 3"]
Values = Float[np.ndarray, "6"]
"""A rotation vector and a direction of any length."""
_SOFT_RAD = 0.006
"""Errors beyond this count less and less (about 2 pixels of a picture 640 pixels wide)."""
_OTHER_STARTS_DEG = 25.0
"""How far the six turns about the start lie from it."""
_EVALUATIONS = 60
"""Most of each fit; those from a good start end far earlier."""


class EpipolarRotation(NamedTuple):
    """What points tell about two cameras."""

    second_from_first: Matrix
    direction: Float[np.ndarray, "3"]
    """Of the first camera's centre as the second sees it: unit, its sign undecided."""
    deviation_deg: float
    """Of the rotation: its largest standard deviation."""


def epipolar_rotation(
    rays_1: Rays, rays_2: Rays, start: Matrix, *, together: int = 1, start_deviation_deg: float = 10.0
) -> EpipolarRotation:
    """The rotation of least robust (soft L1) epipolar error, sought from `start` and from six turns about it.

    Errors of `together` points are one, as those of a hand's joints are. `start` counts as one more observation, with
    an error of `start_deviation_deg`: it decides where the points leave the rotation open. The twisted pair, which fits
    as well, is half a turn away from the solution, so the start decides between them, too.
    """
    weight = float(np.sqrt(together) / np.radians(start_deviation_deg))
    turns = [np.zeros(3), *(sign * np.radians(_OTHER_STARTS_DEG) * axis for axis in np.eye(3) for sign in (-1, 1))]
    fits = []
    for turn in turns:
        first = Rotation.from_rotvec(turn).as_matrix() @ start
        values = np.concatenate([Rotation.from_matrix(first).as_rotvec(), _direction(rays_1, rays_2, first)])
        given = (rays_1, rays_2, start, weight)
        fits.append(least_squares(_residuals, values, loss="soft_l1", args=given, max_nfev=_EVALUATIONS))
    near = [fit for fit in fits if np.degrees(_turn(fit.x, start).magnitude()) < 90] or fits[:1]
    best = min(near, key=lambda fit: float(fit.cost))
    return EpipolarRotation(
        Rotation.from_rotvec(best.x[:3]).as_matrix(),
        best.x[3:] / np.linalg.norm(best.x[3:]),
        _deviation_deg(best.jac, together),
    )


def _residuals(
    values: Values, rays_1: Rays, rays_2: Rays, start: Matrix, weight: float
) -> Float[np.ndarray, " residuals"]:
    """The errors in soft ones, and the turn from the start in its deviations."""
    return np.concatenate([_errors(values, rays_1, rays_2) / _SOFT_RAD, weight * _turn(values, start).as_rotvec()])


def _errors(values: Values, rays_1: Rays, rays_2: Rays) -> Float[np.ndarray, " points"]:
    direction = values[3:] / np.linalg.norm(values[3:])
    across = np.array(
        [[0, -direction[2], direction[1]], [direction[2], 0, -direction[0]], [-direction[1], direction[0], 0]]
    )
    essential = across @ Rotation.from_rotvec(values[:3]).as_matrix()
    normal_2, normal_1 = rays_1 @ essential.T, rays_2 @ essential
    product = (rays_2 * normal_2).sum(1)
    # Of unit rays, only the parts of the normals across the ray turn it towards the plane.
    across_squared = (normal_1**2).sum(1) + (normal_2**2).sum(1) - 2 * product**2
    errors: Float[np.ndarray, " points"] = product / np.sqrt(np.maximum(across_squared, 1e-12))
    return errors


def _direction(rays_1: Rays, rays_2: Rays, rotation: Matrix) -> Float[np.ndarray, "3"]:
    """The direction most nearly in all epipolar planes, if the rotation is right."""
    normals = np.cross(rays_2, rays_1 @ rotation.T)
    direction: Float[np.ndarray, "3"] = np.linalg.svd(normals, full_matrices=False)[2][-1]
    return direction


def _turn(values: Values, start: Matrix) -> Rotation:
    """From the start to the values' rotation."""
    return Rotation.from_rotvec(values[:3]) * Rotation.from_matrix(start).inv()


def _deviation_deg(jacobian: Float[np.ndarray, "points 6"], together: int) -> float:
    """From the robust fit's Jacobian, the direction's length left out."""
    information = jacobian.T @ jacobian / together
    scale, vectors = np.linalg.eigh(information)
    # The least eigenvalue is the direction's length, which nothing depends on.
    if scale[1] <= 1e-9 * scale[-1]:
        return float("inf")
    covariance = (vectors[:3, 1:] / scale[1:]) @ vectors[:3, 1:].T
    return float(np.degrees(np.sqrt(np.linalg.eigvalsh(covariance)[-1])))
