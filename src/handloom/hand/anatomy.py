"""Anatomical angles of the finger joints, how far they go, and how they become the pose of a MANO-format model.

Every joint has three angles in radians: flexion (positive closes the hand), radial deviation (positive towards the
thumb's side) and twist about the bone. At zero a finger is straight and parallel to the middle finger; the base of the
thumb is at zero in the rest pose.
"""

from dataclasses import dataclass
from math import pi

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from handloom.hand.joints import Side

FLEXION, RADIAL, TWIST = range(3)
_DEGREE = pi / 180.0
BASES, MIDDLES, DISTALS = [0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]
"""Rows of the base, middle and distal joints of index, middle, pinky and ring finger; the thumb has rows 12 to 14."""

COUPLING = 2.0 / 3.0
"""The tendons bend a finger's last joint by about two thirds of the middle one's angle."""
COUPLING_PLAY_RAD = 15.0 * _DEGREE
"""How far one can bend the last joint on its own; set by eye, as the share of spread that a fist loses."""
_SPREAD_LOST_IN_FIST = 0.8

Range = tuple[int, int]
_STILL: Range = (0, 0)


def _finger(spread: Range) -> tuple[tuple[Range, Range, Range], ...]:
    return ((-20, 90), spread, _STILL), ((-2, 105), _STILL, _STILL), ((-5, 75), _STILL, _STILL)


_LIMITS_DEG = (
    *_finger(spread=(-8, 25)),  # index
    *_finger(spread=(-12, 12)),  # middle
    *_finger(spread=(-32, 6)),  # pinky
    *_finger(spread=(-20, 6)),  # ring
    ((-25, 45), (-30, 25), (-20, 35)),  # thumb
    ((-8, 55), _STILL, _STILL),
    ((-15, 80), _STILL, _STILL),
)
"""About how far the joints of a healthy adult go: least and greatest of each angle, set by hand."""
LOWER_RAD: Float[Tensor, "15 3"]
UPPER_RAD: Float[Tensor, "15 3"]
LOWER_RAD, UPPER_RAD = (torch.tensor(_LIMITS_DEG, dtype=torch.float32) * _DEGREE).unbind(-1)
"""Least and greatest flexion, radial deviation and twist of each joint, in radians."""
FREEDOM = (UPPER_RAD > LOWER_RAD).float()
"""One for the angles that can change, zero for the others."""


@dataclass(frozen=True)
class Anatomy:
    """How the 15 finger joints of a right hand are oriented at rest, in MANO's order."""

    rest_frames: Float[Tensor, "15 3 3"]
    """Per joint the axes of flexion, radial deviation and twist (columns) in the hand's rest frame."""
    rest_angles_rad: Float[Tensor, "15 3"]
    """The anatomical angles of the rest pose."""

    def pose_from_angles(self, angles_rad: Float[Tensor, "*batch 15 3"]) -> Float[Tensor, "*batch 15 3"]:
        """The pose, rotation vectors relative to the rest pose, that brings the joints to the given angles."""
        return roma.rotmat_to_rotvec(self.rotations_from_angles(angles_rad))

    def rotations_from_angles(self, angles_rad: Float[Tensor, "*batch 15 3"]) -> Float[Tensor, "*batch 15 3 3"]:
        """The same as rotation matrices.

        With B a joint's frame at rest, Q(a) = R_radial R_flexion R_twist its turn from zero and a_0 the angles at rest,
        the rotation about its parent is R = B Q(a_0)^T Q(a) B^T.
        """
        turn = _turn(self.rest_angles_rad).mT @ _turn(angles_rad)
        return self.rest_frames @ turn @ self.rest_frames.mT


def within_limits(angles_rad: Float[Tensor, "*batch 15 3"]) -> Float[Tensor, "*batch 15 3"]:
    """The nearest possible angles: each in its range, a bent finger hardly spread, the last joint bound to the middle.

    The collateral ligaments tighten as a finger bends at its base: at 90 degrees it keeps a fifth of its spread.
    """
    angles = torch.maximum(torch.minimum(angles_rad, UPPER_RAD), LOWER_RAD)
    bases, distals = angles[..., BASES, :], angles[..., DISTALS, :]
    bent = (bases[..., FLEXION].clamp(min=0.0) / (90.0 * _DEGREE)).clamp(max=1.0)
    kept = 1.0 - _SPREAD_LOST_IN_FIST * bent
    spread = torch.maximum(
        torch.minimum(bases[..., RADIAL], kept * UPPER_RAD[BASES, RADIAL]), kept * LOWER_RAD[BASES, RADIAL]
    )
    coupled = COUPLING * angles[..., MIDDLES, FLEXION]
    last = (distals[..., FLEXION] - coupled).clamp(-COUPLING_PLAY_RAD, COUPLING_PLAY_RAD) + coupled
    result = angles.clone()
    result[..., BASES, RADIAL] = spread
    result[..., DISTALS, FLEXION] = last
    return result


def mirror_pose(pose_rotvec: Float[Tensor, "*batch joint 3"]) -> Float[Tensor, "*batch joint 3"]:
    """The pose of the mirrored hand: under S = diag(-1, 1, 1), S exp(r) S = exp((r_x, -r_y, -r_z))."""
    return pose_rotvec * pose_rotvec.new_tensor([1.0, -1.0, -1.0])


def pose_for_side(pose_rotvec: Float[Tensor, "*batch joint 3"], side: Side) -> Float[Tensor, "*batch joint 3"]:
    """A right hand's pose as the given side needs it."""
    return mirror_pose(pose_rotvec) if side == "left" else pose_rotvec


def _turn(angles_rad: Float[Tensor, "*batch joint 3"]) -> Float[Tensor, "*batch joint 3 3"]:
    """Q(a), in the joint's own axes."""
    cosine, sine = angles_rad.cos().unbind(-1), angles_rad.sin().unbind(-1)
    one, zero = torch.ones_like(cosine[0]), torch.zeros_like(cosine[0])

    def matrix(*entries: Tensor) -> Tensor:
        return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))

    (c, s) = cosine[FLEXION], sine[FLEXION]
    flexion = matrix(one, zero, zero, zero, c, -s, zero, s, c)
    (c, s) = cosine[RADIAL], sine[RADIAL]
    radial = matrix(c, zero, s, zero, one, zero, -s, zero, c)
    (c, s) = cosine[TWIST], sine[TWIST]
    twist = matrix(c, -s, zero, s, c, zero, zero, zero, one)
    return radial @ flexion @ twist
