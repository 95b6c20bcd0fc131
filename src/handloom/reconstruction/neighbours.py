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

    One tree holds all clouds, each moved so far along x that none can meet another: no loop over the batch.
    """

    def __init__(self, clouds: Float[Tensor, "batch vertex 3"]) -> None:
        self.clouds = clouds.detach()
        self._tree: cKDTree | None = None
        self._step = 0.0

    def nearest(self, queries: Float[Tensor, "#batch query 3"], count: int) -> Neighbours:
        """The `count` nearest vertices of each query in its own cloud; nothing is differentiated."""
        queries = queries.detach().expand(len(self.clouds), -1, -1)
        if queries.device.type == "cpu":
            return self._nearest_by_tree(queries, count)
        return self._nearest_by_force(queries, count)

    def _nearest_by_tree(self, queries: Tensor, count: int) -> Neighbours:
        clouds, points = self.clouds.double().numpy(), queries.double().numpy()
        # Farther apart than any query is from its own cloud, or clouds would mix.
        needed = 4 * float(max(np.abs(clouds).max(initial=0), np.abs(points).max(initial=0))) + 1
        vertex_count = clouds.shape[1]
        if self._tree is None or needed > self._step:
            self._step = 2.0 ** np.ceil(np.log2(4 * needed))
            self._tree = cKDTree(self._apart(clouds).reshape(-1, 3))
        distance, index = self._tree.query(self._apart(points).reshape(-1, 3), k=np.arange(1, count + 1))
        shape = (*points.shape[:2], count)
        own = index.reshape(shape) - vertex_count * np.arange(len(clouds))[:, None, None]
        return Neighbours(
            torch.from_numpy(distance.reshape(shape) ** 2).to(queries.dtype), torch.from_numpy(own.astype(np.int64))
        )

    def _nearest_by_force(self, queries: Tensor, count: int) -> Neighbours:
        chunk = max(1, _DISTANCES_AT_ONCE // (self.clouds.shape[0] * self.clouds.shape[1]))
        found = []
        for part in queries.split(chunk, dim=1):
            # cdist's matrix-product shortcut loses the digits that decide between neighbours.
            distance = torch.cdist(part, self.clouds, compute_mode="donot_use_mm_for_euclid_dist")
            found.append(distance.topk(count, dim=-1, largest=False))
        distances = torch.cat([values for values, _ in found], dim=1)
        return Neighbours(distances.square(), torch.cat([index for _, index in found], dim=1))

    def _apart(self, points: np.ndarray) -> np.ndarray:
        offset = np.zeros((len(points), 1, 3))
        offset[:, 0, 0] = self._step * np.arange(len(points))
        return points + offset
