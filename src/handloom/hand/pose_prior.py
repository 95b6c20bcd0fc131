"""Plausible poses of a hand and smooth motion between them, within the limits of human joints."""

from math import ceil, pi

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn.functional import conv1d, pad

from handloom.hand.anatomy import FLEXION, RADIAL, Anatomy, pose_for_side
from handloom.hand.joints import Side
from handloom.hand.key_poses import KEY_POSES, key_pose_angles
from handloom.hand.limits import BASES, DISTALS, FREEDOM, MIDDLES, within_limits
from handloom.hand.open_hand import open_hand_anatomy
from handloom.hand.self_contact import parted, penetration_m

_DEGREE = pi / 180.0
_FINGER_NOISE_DEG = 7.0
_SPREAD_NOISE_DEG = 2.5
_THUMB_NOISE_DEG = 4.0
_SPARE = 0.1
_OPENING = 0.4
_PARTING_ROUNDS = 2
_SMOOTHING_FRAMES = 2.5
_LEAST_PACE, _GREATEST_PACE = 0.6, 1.4


def sample_poses(generator: Generator, count: int, side: Side = "right") -> Float[Tensor, "{count} 15 3"]:
    """Random poses for the embedded hand of the given side: rotation vectors of the 15 finger joints, in radians."""
    anatomy = open_hand_anatomy()
    return pose_for_side(anatomy.pose_from_angles(sample_angles(generator, count, anatomy)), side)


def smooth_motion(
    generator: Generator, frames: int, side: Side = "right", frames_per_pose: float = 24.0
) -> Float[Tensor, "{frames} 15 3"]:
    """A motion through random poses, one rotation vector per finger joint and frame.

    `frames_per_pose` is the mean number of frames from one pose to the next.
    """
    anatomy = open_hand_anatomy()
    angles = motion_angles(generator, frames, anatomy, frames_per_pose)
    return pose_for_side(anatomy.pose_from_angles(angles), side)


def sample_angles(generator: Generator, count: int, anatomy: Anatomy) -> Float[Tensor, "{count} 15 3"]:
    """Joint angles of random poses in radians: a mixture of two key poses, varied, within limits, fingers parted.

    A tenth more are drawn than needed, and those that stay deepest in themselves are left out.
    """
    drawn = key_pose_mixtures(generator, count + ceil(_SPARE * count))
    angles = within_limits(parted(anatomy, drawn, FREEDOM))
    depth = penetration_m(anatomy, angles).amax(1)
    kept = depth.argsort(stable=True)[:count].sort().values
    return angles[kept]


def motion_angles(
    generator: Generator, frames: int, anatomy: Anatomy, frames_per_pose: float = 24.0
) -> Float[Tensor, "{frames} 15 3"]:
    """Joint angles in radians along a motion: from pose to pose along curves of least jerk.

    Between two poses a and b the angles are a + (b - a)(10 s^3 - 15 s^4 + 6 s^5), s from 0 to 1: position, speed and
    acceleration have no jumps (Flash and Hogan, J. Neuroscience 1985). Half way the hand opens a little towards the
    relaxed pose, by 64 s^3 (1 - s)^3 of a fixed share, as people do between two grasps: it makes way for the thumb.
    """
    pose_count = ceil(frames / (frames_per_pose * _LEAST_PACE)) + 2
    poses = sample_angles(generator, pose_count, anatomy)
    pace = torch.empty(pose_count - 1).uniform_(_LEAST_PACE, _GREATEST_PACE, generator=generator)
    times = torch.cat([torch.zeros(1), (pace * frames_per_pose).cumsum(0)])
    frame = torch.arange(frames, dtype=torch.float32)
    leg = torch.searchsorted(times, frame, right=True) - 1
    s = ((frame - times[leg]) / (times[leg + 1] - times[leg]))[:, None, None]
    angles = poses[leg] + (poses[leg + 1] - poses[leg]) * s**3 * (10.0 - 15.0 * s + 6.0 * s**2)
    opening = _OPENING * 64.0 * (s * (1.0 - s)) ** 3
    angles = torch.lerp(angles, key_pose_angles()[list(KEY_POSES).index("relaxed")], opening)
    # Parting frame by frame may jump where the thumb slips past a finger, so what it changes is spread over time.
    change = torch.zeros_like(angles)
    for _ in range(_PARTING_ROUNDS):
        change = _smoothed_over_time(parted(anatomy, angles + change, FREEDOM) - angles)
    return within_limits(angles + change)


def _smoothed_over_time(change: Float[Tensor, "frame 15 3"]) -> Float[Tensor, "frame 15 3"]:
    """A Gaussian moving average over the frames; the first and the last frame count on beyond the ends."""
    reach = ceil(3.0 * _SMOOTHING_FRAMES)
    lag = torch.arange(-reach, reach + 1, dtype=change.dtype)
    kernel = torch.softmax(-0.5 * (lag / _SMOOTHING_FRAMES) ** 2, dim=0)
    rows = change.flatten(1).mT[:, None]
    return conv1d(pad(rows, (reach, reach), mode="replicate"), kernel[None, None]).squeeze(1).mT.unflatten(1, (15, 3))


def key_pose_mixtures(generator: Generator, count: int) -> Float[Tensor, "{count} 15 3"]:
    """Two key poses mixed, mostly close to one of them, with fingers varied together and each by itself."""

    def normal(*size: int, degrees: float) -> Tensor:
        return torch.randn(count, *size, generator=generator) * (degrees * _DEGREE)

    keys = key_pose_angles()
    first, second = torch.randint(len(keys), (2, count), generator=generator)
    share = 0.5 * torch.rand(count, 1, 1, generator=generator) ** 2
    angles = torch.lerp(keys[first], keys[second], share)

    bend = normal(1, degrees=_FINGER_NOISE_DEG) + normal(4, degrees=_FINGER_NOISE_DEG)
    curl = bend + normal(4, degrees=_FINGER_NOISE_DEG)
    angles[:, BASES, FLEXION] += bend
    angles[:, MIDDLES, FLEXION] += curl
    angles[:, DISTALS, FLEXION] += curl * 2.0 / 3.0 + normal(4, degrees=0.5 * _FINGER_NOISE_DEG)
    angles[:, BASES, RADIAL] += normal(4, degrees=_SPREAD_NOISE_DEG)
    angles[:, 12] += normal(3, degrees=_THUMB_NOISE_DEG)
    angles[:, [13, 14], FLEXION] += normal(2, degrees=1.5 * _THUMB_NOISE_DEG)
    return within_limits(angles)
