"""A hand mesh whose open wrist is closed with a fan, as HOLD renders and samples it (facts/hold.md 1.5, golden c08)."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from handloom.runtime.errors import InputError


class WristCap(NamedTuple):
    """What closes a mesh with one hole: the ring of vertices around it, and the faces of the closed mesh."""

    ring: Int[Tensor, " ring"]
    faces: Int[Tensor, "faces 3"]
    """All faces, then one per edge of the ring; the new vertex is the last one."""

    def sealed(self, vertices: Float[Tensor, "*batch vertices 3"]) -> Float[Tensor, "*batch sealed 3"]:
        """The vertices followed by the mean of the ring."""
        return torch.cat([vertices, vertices[..., self.ring, :].mean(-2, keepdim=True)], dim=-2)


def wrist_cap(faces: Int[Tensor, "faces 3"], vertex_count: int) -> WristCap:
    """The cap of a mesh with one hole.

    A border edge runs a -> b in one face only; the new face runs b -> a, so that all normals keep looking outwards.
    Raises InputError when there is no hole.
    """
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    forward = edges[:, 0] * vertex_count + edges[:, 1]
    border = edges[~torch.isin(forward, edges[:, 1] * vertex_count + edges[:, 0])]
    if not len(border):
        raise InputError("hand mesh: has no open wrist, but one hole was expected; use its faces as they are")
    fan = torch.column_stack([border.flip(1), border.new_full((len(border),), vertex_count)])
    return WristCap(border[:, 0], torch.cat([faces, fan]))
