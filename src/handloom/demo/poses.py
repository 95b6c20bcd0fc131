"""Finger poses for the demo, drawn from the hand's pose prior."""

from functools import cache

import numpy as np
import torch
from jaxtyping import Float

from handloom.demo.sequences import SAMPLED_EVERY
from handloom.hand.open_hand import open_hand_anatomy
from handloom.hand.pose_prior import sample_angles, smooth_motion
from handloom.runtime.seeds import torch_generator

_BANK_SIZE = 512
_FRAMES_PER_POSE = 24.0


def moving_fingers(generator: np.random.Generator, frames: int) -> Float[np.ndarray, "frames 15 3"]:
    """Fingers of a hand that holds nothing, moving from pose to pose; a right hand's rotation vectors (radians)."""
    torch_stream = torch.Generator().manual_seed(int(generator.integers(2**62)))
    return smooth_motion(torch_stream, frames, frames_per_pose=_FRAMES_PER_POSE / SAMPLED_EVERY).double().numpy()


def still_fingers(generator: np.random.Generator, seed: int) -> Float[np.ndarray, "1 15 3"]:
    """One pose: two of the bank's poses of this seed, mixed. Between two possible poses all are possible."""
    bank = _pose_bank(seed)
    first, second = generator.integers(len(bank), size=2)
    angles = torch.lerp(bank[first], bank[second], 0.5 * float(generator.random()) ** 2)
    return open_hand_anatomy().pose_from_angles(angles[None]).double().numpy()


@cache
def _pose_bank(seed: int) -> torch.Tensor:
    """Joint angles of many poses, made at once: parting fingers costs the same for one pose as for hundreds."""
    return sample_angles(torch_generator(seed, "demo", "pose bank"), _BANK_SIZE, open_hand_anatomy())
