"""The clock of least epipolar error: found below a frame, left alone where nothing tells it, and in the deviation."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handloom.adaptation.clocks import OFFSET_DEVIATION_S, Clock, ClockFit, fit_clock
from rendered_pair import Filmed

from ..own_pair import OFFSET_S, filmed_pair, seen_hands

NOISE_PX = 0.5


def fitted(filmed: Filmed, believed: Clock, stamped: float = 1.0, every: int = 1, turned_deg: float = 12.0) -> ClockFit:
    """The fit to noisy key points; the right view's times say `stamped` times the truth."""
    generator = np.random.default_rng(2)
    hands, times = [], []
    for joints, keypoints, seconds in (
        (filmed.joints_left_m, filmed.keypoints_left_px, filmed.times_left_s),
        (filmed.joints_right_m, filmed.keypoints_right_px, filmed.times_right_s * stamped),
    ):
        noisy = keypoints + NOISE_PX * generator.normal(size=keypoints.shape)
        hands.append(seen_hands(joints[::every], noisy[::every]))
        times.append(seconds[::every])
    right_s = Clock(OFFSET_S * stamped, stamped).right(times[0])
    rows = np.flatnonzero((right_s >= 0) & (right_s <= times[1][-1]))
    start = Rotation.from_rotvec([0, np.radians(turned_deg), 0]).as_matrix() @ filmed.right_from_left
    return fit_clock((hands[0], hands[1]), (times[0], times[1]), (rows, rows), believed, start, around=True)


def off_deg(fit: ClockFit, filmed: Filmed) -> float:
    found = Rotation.from_matrix(fit.rotation.second_from_first @ filmed.right_from_left.T)
    return float(np.degrees(found.magnitude()))


@pytest.mark.parametrize("frames_off", [-3, -1, 0, 1, 2])
def test_the_offset_is_found_below_a_frame(filmed: Filmed, frames_off: int) -> None:
    fit = fitted(filmed, Clock(OFFSET_S + frames_off / 30))
    assert fit.clock.offset_s == pytest.approx(OFFSET_S, abs=0.01)
    assert fit.clock.rate == pytest.approx(1, abs=0.01)
    assert 0.001 < fit.offset_deviation_s < 0.03
    assert off_deg(fit, filmed) < 6 + fit.rotation.deviation_deg


@pytest.mark.parametrize("stamped", [29.83 / 30, 29 / 30])
def test_a_clock_that_is_stamped_wrongly_is_found(filmed: Filmed, stamped: float) -> None:
    fit = fitted(filmed, Clock(OFFSET_S), stamped)
    assert fit.clock.rate == pytest.approx(stamped, abs=0.01)
    assert abs(fit.clock.rate - stamped) < 4 * fit.rate_deviation


def test_a_clock_that_nothing_tells_stays_as_it_is_believed() -> None:
    """Without motion no time is better than another: noise must not look like motion that tells it."""
    still = filmed_pair(still=True)
    fit = fitted(still, Clock(OFFSET_S + 0.02))
    assert abs(fit.clock.offset_s - OFFSET_S - 0.02) < 0.01
    assert fit.offset_deviation_s == pytest.approx(OFFSET_DEVIATION_S, rel=0.05)


def test_fewer_frames_leave_more_open(filmed: Filmed) -> None:
    all_frames, few = (fitted(filmed, Clock(OFFSET_S), every=every) for every in (1, 4))
    assert few.offset_deviation_s > all_frames.offset_deviation_s
    assert few.rotation.deviation_deg > all_frames.rotation.deviation_deg
