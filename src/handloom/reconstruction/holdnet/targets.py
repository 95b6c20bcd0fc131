"""What HOLD-Net's fields are held to in canonical space: hand model, object mesh, and points of both (facts 2.5)."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from handloom.hand.mano import HandModel
from handloom.reconstruction.canonical_target import (
    HAND_HALF_EXTENT_M,
    HAND_NOISE_M,
    HAND_OFF_SURFACE_M,
    OBJECT_NOISE,
    OBJECT_OFF_SURFACE,
    CanonicalSurface,
    eikonal_points,
    hand_shape_points,
    hand_surface,
    rays_off_surface,
)
from handloom.reconstruction.hand_server import canonical_hand
from handloom.reconstruction.holdnet.model import HoldNet
from handloom.reconstruction.losses import HandShapeTarget
from handloom.reconstruction.sealed_hand import wrist_cap

OBJECT = "object"
_OBJECT_HALF_EXTENT = (1.0, 1.0, 1.0)


class CanonicalTargets:
    """The surfaces of hand and object in their canonical spaces; both are missing at first."""

    def __init__(self, model: HandModel, canonical_shape: Float[Tensor, " shape"]) -> None:
        self.side = model.side
        with torch.no_grad():
            self._rest_m = canonical_hand(model, canonical_shape).vertices[0]
        self._cap = wrist_cap(model.faces, len(self._rest_m))
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
        threshold = OBJECT_OFF_SURFACE if name == OBJECT else HAND_OFF_SURFACE_M
        return rays_off_surface(self._surfaces[name], points.detach(), threshold)

    def eikonal_gradient(
        self, net: HoldNet, name: str, images: int, generator: torch.Generator
    ) -> Float[Tensor, "image point 3"]:
        """d sdf / d x near a node's first points (the SfM points, the hand at rest) and around."""
        node = net.object_node if name == OBJECT else net.hand_node(self.side)
        device = net.object_node.server.object_model.v3d_cano.device
        points = eikonal_points(
            net.object_node.server.object_model.v3d_cano if name == OBJECT else self._rest_m.to(device),
            images,
            noise=OBJECT_NOISE if name == OBJECT else HAND_NOISE_M,
            half_extent=_OBJECT_HALF_EXTENT if name == OBJECT else HAND_HALF_EXTENT_M,
            generator=generator,
        )
        return node.implicit_network.with_gradient(points, differentiable=True).gradient

    def hand_shape(
        self, net: HoldNet, images: int, reach_m: float, generator: torch.Generator
    ) -> HandShapeTarget | None:
        """Distances of the hand's field and of its surface; None while there is no surface."""
        if (surface := self._surfaces.get(self.side)) is None:
            return None
        points = hand_shape_points(surface, images, generator)
        wanted = surface.distance.signed(points, reach=reach_m)
        network = net.hand_node(self.side).implicit_network
        device = next(network.parameters()).device
        return HandShapeTarget(network.distance(points.to(device)), wanted.to(device))

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
