"""The clocks of two views: how the second one's time follows from the first's, found below a frame.

    t_right = offset + rate t_left,  both counted from the views' first frames.

Poses tell it roughly and need no calibration (`pairing`). Key points tell it sharply: between frames they are
interpolated, and the clock of least epipolar error is found together with the cameras' rotation. What the hand's motion
leaves open of the one is in the deviation of the other.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse.linalg
from jaxtyping import Float, Int
from scipy.interpolate import CubicSpline

from handloom.estimators.hands.found import FoundHands
from handloom.geometry.epipolar import EpipolarRotation, epipolar_rotation
from handloom.hand.joints import JOINT_COUNT

Times = Float[np.ndarray, "*times"]
Clocks = tuple[Float[np.ndarray, " left"], Float[np.ndarray, " right"]]
"""Times of both views' frames, each from its first one."""
Hands = tuple[FoundHands, FoundHands]
Rows = tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]
"""Frames of the left and of the right view that belong together."""
_STIFFNESSES = np.logspace(-4, 4, 25)
"""Of a track's smoothing spline, in cubed frame intervals; the least nearly interpolates."""
_FEWEST_SMOOTHED, _MOST_VALIDATED = 8, 300
"""Frames below which a track is interpolated, and most that its stiffness is found with."""
LARGEST_ERROR_PERCENT = 10.0
"""Of the hand's own angle; with more, the views hardly show the same points."""
OFFSET_DEVIATION_S, RATE_DEVIATION = 0.05, 0.01
"""How well a clock is known before key points are asked: a frame or two, and a rate that is not quite as stamped."""


class Clock(NamedTuple):
    """t_right = `offset_s` + `rate` t_left."""

    offset_s: float
    rate: float = 1.0

    def right(self, left_s: Times) -> Times:
        """Times of the right view at the left view's."""
        return self.offset_s + self.rate * left_s

    def left(self, right_s: Times) -> Times:
        """Times of the left view at the right view's."""
        return (right_s - self.offset_s) / self.rate


class ClockFit(NamedTuple):
    """The clock and the rotation of least epipolar error."""

    clock: Clock
    offset_deviation_s: float
    """In the middle of the footage."""
    rate_deviation: float
    rotation: EpipolarRotation
    error_percent: float
    """The epipolar error, of the median angle between the hand's farthest key points in the left view."""


def smooth_track(times_s: Float[np.ndarray, " frames"], values: Float[np.ndarray, "frames 21 3"]) -> CubicSpline:
    """The smoothing spline of values over time, as smooth as generalised cross-validation finds best.

    Interpolated noise is less between frames than at them, so that clocks would be drawn there, and it looks like
    motion, which would tell time. Source: Craven and Wahba 1979, by the equations of Reinsch 1967. SciPy's
    `make_smoothing_spline` finds a stiffness for each of the 63 numbers apart, which takes some 40 times as long.
    """
    count = len(times_s)
    if count < _FEWEST_SMOOTHED:
        return CubicSpline(times_s, values)
    flat, steps = values.reshape(count, -1), np.diff(times_s) / np.median(np.diff(times_s))

    def equations(steps: Float[np.ndarray, " steps"]) -> tuple[scipy.sparse.csc_array, scipy.sparse.csc_array]:
        size = len(steps) - 1
        before, after = 1 / steps[:-1], 1 / steps[1:]
        bends = scipy.sparse.diags_array([before, -before - after, after], offsets=[0, -1, -2], shape=(size + 2, size))
        sides = [steps[1:-1] / 6, (steps[:-1] + steps[1:]) / 3, steps[1:-1] / 6]
        return bends.tocsc(), scipy.sparse.diags_array(sides, offsets=[-1, 0, 1]).tocsc()

    few = min(count, _MOST_VALIDATED)
    bends, masses = (part.toarray() for part in equations(steps[: few - 1]))
    scale, vectors = np.linalg.eigh(bends @ np.linalg.solve(masses, bends.T))
    parts = (vectors.T @ flat[:few]) ** 2
    kept = 1 / (1 + _STIFFNESSES[:, None] * scale.clip(min=0))
    left = ((1 - kept) ** 2 @ parts).sum(1) / (few - kept.sum(1)) ** 2
    stiffness = float(_STIFFNESSES[left.argmin()])
    bends, masses = equations(steps)
    curvature = scipy.sparse.linalg.spsolve(masses + stiffness * (bends.T @ bends), bends.T @ flat)
    return CubicSpline(times_s, (flat - stiffness * (bends @ curvature)).reshape(values.shape), bc_type="natural")


def fit_clock(
    hands: Hands,
    times: Clocks,
    rows: Rows,
    believed: Clock,
    start: Float[np.ndarray, "3 3"],
    *,
    focal_scales: tuple[float, float] = (1.0, 1.0),
    around: bool = False,
) -> ClockFit:
    """The clock near `believed`, and the rotation near `start`, that leave the least epipolar error of key points.

    The left view's key points are taken at the frames of `rows`, the right view's between its frames. A hand's joints
    err together, so they count as one observation. `focal_scales` are factors on both cameras' focal lengths.
    """
    left, right = hands
    left_s = times[0][rows[0]]
    middle_s = left_s.mean()
    seen_left = left.rays_of(rows[0], focal_scales[0])
    rays_1 = seen_left.reshape(-1, 3)
    seen = np.flatnonzero(right.found)
    between = smooth_track(times[1][seen], right.rays_of(seen, focal_scales[1]))
    first_s, last_s = times[1][seen[[0, -1]]]

    def clock(known: Float[np.ndarray, "2"]) -> Clock:
        offset_s, rate = known * (OFFSET_DEVIATION_S, RATE_DEVIATION)
        return Clock(float(believed.offset_s + offset_s - rate * middle_s), float(believed.rate + rate))

    def rays_2(known: Float[np.ndarray, "2"]) -> Float[np.ndarray, "points 3"]:
        rays = between(clock(known).right(left_s).clip(first_s, last_s)).reshape(-1, 3)
        unit: Float[np.ndarray, "points 3"] = rays / np.linalg.norm(rays, axis=1, keepdims=True)
        return unit

    found = epipolar_rotation(rays_1, rays_2, start, together=JOINT_COUNT, known=2, around=around)
    deviations = found.known_deviation * (OFFSET_DEVIATION_S, RATE_DEVIATION)
    hand_rad = np.median(np.arccos(np.clip(seen_left @ seen_left.swapaxes(1, 2), -1, 1)).max((1, 2)))
    error_percent = 100 * found.error_rad / max(float(hand_rad), 1e-6)
    return ClockFit(clock(found.known), float(deviations[0]), float(deviations[1]), found, error_percent)
