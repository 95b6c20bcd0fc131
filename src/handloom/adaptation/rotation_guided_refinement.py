"""Rotation-guided refinement: the least change of two poses that makes their rotation the camera pair's.

Minimises |rot(P1', P2') - R12|_F near (P1, P2) over the joints that both views see (S2DHand, Sec. 3.3).

The released code runs BFGS on every sample. The set it looks for is {P1^T Y symmetric}, Y = P2 R12^T, and the nearest
point of that set has a closed form: with multipliers l in R^3 and L = [l]x,

    P1' = (P1 - Y L) (I + L^2)^-1,    Y' = (Y + P1 L) (I + L^2)^-1,    (M + t I) l = -w,  t = w . l,

where w is the axial vector of P1^T Y - Y^T P1 and M = tr(S) I - S, S = P1^T P1 + Y^T Y. What is left is one scalar
equation, t + sum_i w_i^2 / (m_i + t) = 0 in M's eigenbasis, convex on its branch: Newton's method from t = 0 never
leaves it, and |l| < 1 there makes the stationary point the global minimum of the displacement.
"""

from typing import NamedTuple

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from handloom.geometry.rotations import rotation_between

Poses = Float[Tensor, "batch 21 3"]
Common = Bool[Tensor, "batch 21"]
Rotation = Float[Tensor, "3 3"]

LEAST_COMMON_JOINTS = 3
BFGS_ITERATIONS = 20
NEWTON_STEPS = 40
SYLVESTER_STEPS = 6
NEGLIGIBLE = 1e-9
THINNEST = 1e-3
"""Least ratio of the smallest to the largest eigenvalue of P1'^T Y' where the pose pair had been a reflection."""


class RefinedPoses(NamedTuple):
    """The refined poses of both views, and which samples were too degenerate to be refined (returned unchanged)."""

    view_1: Poses
    view_2: Poses
    unchanged: Bool[Tensor, " batch"]


def refine_least_norm(poses_1: Poses, poses_2: Poses, common: Common, rotation_12: Rotation) -> RefinedPoses:
    """Smallest total displacement of the common joints after which rot(P1', P2') is the proper rotation `rotation_12`.

    A joint at the origin stays there. Samples with fewer than three common joints, or with all of them on one line
    through the root, have no rotation and come back unchanged, as do poses that are not finite. Where the nearest
    symmetric point has the wrong sign (the poses differ from `rotation_12` by more than about 90 degrees), the poses
    are first turned half-way each; where it is a reflection, it is lifted to the nearest positive product.
    """
    dtype = poses_1.dtype
    rotation = rotation_12.double()
    mask = common.unsqueeze(-1)
    p = torch.where(mask, poses_1.double(), 0.0)
    y = torch.where(mask, poses_2.double() @ rotation.T, 0.0)
    degenerate = common.sum(-1) < LEAST_COMMON_JOINTS
    # Degenerate samples ride along as a well-posed dummy, so that one of them cannot disturb the batch.
    dummy = torch.eye(3, dtype=p.dtype, device=p.device).repeat(7, 1)
    for is_degenerate in (_not_finite, _on_one_line):
        degenerate = degenerate | is_degenerate(p) | is_degenerate(y)
        p, y = (torch.where(degenerate[:, None, None], dummy, poses) for poses in (p, y))

    p_near, y_near = _nearest_symmetric(p, y)
    no_solution = p_near.isnan().any(-1).any(-1)
    p_near, y_near = (
        torch.where(no_solution[:, None, None], poses, near) for poses, near in ((p, p_near), (y, y_near))
    )
    least, middle, most = torch.linalg.eigvalsh(p_near.transpose(-1, -2) @ y_near).unbind(-1)
    opposite = no_solution | (least + middle < 0)
    to_lift = opposite | (least < -NEGLIGIBLE * most)
    if bool(to_lift.any()):
        start = opposite[to_lift][:, None, None]
        p_near[to_lift], y_near[to_lift] = _turn_and_lift(
            torch.where(start, p[to_lift], p_near[to_lift]), torch.where(start, y[to_lift], y_near[to_lift])
        )

    moved = mask & ~degenerate[:, None, None]
    return RefinedPoses(
        torch.where(moved, p_near.to(dtype), poses_1),
        torch.where(moved, (y_near @ rotation).to(dtype), poses_2),
        degenerate,
    )


def _not_finite(poses: Tensor) -> Tensor:
    return ~poses.isfinite().all(-1).all(-1)


def _on_one_line(poses: Tensor) -> Tensor:
    spread = torch.linalg.eigvalsh(poses.transpose(-1, -2) @ poses)
    return ~(spread[:, 1] > NEGLIGIBLE * spread[:, 2])


