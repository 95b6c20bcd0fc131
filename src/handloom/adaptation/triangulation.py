"""Poses of two views of a hand that agree with both views' poses and with both views' rays to its joints.

A network finds joints in the picture better than it finds the hand's orientation, and the rays of two cameras whose
rotation R12 is known fix the orientation that each view's pose has wrong. With `p_v` the views' root-relative poses in
bones 0-9, `u_v` the slopes of the rays, `c_v` the confidence and `t_v` the root's unknown places in the cameras,

    min over X, t_1, t_2 of  sum_vj  |B_vj (X_j R_v + t_v)|^2 c_vj^2 / s_r^2  +  |p_vj - X_j R_v|^2 / s_p^2,

R_1 = I, R_2 = R12 and B = [[1, 0, -u_x], [0, 1, -u_y]]: linear in X and t, and solved by eliminating the joints.
Neither the cameras' distance nor a calibration enters.
"""

import torch
from jaxtyping import Float
from torch import Tensor

RAY_DEVIATION = 0.12
"""s_r, in bones 0-9 beside the ray: 12 mm for a bone of 100."""
POSE_DEVIATION = 0.3
"""s_p, in bones 0-9."""


def triangulated_poses(
    poses: Float[Tensor, "2 hands 21 3"],
    slopes: Float[Tensor, "2 hands 21 2"],
    confidence: Float[Tensor, "2 hands 21"],
    rotation_12: Float[Tensor, "3 3"],
) -> Float[Tensor, "hands 21 3"]:
    """X in the frame of view 1, in double precision; poses are root-relative rows in bones 0-9."""
    poses, slopes, confidence = (value.double() for value in (poses, slopes, confidence))
    rotation = rotation_12.double()
    turns = torch.stack([torch.eye(3, dtype=torch.float64), rotation])[:, None, None]
    b = torch.zeros(*slopes.shape[:3], 2, 3, dtype=torch.float64)
    b[..., 0, 0] = b[..., 1, 1] = 1
    b[..., :, 2] = -slopes
    rays = (confidence / RAY_DEVIATION).square()[..., None, None] * (b.mT @ b)
    prior = torch.eye(3, dtype=torch.float64) / POSE_DEVIATION**2
    # Normal equations: of the joints, of joints with places, of places; those of two views side by side.
    joints = (turns @ (rays + prior) @ turns.mT).sum(0)
    mixed = torch.cat(list(turns @ rays), -1)
    places = torch.zeros(len(joints), 6, 6, dtype=torch.float64)
    places[:, :3, :3], places[:, 3:, 3:] = rays.sum(2)
    wanted = (poses[..., None, :] @ prior @ turns.mT).sum(0).mT
    without = torch.linalg.solve(joints, torch.cat([wanted, mixed], -1))
    alone, moved = without[..., :1], without[..., 1:]
    schur = places - (mixed.mT @ moved).sum(1)
    t = torch.linalg.solve(schur, -(mixed.mT @ alone).sum(1))
    found: Tensor = (alone - moved @ t[:, None])[..., 0]
    return found
