"""Anatomical angles of the finger joints, and how they become the pose of a MANO-format model.

Every joint has three angles in radians: flexion (positive closes the hand), radial deviation (positive towards the
thumb's side) and twist about the bone. At zero a finger is straight and parallel to the middle finger; the base of the
thumb is at zero in the rest pose.
"""

from dataclasses import dataclass

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from handloom.hand.joints import Side

FLEXION, RADIAL, TWIST = range(3)
_MIRROR_X = (1.0, -1.0, -1.0)


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
        frames = self.rest_frames
        turn = _turn(self.rest_angles_rad).mT @ _turn(angles_rad)
        return frames @ turn @ frames.mT

    def arrays(self) -> dict[str, np.ndarray]:
        """The fields as named arrays, for the hand's file."""
        return {"rest_frames": self.rest_frames.numpy(), "rest_angles_rad": self.rest_angles_rad.numpy()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "Anatomy":
        """The anatomy held by the named arrays of a hand's file."""
        return cls(torch.from_numpy(arrays["rest_frames"]), torch.from_numpy(arrays["rest_angles_rad"]))


def mirror_pose(pose_rotvec: Float[Tensor, "*batch joint 3"]) -> Float[Tensor, "*batch joint 3"]:
    """The pose of the mirrored hand: under S = diag(-1, 1, 1), S exp(r) S = exp((r_x, -r_y, -r_z))."""
    return pose_rotvec * pose_rotvec.new_tensor(_MIRROR_X)


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
