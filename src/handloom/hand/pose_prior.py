"""Poses that hands take: grasps, pinches, gestures, mixtures of them, and smooth motion within the limits of joints."""

from dataclasses import dataclass
from math import ceil, pi

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn.functional import conv1d, pad

from handloom.hand.anatomy import BASES, COUPLING, DISTALS, FLEXION, MIDDLES, RADIAL, within_limits
from handloom.hand.models import open_hand_anatomy
from handloom.hand.self_contact import parted, penetration_m

_DEGREE = pi / 180.0
_FINGER_NOISE_DEG = 7.0
_SPREAD_NOISE_DEG = 2.5
_THUMB_NOISE_DEG = 4.0
"""Deviations about a mixture of key poses, by eye: as far as poses still look natural."""
_SPARE, _OPENING = 0.1, 0.4
"""Shares: of poses drawn to spare, and of the way to the relaxed pose that a moving hand opens."""
_PARTING_ROUNDS, _SMOOTHING_FRAMES = 2, 2.5
"""What parting changes is spread over so many frames; that undoes some of it, so it is done twice."""
_LEAST_PACE, _GREATEST_PACE = 0.6, 1.4
"""Times the mean number of frames from one pose to the next."""


Finger = tuple[int, int, int]
Thumb = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class KeyPose:
    """One pose, in whole degrees, written by hand and checked by eye.

    A finger has flexion and radial deviation of its base and flexion of its middle joint; the last joint follows with
    two thirds. The thumb has flexion, radial deviation (away from the palm) and twist of its base, then the flexion of
    its two other joints.
    """

    index: Finger
    middle: Finger
    ring: Finger
    pinky: Finger
    thumb: Thumb


KEY_POSES = {
    "relaxed": KeyPose((22, 8, 22), (28, 0, 26), (32, -5, 28), (35, -10, 26), (5, 0, 0, 12, 15)),
    "flat": KeyPose((2, 4, 2), (2, 0, 2), (2, -3, 2), (2, -6, 2), (-8, -22, -10, 4, 2)),
    "spread": KeyPose((-4, 23, 2), (-4, 2, 2), (-4, -17, 2), (-4, -30, 2), (-20, 4, -10, -4, -8)),
    "stretched back": KeyPose((-16, 8, 4), (-16, 0, 4), (-16, -6, 4), (-16, -14, 4), (-18, -10, -10, -4, -10)),
    "fist": KeyPose((72, 0, 96), (75, 0, 98), (77, -1, 98), (77, -2, 96), (40, -2, -14, 28, 21)),
    "loose fist": KeyPose((58, 2, 80), (62, 0, 84), (66, -2, 84), (68, -4, 80), (28, -4, -8, 20, 20)),
    "thumb up": KeyPose((72, 0, 96), (75, 0, 98), (77, -1, 98), (77, -2, 96), (-18, -14, -10, -2, -10)),
    "pointing": KeyPose((6, 2, 6), (72, 0, 92), (74, -2, 95), (74, -4, 90), (40, -8, -14, 22, 12)),
    "victory": KeyPose((4, 16, 4), (4, -8, 4), (74, -2, 95), (74, -4, 90), (41, -4, -8, 48, -8)),
    "gun": KeyPose((4, 4, 4), (8, 0, 6), (74, -2, 92), (74, -4, 88), (-14, -10, -8, 0, 0)),
    "index pinch": KeyPose((56, -4, 42), (40, 0, 40), (34, -5, 34), (28, -10, 28), (39, -1, -2, 9, -12)),
    "open pinch": KeyPose((56, -4, 42), (12, 0, 10), (8, -8, 8), (6, -16, 8), (39, -1, -2, 9, -12)),
    "middle pinch": KeyPose((44, 8, 42), (65, -5, 54), (42, -5, 40), (36, -10, 34), (40, 14, 11, 27, -12)),
    "tripod": KeyPose((58, 0, 44), (62, -3, 50), (60, -3, 58), (60, -6, 58), (40, 5, 3, 16, -6)),
    "key grip": KeyPose((50, 2, 62), (56, 0, 68), (60, -2, 70), (62, -4, 68), (22, -18, -10, 14, 4)),
    "thick cylinder": KeyPose((28, 12, 36), (30, 2, 38), (32, -6, 38), (34, -14, 36), (6, 18, 10, 12, 18)),
    "cylinder": KeyPose((46, 6, 52), (48, 0, 54), (50, -4, 54), (52, -8, 50), (18, 18, 14, 18, 28)),
    "thin cylinder": KeyPose((62, 2, 78), (66, 0, 80), (68, -2, 80), (70, -4, 76), (28, 16, 16, 25, 35)),
    "sphere": KeyPose((24, 18, 34), (26, 2, 36), (28, -12, 36), (30, -22, 34), (6, 16, 8, 10, 16)),
    "small sphere": KeyPose((44, 10, 44), (46, 2, 46), (46, -7, 46), (46, -14, 44), (22, 16, 12, 14, 22)),
    "box grip": KeyPose((58, 6, 10), (60, 0, 10), (60, -4, 10), (58, -9, 10), (14, 20, 10, 6, 8)),
    "hook": KeyPose((8, 4, 78), (8, 0, 82), (8, -3, 82), (8, -6, 78), (-2, -8, 0, 10, 15)),
    "pinky out": KeyPose((40, 4, 46), (60, -6, 58), (40, -4, 44), (6, -18, 10), (40, 12, 8, 28, -10)),
}


