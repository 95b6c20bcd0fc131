"""Rotation averaging over a graph of cameras: all pair rotations estimated together.

Row convention: with world-to-camera rotations R_a, a pair's rotation is R_ab = R_a R_b^T, so R_ad = R_ab R_bd.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from handloom.geometry.rotations import ROBUST_FLOOR_RAD, angle_rad, nearest_orthogonal
from handloom.runtime.errors import InputError

ROBUST_ITERATIONS = 50


def all_pairs(cameras: int) -> Int[Tensor, "pairs 2"]:
    """Every pair (a, b) of cameras with a < b, in lexicographic order."""
    return torch.combinations(torch.arange(cameras), 2)


def pair_rotations(
    camera_rotations: Float[Tensor, "cameras 3 3"], edges: Int[Tensor, "edges 2"]
) -> Float[Tensor, "edges 3 3"]:
    """R_ab = R_a R_b^T of every edge (a, b)."""
    return camera_rotations[edges[:, 0]] @ camera_rotations[edges[:, 1]].transpose(-1, -2)


def synchronise_rotations(
    edges: Int[Tensor, "edges 2"],
    rotations: Float[Tensor, "edges 3 3"],
    weights: Float[Tensor, " edges"] | None = None,
    *,
    cameras: int,
    robust: bool = True,
) -> Float[Tensor, "cameras 3 3"]:
    """Camera rotations R_a (R_0 = I) that agree best with the measured R_ab of a connected graph.

    Minimises sum_ab w_ab |R_a R_b^T - R_ab|_F^2 by its spectral relaxation; with `robust` re-weighted towards the sum
    of unsquared angles, so one bad edge is out-voted by the paths around it. The result is proper and consistent by
    construction. Sources: Arie-Nachimson et al., 3DIMPVT 2012 (spectral); Hartley et al., IJCV 2013 (L1 averaging).
    Raises InputError when the graph is not connected.
    """
    base = torch.ones_like(rotations[:, 0, 0]) if weights is None else weights
    _require_connected(edges, base, cameras)
    estimate = _spectral(edges, rotations, base, cameras)
    for _ in range(ROBUST_ITERATIONS if robust else 0):
        residual = angle_rad(rotations, pair_rotations(estimate, edges))
        estimate = _spectral(edges, rotations, base / residual.clamp_min(ROBUST_FLOOR_RAD), cameras)
    return estimate @ estimate[0].T


def _spectral(edges: Tensor, rotations: Tensor, weights: Tensor, cameras: int) -> Tensor:
    """Rotations from the three leading eigenvectors of D^-1/2 W D^-1/2, W holding the weighted pair rotations."""
    blocks = rotations.new_zeros(cameras, cameras, 3, 3)
    blocks[edges[:, 0], edges[:, 1]] = weights[:, None, None] * rotations
    blocks[edges[:, 1], edges[:, 0]] = weights[:, None, None] * rotations.transpose(-1, -2)
    degree = rotations.new_zeros(cameras)
    degree = degree.index_add(0, edges.flatten(), weights.repeat_interleave(2))
    scale = degree.rsqrt()
    blocks = blocks * scale[:, None, None, None] * scale[None, :, None, None]
    matrix = blocks.permute(0, 2, 1, 3).reshape(3 * cameras, 3 * cameras)
    leading = torch.linalg.eigh(matrix).eigenvectors[:, -3:].reshape(cameras, 3, 3)
    # The eigenvectors are known up to one orthogonal factor on the right; a reflection there would mirror every camera.
    mirrored = torch.linalg.det(leading).sum() < 0
    return nearest_orthogonal(torch.where(mirrored, -leading, leading))


def _require_connected(edges: Tensor, weights: Tensor, cameras: int) -> None:
    joined = torch.eye(cameras, dtype=torch.bool)
    used = edges[weights.cpu() > 0].cpu()
    joined[used[:, 0], used[:, 1]] = True
    joined[used[:, 1], used[:, 0]] = True
    reach = torch.linalg.matrix_power(joined.double(), cameras) > 0
    if not bool(reach.all()):
        reached = torch.nonzero(reach[0]).flatten().tolist()
        raise InputError(
            f"camera graph: from camera 0 only cameras {reached} can be reached, expected all {cameras}; "
            "give pairs that connect every camera"
        )
