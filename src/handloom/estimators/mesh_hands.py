"""Hands as networks that give MANO's mesh find them in squares, in handloom's conventions."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from handloom.hand.mano import HandModel
from handloom.hand.mano_files import MANO_VERTEX_COUNT
from handloom.runtime.errors import InputError


class MeshHands(NamedTuple):
    """Hands in squares, on the CPU, along the axes of a camera that looks at the square's centre."""

    vertices_m: Float[Tensor, "n vertex 3"]
    """MANO's vertices, relative to the wrist."""
    joints_m: Float[Tensor, "n 21 3"]
    """SNAP, of the mesh, relative to its wrist."""
    keypoints: Float[Tensor, "n 21 2"]
    """The joints as shares (x, y) of the square's side, 0 at its left and upper edge, 1 at its right and lower one."""
    seen: Bool[Tensor, " n"]
    """Whether there is a hand to speak of."""


def mirrored(hands: MeshHands) -> MeshHands:
    """Left hands, from what a network found in their mirrored images: x changes sign, shares run from the right."""
    flip = hands.vertices_m.new_tensor([-1.0, 1.0, 1.0])
    keypoints = torch.stack([1.0 - hands.keypoints[..., 0], hands.keypoints[..., 1]], dim=-1)
    return hands._replace(vertices_m=hands.vertices_m * flip, joints_m=hands.joints_m * flip, keypoints=keypoints)


def require_mano(hand_model: HandModel, network: str) -> None:
    """Raise InputError unless the model is a right hand in MANO's topology, which the network is made for."""
    vertices = len(hand_model.v_template)
    if vertices != MANO_VERTEX_COUNT or hand_model.side != "right":
        raise InputError(
            f"{network}: the hand model is a {hand_model.side} hand of {vertices} vertices, but {network} predicts "
            f"those of MANO's right hand ({MANO_VERTEX_COUNT}); set `mano` to the folder with MANO_RIGHT.pkl "
            "(https://mano.is.tue.mpg.de), or choose another hand estimator"
        )
