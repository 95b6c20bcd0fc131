"""What HOLD-Net's fields are held to in canonical space: the hand model's surface, the object's own mesh, and points.

HOLD's code/src/hold/hold_utils.py (prepare_loss_targets_hand, prepare_loss_targets_object), code/src/utils/meshing.py.
Generators are the CPU's.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from handloom.geometry.surfaces import hole_cap
from handloom.geometry.voxels import node_points
from handloom.hand.mano import HandModel
from handloom.reconstruction.holdnet.canonical_space import (
    HAND_NOISE_M,
    CanonicalSurface,
    hand_surface,
    rest_vertices_m,
)
from handloom.reconstruction.holdnet.losses import HAND_SHAPE_REACH_M, HandShape
from handloom.reconstruction.holdnet.model import HoldNet
from handloom.reconstruction.holdnet.networks import ImplicitNetwork
from handloom.reconstruction.object_mesh import SurfaceMesh, surface


class Spread(NamedTuple):
    """Lengths of a canonical space: metres for the hand, the unit sphere's unit for the object."""

    noise: float
    """Of points near the surface."""
    half_extent: tuple[float, float, float]
    """Of the box about the origin with the other points."""
    off_surface: float
    """Rays that stay farther from the surface than this should be transparent."""


OBJECT = "object"
HAND_SPREAD = Spread(HAND_NOISE_M, (0.15, 0.06, 0.12), 0.01)
OBJECT_SPREAD = Spread(0.03, (1.0, 1.0, 1.0), 0.05)
SURFACE_POINTS, SPACE_POINTS = 256, 51
MESH_MARGIN = 2.0
"""Half the side of the cube that the object is meshed in, over its SfM points' radius: object_node.py."""
_POINTS_AT_ONCE = 200_000  # of the grid; about 1 GB at the published width


def hand_shape_points(
    surface: CanonicalSurface, images: int, generator: torch.Generator
) -> Float[Tensor, "{images} point 3"]:
    """Per image 256 surface points moved by N(0, 8 mm) and 51 uniform ones in the hand's box, metres."""
    on_surface = surface.sample(images * SURFACE_POINTS, generator).unflatten(0, (images, SURFACE_POINTS))
    return near_and_around(on_surface, HAND_SPREAD, generator)


def eikonal_points(
    vertices: Float[Tensor, "vertex 3"], images: int, spread: Spread, generator: torch.Generator
) -> Float[Tensor, "{images} point 3"]:
    """Per image 256 random vertices moved by N(0, noise) and 51 uniform points of the box."""
    chosen = torch.randint(len(vertices), (images, SURFACE_POINTS), generator=generator)
    return near_and_around(vertices.detach()[chosen.to(vertices.device)], spread, generator)


def near_and_around(
    points: Float[Tensor, "image near 3"], spread: Spread, generator: torch.Generator
) -> Float[Tensor, "image point 3"]:
    """Points with normal noise, then 51 uniform ones in +-half_extent."""
    moved = points + spread.noise * torch.randn(points.shape, generator=generator).to(points)
    extent = torch.tensor(spread.half_extent).to(points)
    uniform = 2 * torch.rand(len(points), SPACE_POINTS, 3, generator=generator).to(points) - 1
    return torch.cat([moved, extent * uniform], dim=1)


@torch.no_grad()
def object_mesh(network: ImplicitNetwork, cells: int) -> SurfaceMesh:
    """The largest piece of the zero level of the object's field; vertices in units of `MESH_MARGIN`.

    A dense grid in place of HOLD's octree: the same nodes of the finest level, evaluated in bounded memory. Raises
    InputError where nothing is inside.
    """
    device = next(network.parameters()).device
    points = MESH_MARGIN * node_points(cells)
    found = [network.distance(some.to(device)).cpu() for some in points.split(_POINTS_AT_ONCE)]
    return surface(torch.cat(found).view(1, cells, cells, cells))


class CanonicalTargets:
    """The surfaces of hand and object in their canonical spaces; both are missing at first."""

    def __init__(self, model: HandModel, canonical_shape: Float[Tensor, " shape"]) -> None:
        self.side = model.side
        self._rest_m = rest_vertices_m(model, canonical_shape)
        self._cap = hole_cap(model.faces, len(self._rest_m))
        self._hand_at: Tensor | None = None
        self._surfaces: dict[str, CanonicalSurface] = {}

    def set_hand(self, corrected_rest_m: Float[Tensor, "vertex 3"]) -> None:
        """Make the hand at rest, with a pose's correctives, the target."""
        self._hand_at = corrected_rest_m.detach().cpu()
        self._surfaces[self.side] = hand_surface(self._hand_at, self._cap)

    def set_object(self, vertices: Float[Tensor, "vertex 3"], faces: Int[Tensor, "face 3"]) -> None:
        """Make a mesh of the object's unit sphere the target."""
        self._surfaces[OBJECT] = CanonicalSurface(vertices.cpu(), faces.cpu())

    def off_surface(self, name: str, points: Float[Tensor, "ray sample 3"]) -> Bool[Tensor, " ray"] | None:
        """Rays whose samples, in canonical space, stay off the node's surface; None while there is none."""
        if name not in self._surfaces:
            return None
        return self._surfaces[name].missed_by(points.detach(), _spread(name).off_surface)

    def eikonal_gradient(
        self, net: HoldNet, name: str, images: int, generator: torch.Generator
    ) -> Float[Tensor, "image point 3"]:
        """d sdf / d x near a node's first points (the SfM points, the hand at rest) and around."""
        node = net.object_node if name == OBJECT else net.hand_node(self.side)
        sfm_points = net.object_node.server.points_canonical
        points = sfm_points if name == OBJECT else self._rest_m.to(sfm_points.device)
        around = eikonal_points(points, images, _spread(name), generator)
        return node.implicit_network.with_gradient(around, differentiable=True).gradient

    def hand_shape(self, net: HoldNet, images: int, generator: torch.Generator) -> HandShape | None:
        """Distances of the hand's field and of its surface; None while there is no surface."""
        if (surface := self._surfaces.get(self.side)) is None:
            return None
        points = hand_shape_points(surface, images, generator)
        wanted = surface.distance.signed(points, reach=HAND_SHAPE_REACH_M)
        network = net.hand_node(self.side).implicit_network
        device = next(network.parameters()).device
        return network.distance(points.to(device)), wanted.to(device)

    def state(self) -> dict[str, Any]:
        """What the surfaces are made of."""
        thing = self._surfaces.get(OBJECT)
        return {"hand": self._hand_at, "object": None if thing is None else (thing.vertices, thing.faces)}

    def restore(self, state: dict[str, Any]) -> None:
        """Make the same surfaces again."""
        self._surfaces = {}
        if state["hand"] is not None:
            self.set_hand(state["hand"])
        if state["object"] is not None:
            self.set_object(*state["object"])


def _spread(name: str) -> Spread:
    return OBJECT_SPREAD if name == OBJECT else HAND_SPREAD