def key_pose_angles(*names: str) -> Float[Tensor, "pose 15 3"]:
    """The named key poses, or all, as joint angles in radians, in MANO's order of joints."""
    poses = [KEY_POSES[name] for name in names or KEY_POSES]
    fingers = torch.tensor([[p.index, p.middle, p.pinky, p.ring] for p in poses], dtype=torch.float32)
    thumbs = torch.tensor([p.thumb for p in poses], dtype=torch.float32)
    angles = torch.zeros(len(poses), 15, 3)
    angles[:, BASES, FLEXION], angles[:, BASES, RADIAL], angles[:, MIDDLES, FLEXION] = fingers.unbind(-1)
    angles[:, DISTALS, FLEXION] = COUPLING * angles[:, MIDDLES, FLEXION]
    angles[:, 12] = thumbs[:, :3]
    angles[:, [13, 14], FLEXION] = thumbs[:, 3:]
    return angles * _DEGREE


def smooth_motion(generator: Generator, frames: int, frames_per_pose: float) -> Float[Tensor, "{frames} 15 3"]:
    """A motion of a right hand through random poses, one rotation vector per finger joint and frame.

    `frames_per_pose` is the mean number of frames from one pose to the next.
    """
    return open_hand_anatomy().pose_from_angles(motion_angles(generator, frames, frames_per_pose))


def sample_angles(generator: Generator, count: int) -> Float[Tensor, "{count} 15 3"]:
    """Joint angles of random poses in radians: a mixture of two key poses, varied, within limits, fingers parted.

    A tenth more are drawn than needed, and those that stay deepest in themselves are left out.
    """
    drawn = key_pose_mixtures(generator, count + ceil(_SPARE * count))
    angles = within_limits(parted(drawn))
    depth = penetration_m(angles).amax(1)
    kept = depth.argsort(stable=True)[:count].sort().values
    return angles[kept]


def motion_angles(generator: Generator, frames: int, frames_per_pose: float) -> Float[Tensor, "{frames} 15 3"]:
    """Joint angles in radians along a motion: from pose to pose along curves of least jerk.

    Between two poses a and b the angles are a + (b - a)(10 s^3 - 15 s^4 + 6 s^5), s from 0 to 1: position, speed and
    acceleration have no jumps (Flash and Hogan, J. Neuroscience 1985). Half way the hand opens a little towards the
    relaxed pose, by 64 s^3 (1 - s)^3 of a fixed share, as people do between two grasps: it makes way for the thumb.
    """
    pose_count = ceil(frames / (frames_per_pose * _LEAST_PACE)) + 2
    poses = sample_angles(generator, pose_count)
    pace = torch.empty(pose_count - 1).uniform_(_LEAST_PACE, _GREATEST_PACE, generator=generator)
    times = torch.cat([torch.zeros(1), (pace * frames_per_pose).cumsum(0)])
    frame = torch.arange(frames, dtype=torch.float32)
    leg = torch.searchsorted(times, frame, right=True) - 1
    s = ((frame - times[leg]) / (times[leg + 1] - times[leg]))[:, None, None]
    angles = poses[leg] + (poses[leg + 1] - poses[leg]) * s**3 * (10.0 - 15.0 * s + 6.0 * s**2)
    opening = _OPENING * 64.0 * (s * (1.0 - s)) ** 3
    angles = torch.lerp(angles, key_pose_angles("relaxed"), opening)
    # Parting frame by frame may jump where the thumb slips past a finger, so what it changes is spread over time.
    change = torch.zeros_like(angles)
    for _ in range(_PARTING_ROUNDS):
        change = _smoothed_over_time(parted(angles + change) - angles)
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
