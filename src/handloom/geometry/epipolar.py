"""The rotation between two cameras from points that both see, by their rays alone.

Rays a and b (unit, columns) of one point satisfy b . (t x R a) = 0 for cameras with x_2 = R x_1 + t; only the direction
of t can be told. Source: Longuet-Higgins, Nature 1981; the error is Sampson's first-order angle to the epipolar planes.
What is nearly known besides, such as the second view's moment, is found with them and makes them as uncertain as it is.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

Rays = Float[np.ndarray, "points 3"]
Matrix = Float[np.ndarray, "3 3"]
Values = Float[np.ndarray, " values"]
"""A rotation vector, a direction of any length, and what is nearly known, in its deviations."""
Nearly = Callable[[Float[np.ndarray, " known"]], Rays]
"""The second view's rays for values of what is nearly known, in their deviations; zeros: as it is believed to be."""
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
    known: Float[np.ndarray, " known"]
    """What was nearly known, in the deviations that it came with."""
    known_deviation: Float[np.ndarray, " known"]
    """What is left of these."""
    error_rad: float
    """Root mean square of the angles between rays and epipolar planes."""


def epipolar_rotation(
    rays_1: Rays,
    rays_2: Rays | Nearly,
    start: Matrix,
    *,
    together: int = 1,
    start_deviation_deg: float = 10.0,
    known: int = 0,
    around: bool = True,
) -> EpipolarRotation:
    """The rotation of least robust (soft L1) epipolar error, sought from `start` and, unless told, six turns about it.

    Errors of `together` points are one, as those of a hand's joints are. `start` counts as one more observation, with
    an error of `start_deviation_deg`: it decides where the points leave the rotation open. The twisted pair, which fits
    as well, is half a turn away from the solution, so the start decides between them, too.

    With `known` values that are nearly known, `rays_2` gives the second view's rays for each choice of them; they are
    found as well, each as one more observation, and the deviation holds what they leave open.
    """
    nearly: Nearly = rays_2 if callable(rays_2) else lambda _: rays_2
    believed = np.zeros(known)
    weights = np.sqrt(together) / np.concatenate([np.full(3, np.radians(start_deviation_deg)), np.ones(known)])
    turns = [np.zeros(3), *(sign * np.radians(_OTHER_STARTS_DEG) * axis for axis in np.eye(3) for sign in (-1, 1))]
    fits = []
    for turn in turns if around else turns[:1]:
        first = Rotation.from_rotvec(turn).as_matrix() @ start
        direction = _direction(rays_1, nearly(believed), first)
        values = np.concatenate([Rotation.from_matrix(first).as_rotvec(), direction, believed])
        given = (rays_1, nearly, start, weights)
        fits.append(least_squares(_residuals, values, loss="soft_l1", args=given, max_nfev=_EVALUATIONS))
    near = [fit for fit in fits if np.degrees(_turn(fit.x, start).magnitude()) < 90] or fits[:1]
    best = min(near, key=lambda fit: float(fit.cost))
    deviations = _deviations(best.x, best.jac, together)
    return EpipolarRotation(
        Rotation.from_rotvec(best.x[:3]).as_matrix(),
        best.x[3:6] / np.linalg.norm(best.x[3:6]),
        float(np.degrees(np.sqrt(np.linalg.eigvalsh(deviations[:3, :3])[-1]))) if deviations is not None else np.inf,
        best.x[6:],
        np.ones(known) if deviations is None else np.sqrt(deviations.diagonal()[5:]),
        float(np.sqrt(np.mean(_errors(best.x, rays_1, nearly(best.x[6:])) ** 2))),
    )


def _residuals(
    values: Values, rays_1: Rays, rays_2: Nearly, start: Matrix, weights: Float[np.ndarray, " weights"]
) -> Float[np.ndarray, " residuals"]:
    """The errors in soft ones, and the turn from the start and what is nearly known in their deviations."""
    prior = np.concatenate([_turn(values, start).as_rotvec(), values[6:]])
    return np.concatenate([_errors(values, rays_1, rays_2(values[6:])) / _SOFT_RAD, weights * prior])


def _errors(values: Values, rays_1: Rays, rays_2: Rays) -> Float[np.ndarray, " points"]:
    direction = values[3:6] / np.linalg.norm(values[3:6])
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


def _deviations(
    values: Values, jacobian: Float[np.ndarray, "residuals values"], together: int
) -> Float[np.ndarray, "left left"] | None:
    """The covariance of rotation vector, direction and what is nearly known, from the robust fit's Jacobian.

    The direction's length, which nothing depends on, is left out, so that it has two values. None where the points
    leave something open altogether.
    """
    length = float(np.linalg.norm(values[3:6]))
    across = np.linalg.svd(values[None, 3:6] / length)[2][1:].T
    spread = np.concatenate([jacobian[:, :3], length * jacobian[:, 3:6] @ across, jacobian[:, 6:]], axis=1)
    information = spread.T @ spread / together
    scale = np.linalg.eigvalsh(information)
    return None if scale[0] <= 1e-9 * scale[-1] else np.linalg.inv(information)
