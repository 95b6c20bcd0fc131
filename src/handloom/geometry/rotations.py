"""Rotations between poses, their means and momentum updates.

Poses are rows: `poses_2 ~ poses_1 @ rotation_12`; with world-to-camera rotations R_a, a pair's rotation is therefore
R_ab = R_a R_b^T, and R_ad = R_ab R_bd. Quaternions are (w, x, y, z).
Functions named `..._unsigned` reproduce ut-vision/S2DHand, quirks included (`utils/func.py`, `calc_metrics.py`).
"""

import math

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from handloom.runtime.errors import InputError

Rotation = Float[Tensor, "3 3"]
Rotations = Float[Tensor, "*batch 3 3"]
Several = Float[Tensor, "count 3 3"]
Weights = Float[Tensor, " count"]

ROBUST_ITERATIONS = 30
"""Re-weightings of a mean; a fixed number, so that equal inputs take equal steps."""
ROBUST_FLOOR_RAD = math.radians(1.0)
"""Residuals below this weigh alike: no single sample may take all the weight."""


def rotation_between(
    poses_1: Float[Tensor, "*batch joints 3"],
    poses_2: Float[Tensor, "*batch joints 3"],
    weights: Float[Tensor, "*batch joints"] | None = None,
    *,
    proper: bool = True,
) -> Rotations:
    """The orthogonal R that minimises sum_j w_j |p1_j R - p2_j|^2: U V^T of the SVD of P1^T W P2.

    Poses are not centred. With `proper` the determinant is corrected to +1 (Kabsch); without it, R may be a reflection,
    as in `utils/func.py:R_from_2poses` of ut-vision/S2DHand. Source: Schoenemann 1966.
    """
    weighted = poses_1 if weights is None else poses_1 * weights.unsqueeze(-1)
    return nearest_orthogonal(weighted.transpose(-1, -2) @ poses_2, proper=proper)


def nearest_orthogonal(matrix: Rotations, *, proper: bool = True) -> Rotations:
    """The orthogonal matrix (with `proper`: the rotation) nearest to `matrix` in the Frobenius norm."""
    nearest: Tensor = roma.procrustes(matrix, force_rotation=proper)
    return nearest


def quaternion_from_matrix(matrix: Rotations) -> Float[Tensor, "*batch 4"]:
    """Quaternion (w, x, y, z) by branches: trace > 0, else the largest diagonal element (the later one of a tie).

    The sign is whatever the branch gives, which is what the released code averages (`calc_metrics.py:calc_R`).
    """
    m = matrix
    x, y, z = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    w_x, w_y, w_z = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    x_y, x_z, y_z = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    # Row b of this matrix is 4 q_b q: four times the quaternion, scaled by its own component b.
    products = torch.stack(
        [
            torch.stack([1 + x + y + z, w_x, w_y, w_z], -1),
            torch.stack([w_x, 1 + x - y - z, x_y, x_z], -1),
            torch.stack([w_y, x_y, 1 - x + y - z, y_z], -1),
            torch.stack([w_z, x_z, y_z, 1 - x - y + z], -1),
        ],
        -2,
    )
    largest = torch.where((x > y) & (x > z), 1, torch.where(y > z, 2, 3))
    branch = torch.where(x + y + z > 0, 0, largest)
    row = products.gather(-2, branch[..., None, None].expand(*branch.shape, 1, 4)).squeeze(-2)
    own = row.gather(-1, branch.unsqueeze(-1))
    return row / (2 * own.sqrt())


def matrix_from_quaternion(quaternion: Float[Tensor, "*batch 4"]) -> Rotations:
    """Rotation matrix of a quaternion (w, x, y, z) of any length; it is normalised first."""
    unit = quaternion / quaternion.norm(dim=-1, keepdim=True)
    matrix: Tensor = roma.unitquat_to_rotmat(roma.quat_wxyz_to_xyzw(unit))
    return matrix


def mean_rotation_unsigned(rotations: Several) -> Rotation:
    """Normalised mean of quaternions without aligned signs: the released code's average, wrong near sign flips."""
    return matrix_from_quaternion(quaternion_from_matrix(rotations).mean(0))


def mean_rotation_chordal(rotations: Several, weights: Weights | None = None) -> Rotation:
    """Rotation of least weighted sum of squared chordal distances: the arithmetic mean, projected onto SO(3)."""
    if len(rotations) == 0:
        raise InputError("mean rotation: found 0 rotations, expected at least 1; give pairs with valid common joints")
    scale = torch.ones_like(rotations[:, 0, 0]) if weights is None else weights
    return nearest_orthogonal((scale[:, None, None] * rotations).sum(0))


def mean_rotation_robust(rotations: Several, weights: Weights | None = None) -> Rotation:
    """Geodesic-L1 mean by iteratively re-weighted chordal means: weight / max(angle to the mean, one degree).

    Half of the samples may be outliers. Source: Weiszfeld's algorithm on SO(3), Hartley, Aftab and Trumpf, CVPR 2011.
    """
    scale = torch.ones_like(rotations[:, 0, 0]) if weights is None else weights
    mean = mean_rotation_chordal(rotations, scale)
    for _ in range(ROBUST_ITERATIONS):
        mean = mean_rotation_chordal(rotations, scale / angle_rad(rotations, mean).clamp_min(ROBUST_FLOOR_RAD))
    return mean


def momentum_rotation(
    previous: Rotations, estimate: Rotations, momentum: Float[Tensor, "*batch"] | float, *, align_signs: bool = True
) -> Rotations:
    """Matrix of normalise(m q_previous + (1 - m) q_estimate), the moving average of a rotation.

    `align_signs` first flips q_estimate into q_previous's half of the sphere; the released code does not.
    """
    q_previous, q_estimate = quaternion_from_matrix(previous), quaternion_from_matrix(estimate)
    if align_signs:
        opposite = (q_previous * q_estimate).sum(-1, keepdim=True) < 0
        q_estimate = torch.where(opposite, -q_estimate, q_estimate)
    m = torch.as_tensor(momentum, dtype=previous.dtype, device=previous.device).unsqueeze(-1)
    return matrix_from_quaternion(m * q_previous + (1 - m) * q_estimate)


def angle_rad(rotations_1: Rotations, rotations_2: Float[Tensor, "*#batch 3 3"]) -> Float[Tensor, "*batch"]:
    """Geodesic distance of rotations in radians, from the chordal one: |R1 - R2|_F = 2 sqrt(2) sin(angle / 2)."""
    chord = torch.linalg.matrix_norm(rotations_1 - rotations_2)
    return 2 * torch.asin((chord / math.sqrt(8)).clamp_max(1))


def angle_deg(rotations_1: Rotations, rotations_2: Float[Tensor, "*#batch 3 3"]) -> Float[Tensor, "*batch"]:
    """Geodesic distance of rotations in degrees."""
    return torch.rad2deg(angle_rad(rotations_1, rotations_2))
