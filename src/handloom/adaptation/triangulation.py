"""Poses of two views of a hand that agree with both views' poses and with both views' rays to its joints.

A network finds joints in the picture better than it finds the hand's orientation, and the rays of two cameras whose
rotation R12 is known fix the orientation that each view's pose has wrong. With `p_v` the views' root-relative poses in
bones 0-9, `u_v` the slopes of the rays, `c_v` the confidence and `t_v` the root's unknown places in the cameras,

    min over X, t_1 of  sum_vj  |B_vj (X_j R_v + t_v)|^2 c_vj^2 / s_r^2  +  |p_vj - X_j R_v|^2 / s_p^2,

R_1 = I, R_2 = R12 and B = [[1, 0, -u_x], [0, 1, -u_y]]. The cameras stand still to each other, so the first one has one
place b in the second, t_2 = t_1 R12 + b: key points tell R12 and b but for its length, and the hand's size tells that.
(With a t_2 of its own a hand may shrink to fit its rays.) No calibration enters.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from handloom.hand.joints import BONE, WRIST

RAY_DEVIATION = 0.08
"""s_r, in bones 0-9 beside the ray: 8 mm for a bone of 100."""
POSE_DEVIATION = 0.3
"""s_p, in bones 0-9."""


def triangulated_poses(
    poses: Float[Tensor, "2 hands 21 3"],
    slopes: Float[Tensor, "2 hands 21 2"],
    confidence: Float[Tensor, "2 hands 21"],
    rotation_12: Float[Tensor, "3 3"],
    first_in_second: Float[Tensor, "3"],
    root_joint: int = WRIST,
) -> Float[Tensor, "hands 21 3"]:
    """X in the frame of view 1, from the root on, in double precision; poses are root-relative rows in bones 0-9.

    With Y = X + t_1, W = c^2 / s_r^2 B^T B and P = 1 / s_p^2:
    (sum_v R_v (W_v + P) R_v^T) Y_j = sum_v R_v (P p_vj - W_v b_v) + 2 P t_1,  t_1 = mean_j Y_j - mean_vj R_v p_vj.
    """
    poses, slopes, confidence = (value.double() for value in (poses, slopes, confidence))
    eye = torch.eye(3, dtype=torch.float64)
    turns = torch.stack([eye, rotation_12.double()])[:, None, None]
    places = torch.stack([torch.zeros(3, dtype=torch.float64), first_in_second.double()])[:, None, None, :, None]
    rays = (confidence / RAY_DEVIATION).square()[..., None, None] * _squares_beside(slopes)
    prior = eye / POSE_DEVIATION**2
    own = (turns @ poses[..., None]).sum(0)
    wanted = own / POSE_DEVIATION**2 - (turns @ rays @ places).sum(0)
    inverse = torch.linalg.inv((turns @ (rays + prior) @ turns.mT).sum(0))
    moved = (inverse @ (2 * prior)).mean(1)
    root = torch.linalg.solve(eye - moved, (inverse @ wanted).mean(1) - own.mean(1) / 2)
    found = (inverse @ (wanted + 2 * prior @ root[:, None]))[..., 0]
    return found - found[:, root_joint, None]


def place_of_first(
    slopes: Float[Tensor, "2 hands 21 2"], rotation_12: Float[Tensor, "3 3"], direction: Float[Tensor, "3"]
) -> Float[Tensor, "3"]:
    """b along a direction of either sign: hands are before the cameras, and their median bone 0-9 is 1 long.

    Joints are where the first camera's rays pass nearest to the second's: with x_2 = z_1 (u_1, 1) R12 + b along
    (u_2, 1), z_1 = (b x (u_2, 1)) . n / |n|^2 of n = (u_2, 1) x (u_1, 1) R12.
    """
    first, second = (functional.pad(each.double(), (0, 1), value=1.0) for each in slopes)
    turned = first @ rotation_12.double()
    across = torch.linalg.cross(second, turned)
    depth = (torch.linalg.cross(direction.double().expand_as(second), second) * across).sum(-1)
    depth = depth / across.square().sum(-1)
    points = first * depth[..., None]
    bone = torch.linalg.vector_norm(points[:, BONE[1]] - points[:, BONE[0]], dim=-1).median()
    place: Tensor = direction.double() * depth.median().sign() / bone
    return place


def beside_rays(
    poses: Float[Tensor, "*views hands 21 3"],
    slopes: Float[Tensor, "*views hands 21 2"],
    confidence: Float[Tensor, "*views hands 21"],
) -> Float[Tensor, "*views hands"]:
    """How far joints lie beside a camera's rays to them, in the poses' unit: root mean square of B (p + t) by c^2.

    t is the root's place at which that is least. A pose laid over the picture of another camera than it was found in
    is tested by what nobody taught it.
    """
    squares = confidence.double().square()[..., None, None] * _squares_beside(slopes.double())
    poses = poses.double()[..., None]
    place = torch.linalg.solve(squares.sum(-3), -(squares @ poses).sum(-3))
    placed = poses + place[..., None, :, :]
    found: Tensor = ((placed.mT @ squares @ placed)[..., 0, 0].sum(-1) / confidence.double().square().sum(-1)).sqrt()
    return found


def _squares_beside(slopes: Float[Tensor, "*hands 21 2"]) -> Float[Tensor, "*hands 21 3 3"]:
    """B^T B of every ray."""
    b = slopes.new_zeros(*slopes.shape[:-1], 2, 3)
    b[..., 0, 0] = b[..., 1, 1] = 1
    b[..., :, 2] = -slopes
    return b.mT @ b