def _nearest_symmetric(p: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The pair nearest to (p, y) with symmetric p^T y, by the module's closed form; NaN where there is none."""
    cross, gram = p.transpose(-1, -2) @ y, p.transpose(-1, -2) @ p + y.transpose(-1, -2) @ y
    identity = torch.eye(3, dtype=p.dtype, device=p.device)
    trace = gram.diagonal(dim1=-2, dim2=-1).sum(-1)
    m, basis = torch.linalg.eigh(trace[:, None, None] * identity - gram)
    axial = _axial(cross - cross.transpose(-1, -2))
    w = (basis.transpose(-1, -2) @ axial.unsqueeze(-1)).squeeze(-1)
    t = torch.zeros_like(trace)
    for _ in range(NEWTON_STEPS):
        ratio = w / (m + t.unsqueeze(-1))
        slope = 1 - ratio.square().sum(-1)
        step = (t + (w * ratio).sum(-1)) / slope
        t = torch.where(slope > 0, t - step, torch.nan)
        if bool((step.abs() <= 1e-15 * trace).logical_or(t.isnan()).all()):
            break
    multipliers = -(basis @ (w / (m + t.unsqueeze(-1))).unsqueeze(-1))
    skew = _skew(multipliers.squeeze(-1))
    # (I + L^2)^-1 = (I - l l^T) / (1 - |l|^2)
    outer, squared = multipliers @ multipliers.transpose(-1, -2), multipliers.square().sum(-2, keepdim=True)
    inverse = (identity - outer) / (1 - squared)
    return (p - y @ skew) @ inverse, (y + p @ skew) @ inverse


def _turn_and_lift(p: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Turn both poses half-way towards each other, then move them least to make p^T y symmetric positive definite.

    The lift solves p'^T y' = C for a clipped C by Gauss-Newton on a 3x3 multiplier L (a Sylvester equation per step).
    """
    half = roma.rotvec_to_rotmat(0.5 * roma.rotmat_to_rotvec(rotation_between(p, y)))
    p, y = p @ half, y @ half.transpose(-1, -2)
    cross = p.transpose(-1, -2) @ y
    values, vectors = torch.linalg.eigh(0.5 * (cross + cross.transpose(-1, -2)))
    clipped = torch.maximum(values, THINNEST * values[:, 2:])
    # A thickness of zero stays: two flat hands in one plane have a proper rotation and nothing to lift.
    clipped = torch.where(values.abs() <= NEGLIGIBLE * values[:, 2:], values, clipped)
    wanted = vectors @ torch.diag_embed(clipped) @ vectors.transpose(-1, -2)
    for _ in range(SYLVESTER_STEPS):
        a, u = torch.linalg.eigh(p.transpose(-1, -2) @ p)
        b, v = torch.linalg.eigh(y.transpose(-1, -2) @ y)
        missing = u.transpose(-1, -2) @ (wanted - p.transpose(-1, -2) @ y) @ v
        multiplier = (
            u @ (missing / (a[:, :, None] + b[:, None, :]).clamp_min(1e-12 * a[:, 2:, None])) @ v.transpose(-1, -2)
        )
        p, y = p + y @ multiplier.transpose(-1, -2), y + p @ multiplier
    return p, y


def _axial(skew: Tensor) -> Tensor:
    return torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], -1)


def _skew(vector: Tensor) -> Tensor:
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))


def refine_bfgs(poses_1: Poses, poses_2: Poses, common: Common, rotation_12: Rotation) -> RefinedPoses:
    """The released refinement: 20 iterations of SciPy's BFGS per sample, with a finite-difference gradient.

    It minimises |U V^T - R12|_F for P1^T P2 = U S V^T, the norm and not its square. Runs in float64 on the CPU, one
    sample after the other: the reference and the benchmark's baseline. Samples with fewer than three common joints stay
    unchanged (the released code is degenerate or fails there).
    """
    from scipy.optimize import minimize  # slow to import, and only the reference needs it

    rotation = rotation_12.double().cpu().numpy()
    refined_1, refined_2 = poses_1.double().cpu().numpy().copy(), poses_2.double().cpu().numpy().copy()
    masks = common.cpu().numpy()
    unchanged = masks.sum(-1) < LEAST_COMMON_JOINTS
    for sample in np.flatnonzero(~unchanged):
        mask = masks[sample]
        start = np.stack([refined_1[sample, mask], refined_2[sample, mask]])

        def objective(x: np.ndarray, shape: tuple[int, ...] = start.shape) -> float:
            p1, p2 = x.reshape(shape)
            u, _, vt = np.linalg.svd(p1.T @ p2)
            return float(np.linalg.norm(u @ vt - rotation))

        result = minimize(objective, start.ravel(), method="BFGS", options={"maxiter": BFGS_ITERATIONS})
        refined_1[sample, mask], refined_2[sample, mask] = result.x.reshape(start.shape)
    return RefinedPoses(*(torch.as_tensor(a, device=poses_1.device) for a in (refined_1, refined_2, unchanged)))
