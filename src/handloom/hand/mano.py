"""A hand model in MANO's format and its skinning (Romero et al., "Embodied Hands", SIGGRAPH Asia 2017)."""

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor

from handloom.hand.joints import SNAP_FROM_MANO21, Fingertips, Side


@dataclass(frozen=True)
class HandModel:
    """The arrays of one hand, right or left, in MANO's order of 16 joints; lengths in metres, rest frame of the hand.

    The rest frame of a right hand has x pointing from the fingers to the wrist, y out of the back of the hand and
    z towards the thumb; that of a left hand is mirrored in x.
    """

    v_template: Float[Tensor, "vertex 3"]
    shapedirs: Float[Tensor, "vertex 3 shape"]
    posedirs: Float[Tensor, "vertex 3 135"]
    J_regressor: Float[Tensor, "16 vertex"]
    weights: Float[Tensor, "vertex 16"]
    faces: Int[Tensor, "face 3"]
    hands_mean: Float[Tensor, "45"]
    hands_components: Float[Tensor, "component 45"]
    tip_vertices: Fingertips
    side: Side
    uv: Float[Tensor, "texel 2"] | None = None
    uv_faces: Int[Tensor, "face 3"] | None = None

    @property
    def shape_count(self) -> int:
        """How many shape coefficients the model takes."""
        return self.shapedirs.shape[-1]

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "HandModel":
        """The same model on another device, its real numbers in another precision."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in values.items():
            if isinstance(value, Tensor):
                values[name] = value.to(device=device, dtype=dtype if value.is_floating_point() else None)
        return replace(self, **values)


class SkinnedHand(NamedTuple):
    """A posed hand, in metres, in the frame that the translation leads to."""

    vertices_m: Float[Tensor, "*batch vertex 3"]
    joints_m: Float[Tensor, "*batch 16 3"]
    """The 16 joints in MANO's order."""
    keypoints_m: Float[Tensor, "*batch 21 3"]
    """The 21 key points in SNAP's order."""
    posed_from_rest: Float[Tensor, "*batch 16 4 4"]
    """Per joint the rigid motion that carries the shaped hand at rest to the posed one (column vectors)."""
    skinning: Float[Tensor, "*batch vertex 4 4"]
    """Per vertex the blend of those motions."""


def skin(
    model: HandModel,
    *,
    pose_rotvec: Float[Tensor, "*batch 16 3"],
    shape: Float[Tensor, "*batch shape"],
    translation_m: Float[Tensor, "*batch 3"],
) -> SkinnedHand:
    """Pose a hand by linear blend skinning (Romero et al. 2017, Eq. 2 to 4, after SMPL).

    With rotations R_k = exp(pose_k) relative to the parent, shape s and translation t:

        V  = template + shapedirs s                        the shaped hand
        J  = J_regressor V                                 its joints
        V' = V + posedirs vec(R_1 - I, ..., R_15 - I)      pose correctives
        G_k = G_parent(k) [R_k | J_k - J_parent(k)]        a joint's frame, G_0 = [R_0 | J_0]
        M_k = G_k [I | -J_k]                               posed from rest
        v  = sum_k weights_k M_k v' + t

    Rotations are rotation vectors in radians, the first that of the whole hand about its wrist. Differentiable in all
    arguments and in the model's tensors.
    """
    shaped = model.v_template + _blend(model.shapedirs, shape)
    rest_joints = model.J_regressor @ shaped
    rotations = roma.rotvec_to_rotmat(pose_rotvec)

    motions = posed_from_rest(rotations, rest_joints)
    # The translation follows the blend: weights sum to one only nearly.
    skinning = _translated((model.weights @ motions.flatten(-2)).unflatten(-1, (4, 4)), translation_m)
    motions = _translated(motions, translation_m)
    joints = transformed(motions, rest_joints)

    identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
    bend = (rotations[..., 1:, :, :] - identity).flatten(-3)
    vertices = transformed(skinning, shaped + _blend(model.posedirs, bend))

    tips = vertices[..., list(model.tip_vertices), :]
    keypoints = torch.cat([joints, tips], dim=-2)[..., list(SNAP_FROM_MANO21), :]
    return SkinnedHand(vertices, joints, keypoints, motions, skinning)


def rest_joints_m(model: HandModel, shape: Float[Tensor, "*batch shape"]) -> Float[Tensor, "*batch 16 3"]:
    """The joints of the shaped hand at rest, J = J_regressor (template + shapedirs s), in metres."""
    return model.J_regressor @ (model.v_template + _blend(model.shapedirs, shape))


def posed_from_rest(
    rotations: Float[Tensor, "*batch 16 3 3"], rest_joints: Float[Tensor, "*#batch 16 3"]
) -> Float[Tensor, "*batch 16 4 4"]:
    """M_k of every joint. About its own rest position c a joint turns by [R | c - R c], and these motions compose.

    MANO's tree is a wrist with five chains of three, so three products over all fingers at once walk it.
    """
    about_joint = _rigid(rotations, rest_joints - (rotations @ rest_joints[..., None]).squeeze(-1))
    wrist = about_joint[..., :1, :, :]
    base, middle, distal = about_joint[..., 1:, :, :].unflatten(-3, (5, 3)).unbind(-3)
    base = wrist @ base
    middle = base @ middle
    distal = middle @ distal
    return torch.cat([wrist, torch.stack([base, middle, distal], dim=-3).flatten(-4, -3)], dim=-3)


def transformed(
    motions: Float[Tensor, "*batch point 4 4"], points: Float[Tensor, "*#batch point 3"]
) -> Float[Tensor, "*batch point 3"]:
    """Each point moved by its own rigid motion or blend of motions."""
    return (motions[..., :3, :3] @ points[..., None]).squeeze(-1) + motions[..., :3, 3]


def _blend(
    directions: Float[Tensor, "vertex 3 coefficient"], coefficients: Float[Tensor, "*batch coefficient"]
) -> Float[Tensor, "*batch vertex 3"]:
    return (coefficients @ directions.flatten(0, 1).mT).unflatten(-1, (-1, 3))


def _rigid(rotation: Float[Tensor, "*batch 3 3"], shift: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 4 4"]:
    last_row = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=rotation.dtype, device=rotation.device)
    upper = torch.cat([rotation, shift[..., None]], dim=-1)
    return torch.cat([upper, last_row.expand(*upper.shape[:-2], 1, 4)], dim=-2)


def _translated(
    motions: Float[Tensor, "*batch motion 4 4"], shift: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch motion 4 4"]:
    """The motions followed by a shift; exactly rigid at the last row, whatever the weights of a blend sum to."""
    return _rigid(motions[..., :3, :3], motions[..., :3, 3] + shift[..., None, :])
