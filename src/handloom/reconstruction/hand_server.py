"""The hand of HOLD: a model in MANO's format, posed in the scaled world of a scene (facts/hold.md 1.9 and 2.2).

The canonical hand is the one at rest, flat and in metres. The scaled world is x' = s (X + t) with the scene scale s.
"""

from typing import NamedTuple

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from handloom.hand.mano import HandModel, skin


class PosedHand(NamedTuple):
    """A hand in the scaled world, per image of a batch."""

    vertices: Float[Tensor, "batch vertex 3"]
    """In the scaled world."""
    joints: Float[Tensor, "batch 21 3"]
    """SNAP's 21 joints, in the scaled world."""
    posed_from_canonical: Float[Tensor, "batch 16 4 4"]
    """Per bone the affine map of canonical points (metres) to the scaled world, column vectors."""
    canonical_vertices_m: Float[Tensor, "batch vertex 3"]
    """The shaped hand at rest with the pose's corrective offsets: what the bones carry."""


def pose_hand(
    model: HandModel,
    *,
    pose_rotvec: Float[Tensor, "batch 16 3"],
    shape: Float[Tensor, "batch shape"],
    translation_m: Float[Tensor, "batch 3"],
    scene_scale: Float[Tensor, "*#batch"] | float = 1.0,
) -> PosedHand:
    """Pose a hand in the scaled world: x' = s (skin(pose, shape) + t), bones s [M_k | + t].

    Poses are absolute rotation vectors in radians (flat zero), lengths in metres before the scale. Differentiable in
    every argument. Source: facts/hold.md 1.9 (forward maps), 2.2.
    """
    hand = skin(model, pose_rotvec=pose_rotvec, shape=shape, translation_m=translation_m)
    scale = torch.as_tensor(scene_scale, dtype=pose_rotvec.dtype, device=pose_rotvec.device).reshape(-1, 1, 1)
    return PosedHand(
        vertices=scale * hand.vertices_m,
        joints=scale * hand.keypoints_m,
        posed_from_canonical=scaled_affine(hand.posed_from_rest, scale),
        canonical_vertices_m=corrected_rest_m(model, pose_rotvec, shape),
    )


def canonical_hand(model: HandModel, shape: Float[Tensor, " shape"]) -> PosedHand:
    """The flat hand at rest in metres, as a batch of one; its bones are the identity."""
    zero = torch.zeros(1, 16, 3, dtype=shape.dtype, device=shape.device)
    return pose_hand(model, pose_rotvec=zero, shape=shape[None], translation_m=zero[:, 0])


def corrected_rest_m(
    model: HandModel, pose_rotvec: Float[Tensor, "batch 16 3"], shape: Float[Tensor, "batch shape"]
) -> Float[Tensor, "batch vertex 3"]:
    """template + shapedirs s + posedirs vec(R_1 - I, ..., R_15 - I): the hand at rest before skinning, in metres."""
    bend = roma.rotvec_to_rotmat(pose_rotvec[:, 1:]) - torch.eye(3, dtype=pose_rotvec.dtype, device=pose_rotvec.device)
    offsets = torch.einsum("vcs,bs->bvc", model.shapedirs, shape)
    offsets = offsets + torch.einsum("vcp,bp->bvc", model.posedirs, bend.flatten(1))
    return model.v_template + offsets


def scaled_affine(
    maps: Float[Tensor, "batch bone 4 4"], scale: Float[Tensor, "#batch 1 1"]
) -> Float[Tensor, "batch bone 4 4"]:
    """Affine maps followed by a uniform scale: the first three rows times s, the last row as it is."""
    return torch.cat([scale[..., None] * maps[..., :3, :], maps[..., 3:, :]], dim=-2)
