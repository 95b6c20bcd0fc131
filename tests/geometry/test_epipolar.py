"""Two cameras' rotation is found from what both see, whatever the start; where points say nothing, the start counts."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handloom.geometry.epipolar import epipolar_rotation

TRUE = Rotation.from_rotvec([0.2, -0.9, 0.1])


def rays(points: np.ndarray) -> np.ndarray:
    unit: np.ndarray = points / np.linalg.norm(points, axis=1, keepdims=True)
    return unit


def seen(count: int, noise: float, spread_m: float = 0.12) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(7)
    points = generator.normal([0, 0, 0.5], spread_m, (count, 3))
    second = TRUE.apply(points) + np.array([0.45, 0.02, 0.2])
    noisy = [rays(each) + noise * generator.normal(size=(count, 3)) for each in (points, second)]
    return rays(noisy[0]), rays(noisy[1])


def off_deg(rotation: np.ndarray) -> float:
    return float(np.degrees((Rotation.from_matrix(rotation) * TRUE.inv()).magnitude()))


@pytest.mark.parametrize("axis", [[1, 0, 0], [0, 1, 0], [0, 0, -1], [-1, 1, 0]])
def test_exact_rays_give_the_rotation_from_starts_far_off(axis: list[float]) -> None:
    start = (Rotation.from_rotvec(np.radians(25) * np.array(axis) / np.linalg.norm(axis)) * TRUE).as_matrix()
    found = epipolar_rotation(*seen(600, 0.0), start, start_deviation_deg=60.0)
    assert off_deg(found.second_from_first) < 0.5
    baseline = np.array([0.45, 0.02, 0.2]) / np.linalg.norm([0.45, 0.02, 0.2])
    assert abs(found.direction @ baseline) > 0.999


def test_noise_shows_hardly_in_the_rotation() -> None:
    start = (Rotation.from_rotvec([0.0, 0.2, 0.0]) * TRUE).as_matrix()
    found = epipolar_rotation(*seen(1500, 0.006), start)
    assert off_deg(found.second_from_first) < 2


def test_points_that_err_together_leave_the_rotation_less_sure() -> None:
    points = seen(400, 0.003)
    alone, together = (epipolar_rotation(*points, TRUE.as_matrix(), together=count) for count in (1, 21))
    assert together.deviation_deg > 2 * alone.deviation_deg > 0


def test_where_points_say_nothing_the_start_stays() -> None:
    """All points in one place: one epipolar plane, and the start is as good as any."""
    start = (Rotation.from_rotvec([0.0, 0.15, 0.0]) * TRUE).as_matrix()
    found = epipolar_rotation(*seen(60, 0.0, spread_m=1e-4), start, together=21)
    assert (
        np.degrees((Rotation.from_matrix(found.second_from_first) * Rotation.from_matrix(start).inv()).magnitude()) < 3
    )
    assert found.deviation_deg > 5
