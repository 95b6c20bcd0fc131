"""What the released refinement minimises: the oracle of our closed form."""

import torch
from jaxtyping import Float
from torch import Tensor

from handloom.geometry.rotations import rotation_between


def rotation_objective(
    poses_1: Float[Tensor, "*batch joints 3"],
    poses_2: Float[Tensor, "*batch joints 3"],
    rotation_12: Float[Tensor, "3 3"],
    weights: Float[Tensor, "*batch joints"] | None = None,
    *,
    proper: bool = False,
) -> Float[Tensor, "*batch"]:
    """f = |rot(P1, P2) - R12|_F, the norm and not its square; the released objective without `proper`."""
    return torch.linalg.matrix_norm(rotation_between(poses_1, poses_2, weights, proper=proper) - rotation_12)
