"""The posed hands of all frames as one point set: nearest vertices and skinning weights of points around them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from handloom.geometry.neighbours import NeighbourSearch
from handloom.geometry.surfaces import vertex_normals
from handloom.hand.mano import HandModel

FRAME_DISTANCE_M = 100.0
"""How far apart frames are put in the search: no ray is so long."""
_THREADS = 2


class PosedHands:
    """A snapshot of the hands; make a new one when the poses have moved.

    Neighbours are sought on the CPU, all else is where the vertices are.
    """

    def __init__(self, model: HandModel, vertices_cam_m: Float[Tensor, "frames vertex 3"]) -> None:
        self.vertices = vertices_cam_m.detach()
        self.model = model.to(self.vertices.device)
        self.normals = vertex_normals(self.vertices, self.model.faces)
        self._search = NeighbourSearch(self.vertices, FRAME_DISTANCE_M)
        centre = self.vertices.mean(1)
        self.centre_m = centre
        self.radius_m = torch.linalg.vector_norm(self.vertices - centre[:, None], dim=-1).amax(1)

    def near(
        self, points_cam_m: Float[Tensor, "points 3"], frame: Int[Tensor, " points"], count: int
    ) -> tuple[Int[Tensor, "points {count}"], Float[Tensor, "points {count}"]]:
        """The `count` nearest vertices of each point in its own frame, and their distances in metres."""
        distance_m, vertex = self._search.nearest_in(points_cam_m, frame, count, _THREADS)
        device = self.vertices.device
        return vertex.clamp(0, self.vertices.shape[1] - 1).to(device), distance_m.float().to(device)

    def distance_m(
        self, points_cam_m: Float[Tensor, "points 3"], frame: Int[Tensor, " points"]
    ) -> Float[Tensor, " points"]:
        """Signed distance to the nearest vertex, its sign by the side of the vertex's tangent plane; for proposals."""
        vertex, distance_m = (values[:, 0] for values in self.near(points_cam_m, frame, 1))
        offset = points_cam_m - self.vertices[frame, vertex]
        side = (offset * self.normals[frame, vertex]).sum(-1)
        return torch.where(side < 0, -distance_m, distance_m)

    def skinning_weights(
        self, vertex: Int[Tensor, "points near"], distance_m: Float[Tensor, "points near"]
    ) -> Float[Tensor, "points 16"]:
        """Skinning weights of points: those of the nearest vertices, weighted by exp(-d^2).

        Distances are metres, not scaled, so all neighbours weigh nearly the same, as in HOLD's mano/deformer.py.
        """
        share = torch.exp(-distance_m.square())
        share = share / share.sum(-1, keepdim=True)
        return (share[..., None] * self.model.weights[vertex]).sum(1)
