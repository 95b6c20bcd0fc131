"""The 21 joints of a MANO mesh: MANO's regressor and five vertices for the finger tips."""

import torch
from jaxtyping import Float
from torch import Tensor

from handloom.hand.joints import SNAP_FROM_MANO21, Fingertips

METRO_FINGERTIPS: Fingertips = (745, 317, 445, 556, 673)
"""The vertices that METRO's own regressor takes: manopth's, but for the middle finger the vertex beside it."""


def mesh_joints_m(
    joints_m: Float[Tensor, "*batch 16 3"], tips_m: Float[Tensor, "*batch 5 3"]
) -> Float[Tensor, "*batch 21 3"]:
    """MANO's 16 joints and the tips, thumb to pinky, in SNAP's order: METRO's own order is the same."""
    return torch.cat([joints_m, tips_m], dim=-2)[..., list(SNAP_FROM_MANO21), :]


def regressed_joints_m(
    vertices_m: Float[Tensor, "*batch vertex 3"], regressor: Float[Tensor, "16 vertex"], tips: Fingertips
) -> Float[Tensor, "*batch 21 3"]:
    """The joints of meshes, in SNAP's order: `regressor @ vertices`, and the vertices `tips`."""
    return mesh_joints_m(regressor @ vertices_m, vertices_m[..., list(tips), :])
