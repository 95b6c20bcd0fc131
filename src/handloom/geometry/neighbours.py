"""Nearest vertices of each query point, for a batch of point clouds at once."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

_DISTANCES_AT_ONCE = 2**24
"""Most distances of the brute-force search in memory at a time (64 MB in float32)."""


class Neighbours(NamedTuple):
    """The nearest vertices of every query, nearest first."""

    squared_distance: Float[Tensor, "batch query k"]
    vertex: Int[Tensor, "batch query k"]


class NeighbourSearch:
    """Exact nearest neighbours in the clouds of a batch: a KD-tree on the CPU, brute force on other devices.

    One tree holds all clouds, each moved so far along x that none can meet another: no loop over the batch. How far
    follows from the points, or is `apart`, where equal searches in another order must give equal bits.
    """

    def __init__(self, clouds: Float[Tensor, "batch vertex 3"], apart: float | None = None) -> None:
        self.clouds = clouds.detach()
        self._tree: cKDTree | None = None
        self._apart, self._step = apart, 0.0

    def nearest(self, queries: Float[Tensor, "#batch query 3"], count: int) -> Neighbours:
        """The `count` nearest vertices of each query in its own cloud; nothing is differentiated."""
        queries = queries.detach().expand(len(self.clouds), -1, -1)
        if queries.device.type != "cpu":
            return self._nearest_by_force(queries, count)
        shape = (*queries.shape[:2], count)
        cloud = torch.arange(len(queries)).repeat_interleave(queries.shape[1])
        distance, vertex = self.nearest_in(queries.reshape(-1, 3), cloud, count)
        return Neighbours((distance**2).to(queries.dtype).view(shape), vertex.view(shape))

    def nearest_in(
        self, points: Float[Tensor, "points 3"], cloud: Int[Tensor, " points"], count: int, threads: int = 1
    ) -> tuple[Float[Tensor, "points {count}"], Int[Tensor, "points {count}"]]:
        """The same for points of any clouds: distances (float64) and vertices, found and given back on the CPU."""
        queries, owner = points.detach().cpu().double().numpy(), cloud.cpu().numpy()
        tree = self._tree_for(queries)
        distance, index = tree.query(self._moved(queries, owner), k=np.arange(1, count + 1), workers=threads)
        vertex = index.astype(np.int64) - self.clouds.shape[1] * owner[:, None]
        return torch.from_numpy(distance), torch.from_numpy(vertex)

    def _tree_for(self, queries: np.ndarray) -> cKDTree:
        clouds, step = self.clouds.cpu().double().numpy(), self._apart
        if step is None:
            # Farther apart than any query is from its own cloud, or clouds would mix.
            needed = 4 * float(max(np.abs(clouds).max(initial=0), np.abs(queries).max(initial=0))) + 1
            step = self._step if needed <= self._step else 2.0 ** np.ceil(np.log2(4 * needed))
        if self._tree is None or step != self._step:
            self._step = step
            owner = np.repeat(np.arange(len(clouds)), clouds.shape[1])
            self._tree = cKDTree(self._moved(clouds.reshape(-1, 3), owner))
        return self._tree

    def _moved(self, points: np.ndarray, cloud: np.ndarray) -> np.ndarray:
        moved = points.copy()
        moved[:, 0] += self._step * cloud
        return moved

    def _nearest_by_force(self, queries: Tensor, count: int) -> Neighbours:
        chunk = max(1, _DISTANCES_AT_ONCE // (self.clouds.shape[0] * self.clouds.shape[1]))
        found = []
        for some in queries.split(chunk, dim=1):
            # cdist's matrix-product shortcut loses the digits that decide between neighbours.
            distance = torch.cdist(some, self.clouds, compute_mode="donot_use_mm_for_euclid_dist")
            found.append(distance.topk(count, dim=-1, largest=False))
        distances = torch.cat([values for values, _ in found], dim=1)
        return Neighbours(distances.square(), torch.cat([index for _, index in found], dim=1))
