"""By how much two recordings of one hand are shifted in time, from the poses that two views show.

Cameras that keep still against each other see poses that differ by one rotation, whatever the hand does. At the right
offset one rotation R explains all simultaneous poses p and q (centred, of unit size); at a wrong one it does not. The
mismatch of an offset is what the best rotation leaves of the poses' sum of squares,

    1 - tr(S) / n,  n = number of poses, S the singular values of sum p^T q (the least with the sign of det),

and needs no calibration: 0 for equal motion, about 1 for poses that have nothing to do with each other.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from handloom.runtime.errors import InputError

LEAST_POSES = 8
_LEAST_OVERLAP = 0.6
"""Share of the most simultaneous hands of any offset that an offset needs to be considered."""


@dataclass(frozen=True)
class OffsetEstimate:
    """The offset of least mismatch, and how far it stands out.

    `certainty` = 1 - best / second: 0 when another offset, `distinct_s` or more away, explains the poses as well.
    """

    offset_s: float
    mismatch: float
    second_offset_s: float | None
    second_mismatch: float | None
    certainty: float
    offsets_s: Float[np.ndarray, " offsets"]
    mismatches: Float[np.ndarray, " offsets"]
    """Of every offset that was tried; NaN where too few hands were simultaneous."""

    @property
    def search(self) -> tuple[Float[np.ndarray, " offsets"], Float[np.ndarray, " offsets"]]:
        """The offsets that were tried and their mismatches."""
        return self.offsets_s, self.mismatches


def unit_poses(joints: Float[np.ndarray, "frames 21 3"]) -> Float[np.ndarray, "frames 21 3"]:
    """Poses about their mean joint, of unit Frobenius norm."""
    centred = joints - joints.mean(1, keepdims=True)
    poses: Float[np.ndarray, "frames 21 3"] = centred / np.maximum(
        np.linalg.norm(centred, axis=(1, 2), keepdims=True), 1e-12
    )
    return poses


def rotation_mismatch(poses_1: Float[np.ndarray, "poses 21 3"], poses_2: Float[np.ndarray, "poses 21 3"]) -> float:
    """The mismatch of simultaneous unit poses, by the module's formula."""
    product = np.einsum("pji,pjk->ik", poses_1, poses_2)
    values = np.linalg.svd(product, compute_uv=False)
    values[-1] *= np.sign(np.linalg.det(product))
    return float(1 - values.sum() / len(poses_1))


def nearest_frames(
    times_s: Float[np.ndarray, " frames"], wanted_s: Float[np.ndarray, "*wanted"], reach_s: float
) -> tuple[Int[np.ndarray, "*wanted"], Bool[np.ndarray, "*wanted"]]:
    """The frame nearest to each wanted time, and whether it is within `reach_s`; times increase."""
    if len(times_s) == 1:
        return np.zeros(wanted_s.shape, int), np.abs(times_s[0] - wanted_s) <= reach_s
    after = np.searchsorted(times_s, wanted_s).clip(1, len(times_s) - 1)
    before_is_nearer = wanted_s - times_s[after - 1] <= times_s[after] - wanted_s
    index = np.where(before_is_nearer, after - 1, after)
    return index, np.abs(times_s[index] - wanted_s) <= reach_s


def estimate_offset(
    times_1_s: Float[np.ndarray, " frames_1"],
    times_2_s: Float[np.ndarray, " frames_2"],
    joints_1: Float[np.ndarray, "frames_1 21 3"],
    joints_2: Float[np.ndarray, "frames_2 21 3"],
    *,
    search_s: float,
    distinct_s: float,
) -> OffsetEstimate:
    """The offset d, within `search_s`, at which frames t of view 1 and t + d of view 2 fit best.

    Takes the frames with a hand only. Offsets are multiples of the shorter frame interval. Raises InputError when no
    offset has as many as `LEAST_POSES` simultaneous hands.
    """
    intervals = [np.median(np.diff(times)) for times in (times_1_s, times_2_s) if len(times) > 1]
    if len(intervals) < 2:
        raise InputError(
            f"time offset: the views have {len(times_1_s)} and {len(times_2_s)} frames with a hand; expected at least "
            f"{LEAST_POSES} in both; film longer, or set offset_s"
        )
    step, reach = float(min(intervals)), float(max(intervals)) / 2
    count = int(np.floor(search_s / step + 1e-9))
    offsets = step * np.arange(-count, count + 1)
    # Simple rounding differences between the clocks must not decide whether two frames are simultaneous.
    index, simultaneous = nearest_frames(times_2_s, times_1_s + offsets[:, None], reach * (1 + 1e-6))
    counts = simultaneous.sum(1)
    usable = (counts >= LEAST_POSES) & (counts >= _LEAST_OVERLAP * counts.max())
    if not usable.any():
        raise InputError(
            f"time offset: within {search_s:g} s at most {counts.max()} frames show the hand in both views at once; "
            f"expected at least {LEAST_POSES}; raise search_s, film longer, or set offset_s"
        )
    poses_1, poses_2 = unit_poses(joints_1), unit_poses(joints_2)
    mismatches = np.array(
        [
            rotation_mismatch(poses_1[row], poses_2[found[row]]) if use else np.nan
            for found, row, use in zip(index, simultaneous, usable, strict=True)
        ]
    )
    best = int(np.nanargmin(mismatches))
    others = np.where(np.abs(offsets - offsets[best]) >= distinct_s, mismatches, np.nan)
    if np.isnan(others).all():
        return OffsetEstimate(float(offsets[best]), float(mismatches[best]), None, None, 0.0, offsets, mismatches)
    second = int(np.nanargmin(others))
    certainty = 1 - mismatches[best] / max(float(mismatches[second]), 1e-12)
    return OffsetEstimate(
        float(offsets[best]),
        float(mismatches[best]),
        float(offsets[second]),
        float(mismatches[second]),
        float(certainty),
        offsets,
        mismatches,
    )
