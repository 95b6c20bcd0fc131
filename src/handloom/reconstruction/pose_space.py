"""The poses a hand can take, as joint angles of any MANO-format model, and its 21 key points without its surface.

A finger has four angles (flexion and spread of its base, flexion of the other two joints) and the thumb five, so 21
numbers say what 45 do in MANO, and none of them turns a finger about its own bone.
"""

from dataclasses import dataclass

import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor

from handloom.hand.anatomy import FLEXION, FREEDOM, Anatomy, pose_for_side, within_limits
from handloom.hand.joints import MANO21_FROM_SNAP, SNAP_FROM_MANO21
from handloom.hand.mano import HandModel, posed_from_rest, rest_joints_m, transformed
from handloom.hand.models import mirrored, open_hand, open_hand_anatomy
from handloom.hand.pose_prior import key_pose_mixtures

_PRIOR_POSES, _PRIOR_SEED = 4000, 0
_PRIOR_FLOOR_RAD = 0.05
_MIDDLE_AND_DISTAL = [row for row in range(15) if row % 3]
_SIGN = (-1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Skeleton:
    """What the key points of a model depend on: 16 joints and 5 finger tips (MANO21 order), lengths in metres."""

    rest_m: Float[Tensor, "21 3"]
    shapedirs: Float[Tensor, "21 3 shape"]
    tip_posedirs: Float[Tensor, "5 3 135"]
    tip_weights: Float[Tensor, "5 16"]

    @classmethod
    def of(cls, model: HandModel) -> "Skeleton":
        """The skeleton of a model, in double precision."""
        tips = list(model.tip_vertices)
        directions = torch.einsum("jv,vds->jds", model.J_regressor, model.shapedirs)
        return cls(
            torch.cat([model.J_regressor @ model.v_template, model.v_template[tips]]).double(),
            torch.cat([directions, model.shapedirs[tips]]).double(),
            model.posedirs[tips].double(),
            model.weights[tips].double(),
        )

    def keypoints_m(
        self, rotations: Float[Tensor, "*batch 16 3 3"], shape: Float[Tensor, " shape"]
    ) -> Float[Tensor, "*batch 21 3"]:
        """The 21 key points (SNAP) that `handloom.hand.mano.skin` gives, at zero translation."""
        shaped = self.rest_m + self.shapedirs @ shape
        motions = posed_from_rest(rotations, shaped[:16])
        joints = transformed(motions, shaped[:16])
        identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
        bend = (rotations[..., 1:, :, :] - identity).flatten(-3)
        tips = shaped[16:] + (bend @ self.tip_posedirs.flatten(0, 1).mT).unflatten(-1, (5, 3))
        blends = (self.tip_weights @ motions.flatten(-2)).unflatten(-1, (4, 4))
        return torch.cat([joints, transformed(blends, tips)], dim=-2)[..., list(SNAP_FROM_MANO21), :]


@dataclass(frozen=True)
class PoseSpace:
    """Joint angles of one model; `mean` and `whitening` describe the angles of everyday poses (21 numbers each)."""

    anatomy: Anatomy
    is_left: bool
    free: Int[Tensor, " free"]
    """Places of the free angles among the 45."""
    mean_rad: Float[Tensor, " free"]
    whitening: Float[Tensor, "free free"]
    """Rows that turn a difference from the mean into independent numbers of unit variance."""
    skeleton: Skeleton

    @classmethod
    def of(cls, model: HandModel) -> "PoseSpace":
        """The pose space of a model: the embedded hand's anatomy, laid onto the model's bones."""
        free = FREEDOM.flatten().nonzero()[:, 0]
        generator = torch.Generator().manual_seed(_PRIOR_SEED)
        poses = key_pose_mixtures(generator, _PRIOR_POSES).flatten(1)[:, free].double()
        variances, axes = torch.linalg.eigh(poses.T.cov())
        whitening = (axes / (variances + _PRIOR_FLOOR_RAD**2).sqrt()).T
        return cls(anatomy_of(model), model.side == "left", free, poses.mean(0), whitening, Skeleton.of(model))

    def full_angles(self, angles_rad: Float[Tensor, "*batch free"]) -> Float[Tensor, "*batch 15 3"]:
        """All 45 angles; those that cannot change are zero."""
        full = angles_rad.new_zeros(*angles_rad.shape[:-1], 45)
        return full.index_copy(-1, self.free, angles_rad).unflatten(-1, (15, 3))

    def free_angles(self, angles_rad: Float[Tensor, "*batch 15 3"]) -> Float[Tensor, "*batch free"]:
        """The angles that can change."""
        return angles_rad.flatten(-2)[..., self.free]

    def rotations(self, angles_rad: Float[Tensor, "*batch free"]) -> Float[Tensor, "*batch 15 3 3"]:
        """The rotations of the 15 finger joints about their parents."""
        rotations = self.anatomy.rotations_from_angles(self.full_angles(angles_rad))
        if self.is_left:
            sign = rotations.new_tensor(_SIGN)
            rotations = rotations * sign[:, None] * sign
        return rotations

    def pose_rotvec(self, angles_rad: Float[Tensor, "*batch free"]) -> Float[Tensor, "*batch 15 3"]:
        """The same as rotation vectors, as `skin` takes them."""
        pose: Tensor = roma.rotmat_to_rotvec(self.rotations(angles_rad))
        return pose

    def angles_of(self, pose_rotvec: Float[Tensor, "*batch 15 3"]) -> Float[Tensor, "*batch free"]:
        """The free angles of a pose; what the anatomy does not allow (twist, bending sideways) is dropped."""
        right = pose_for_side(pose_rotvec, "left" if self.is_left else "right")
        return self.free_angles(_angles_from_rotations(self.anatomy, roma.rotvec_to_rotmat(right)))

    def limit_excess_rad(self, angles_rad: Float[Tensor, "*batch free"]) -> Float[Tensor, "*batch free"]:
        """How far each angle lies outside what joints and tendons allow, seen from the nearest possible pose."""
        possible = within_limits(self.full_angles(angles_rad).detach())
        return angles_rad - self.free_angles(possible.to(angles_rad))

    def prior_deviations(self, angles_rad: Float[Tensor, "*batch free"]) -> Float[Tensor, "*batch free"]:
        """The pose in independent standard deviations of everyday poses."""
        return (angles_rad - self.mean_rad) @ self.whitening.T


def anatomy_of(model: HandModel) -> Anatomy:
    """The anatomy of a MANO-format model (as a right hand), in double precision.

    Each joint's axes at rest are those of the embedded hand, turned by the least rotation that carries its bone onto
    the model's; what flexion that adds to or takes from a finger's rest pose is counted. For the embedded hand itself
    nothing changes. A model's own bones decide directions only, so any shape will do.
    """
    right = mirrored(model) if model.side == "left" else model
    reference = open_hand_anatomy()
    frames, angles = reference.rest_frames.double(), reference.rest_angles_rad.double()
    ours, theirs = _bones(open_hand()), _bones(right)
    axis = torch.linalg.cross(ours, theirs)
    sine = torch.linalg.vector_norm(axis, dim=-1, keepdim=True)
    turn = axis / sine.clamp_min(1e-12) * torch.atan2(sine, (ours * theirs).sum(-1, keepdim=True))
    turn_in_frame = (frames.mT @ turn[..., None]).squeeze(-1)
    # A joint's angle counts from its parent's bone, which may have turned as well.
    flexion = turn_in_frame[:, FLEXION]
    own = flexion.clone()
    own[_MIDDLE_AND_DISTAL] -= flexion[[row - 1 for row in _MIDDLE_AND_DISTAL]]
    angles = angles.clone()
    angles[:, FLEXION] += own
    return Anatomy(roma.rotvec_to_rotmat(turn) @ frames, angles)


def _bones(model: HandModel) -> Float[Tensor, "15 3"]:
    """The direction of the bone that each finger joint moves, at rest."""
    joints = rest_joints_m(model, model.v_template.new_zeros(model.shape_count))
    points = torch.cat([joints, model.v_template[list(model.tip_vertices)]])[list(SNAP_FROM_MANO21)].double()
    place = [MANO21_FROM_SNAP[joint] for joint in range(1, 16)]
    bones = points[[index + 1 for index in place]] - points[place]
    return bones / torch.linalg.vector_norm(bones, dim=-1, keepdim=True)


def _angles_from_rotations(anatomy: Anatomy, rotations: Float[Tensor, "*batch 15 3 3"]) -> Float[Tensor, "*batch 15 3"]:
    """Flexion, radial deviation and twist of the turn from zero, Q = R_radial R_flexion R_twist; hinges only flex."""
    frames = anatomy.rest_frames.to(rotations)
    zero = anatomy.rotations_from_angles(torch.zeros_like(anatomy.rest_angles_rad)).to(rotations)
    turn = frames.mT @ zero.mT @ rotations @ frames
    radial = torch.atan2(turn[..., 0, 2], turn[..., 2, 2])
    twist = torch.atan2(turn[..., 1, 0], turn[..., 1, 1])
    flexion = torch.asin((-turn[..., 1, 2]).clamp(-1.0, 1.0))
    hinge = torch.atan2(turn[..., 2, 1] - turn[..., 1, 2], turn[..., 1, 1] + turn[..., 2, 2])
    is_hinge = rotations.new_tensor([row % 3 > 0 for row in range(15)]) > 0
    none = torch.zeros_like(radial)
    parts = (torch.where(is_hinge, hinge, flexion), torch.where(is_hinge, none, radial))
    return torch.stack([*parts, torch.where(is_hinge, none, twist)], dim=-1)
