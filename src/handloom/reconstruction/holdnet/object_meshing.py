"""The mesh of the object's field: its distances on a dense grid, in bounded memory (facts 2.7)."""

import torch
from jaxtyping import Float
from torch import Tensor

from handloom.reconstruction.compact.meshing import SurfaceMesh, surface
from handloom.reconstruction.compact.voxels import node_points
from handloom.reconstruction.holdnet.implicit_network import ImplicitNetwork


@torch.no_grad()
def distance_grid(
    network: ImplicitNetwork, cells: int, half_side: float, points_at_once: int
) -> Float[Tensor, "1 {cells} {cells} {cells}"]:
    """Signed distances at the nodes of the cube +-half_side of canonical space, on the CPU."""
    device = next(network.parameters()).device
    points = half_side * node_points(cells)
    found = [network.distance(part.to(device)).cpu() for part in points.split(points_at_once)]
    return torch.cat(found).view(1, cells, cells, cells)


def object_mesh(network: ImplicitNetwork, cells: int, half_side: float, points_at_once: int) -> SurfaceMesh:
    """The largest piece of the zero level; vertices in units of `half_side`.

    A dense grid in place of HOLD's octree: the same nodes of the finest level. Raises InputError where nothing is
    inside.
    """
    return surface(distance_grid(network, cells, half_side, points_at_once))
