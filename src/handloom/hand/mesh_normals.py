"""Normals of a mesh's vertices."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def vertex_normals(
    vertices: Float[Tensor, "*batch vertices 3"], faces: Int[Tensor, "faces 3"]
) -> Float[Tensor, "*batch vertices 3"]:
    """Unit normals, weighted by the area of the faces around each vertex; zero for a vertex without faces.

    n_v = normalise(sum over the faces around v of (b - a) x (c - a)): outward when corners go counter-clockwise.
    """
    a, b, c = (vertices[..., faces[:, corner], :] for corner in range(3))
    of_face = torch.linalg.cross(b - a, c - a)
    sums = torch.zeros_like(vertices)
    for corner in range(3):
        sums = sums.index_add(-2, faces[:, corner], of_face)
    return torch.nn.functional.normalize(sums, dim=-1)
