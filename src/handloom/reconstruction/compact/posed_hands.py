"""The posed hands of all frames as one point set: nearest vertices and skinning weights of points around them.

Frames are kept apart by shifting each one along x, so that a single k-d tree answers for rays of many frames at once.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

from handloom.hand.mano import HandModel
from handloom.hand.mesh_normals import vertex_normals

FRAME_DISTANCE_M = 100.0
_THREADS = 2


class Neighbours(NamedTuple):
    """The nearest vertices of points and their distances."""

    vertex: Int[Tensor, "points near"]
    distance_m: Float[Tensor, "points near"]


class PosedHands:
    """A snapshot of the hands; make a new one when the poses have moved.

    The tree is on the CPU, all else where the vertices are.
    """

    def __init__(self, model: HandModel, vertices_cam_m: Float[Tensor, "frames vertex 3"]) -> None:
        self.vertices = vertices_cam_m.detach()
        self.model = model.to(self.vertices.device)
        self.normals = vertex_normals(self.vertices, self.model.faces)
        shifted = self.vertices.cpu().double().clone()
        shifted[..., 0] += FRAME_DISTANCE_M * torch.arange(len(shifted))[:, None]
        self._tree = cKDTree(shifted.view(-1, 3).numpy())
        centre = self.vertices.mean(1)
        self.centre_m = centre
        self.radius_m = torch.linalg.vector_norm(self.vertices - centre[:, None], dim=-1).amax(1)

    def near(self, points_cam_m: Float[Tensor, "points 3"], frame: Int[Tensor, " points"], count: int) -> Neighbours:
        """The `count` nearest vertices of each point in its own frame."""
        device = self.vertices.device
        shifted = points_cam_m.detach().cpu().double().clone()
        shifted[:, 0] += FRAME_DISTANCE_M * frame.cpu()
        distance, index = self._tree.query(shifted.numpy(), k=count, workers=_THREADS)
        distance, index = (np.asarray(values).reshape(len(points_cam_m), count) for values in (distance, index))
        vertex = torch.from_numpy(index).to(device) - (frame * self.vertices.shape[1])[:, None]
        return Neighbours(vertex.clamp(0, self.vertices.shape[1] - 1), torch.from_numpy(distance).float().to(device))

    def distance_m(
        self, points_cam_m: Float[Tensor, "points 3"], frame: Int[Tensor, " points"]
    ) -> Float[Tensor, " points"]:
        """Signed distance to the nearest vertex, its sign by the side of the vertex's tangent plane; for proposals."""
        near = self.near(points_cam_m, frame, 1)
        vertex = near.vertex[:, 0]
        offset = points_cam_m - self.vertices[frame, vertex]
        side = (offset * self.normals[frame, vertex]).sum(-1)
        return torch.where(side < 0, -near.distance_m[:, 0], near.distance_m[:, 0])

    def skinning_weights(self, near: Neighbours) -> Float[Tensor, "points 16"]:
        """Skinning weights of points: those of the nearest vertices, weighted by exp(-d^2) (facts/hold.md 2.2).

        Distances are metres here and not scaled, so all neighbours weigh nearly the same, as in the reference.
        """
        share = torch.exp(-near.distance_m.square())
        share = share / share.sum(-1, keepdim=True)
        return (share[..., None] * self.model.weights[near.vertex]).sum(1)
