"""Maps between the scaled world of an image and the canonical spaces of hand and object (facts/hold.md 2.2).

Both maps are affine around each point, so the Jacobian of canonical -> world is at hand without autograd: the blended
bone matrix for the hand, one constant matrix per image for the object. Matrices act on column vectors.
"""

from typing import NamedTuple

import roma
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import embedding_bag, normalize, pad

from handloom.reconstruction.hand_server import PosedHand
from handloom.reconstruction.neighbours import NeighbourSearch

NEIGHBOURS = 15
_FARTHEST_SQUARED = 4.0
"""Squared distance (in the units of the searched cloud) beyond which all neighbours count alike."""


class Deformed(NamedTuple):
    """Points carried from one space to the other."""

    points: Float[Tensor, "batch point 3"]
    jacobian: Float[Tensor, "batch point 3 3"]
    """d world_i / d canonical_j, whichever way the points went."""
    nearest: Float[Tensor, "batch point"]
    """Distance to the nearest vertex of the searched hand, in the space the points came from; infinite without one."""


class SkinWeights(NamedTuple):
    """Blend weights of bones at query points."""

    weights: Float[Tensor, "batch point bone"]
    nearest: Float[Tensor, "batch point"]


def query_skin_weights(
    search: NeighbourSearch,
    skin_weights: Float[Tensor, "vertex bone"],
    points: Float[Tensor, "#batch point 3"],
    neighbours: int = NEIGHBOURS,
) -> SkinWeights:
    """Skin weights at points: the mean over the nearest vertices, each weighing exp(-min(d^2, 4)); detached.

    d is in the units of the cloud, so with a scene scale of about 5 the weights are nearly equal (facts/hold.md 2.2).
    """
    found = search.nearest(points, neighbours)
    trust = torch.exp(-found.squared_distance.clamp_max(_FARTHEST_SQUARED))
    trust = trust / trust.sum(-1, keepdim=True)
    blended = embedding_bag(
        found.vertex.flatten(0, 1), skin_weights.detach(), per_sample_weights=trust.flatten(0, 1), mode="sum"
    )
    return SkinWeights(blended.unflatten(0, found.vertex.shape[:2]), found.squared_distance[..., 0].sqrt())


class HandDeformer:
    """Inverse and forward skinning of any point by the weights of the 15 nearest vertices.

    World points look for neighbours on the posed hand, canonical points on the canonical one. Gradients reach the
    points and the bones, never the weights.
    """

    def __init__(
        self,
        canonical_vertices_m: Float[Tensor, "vertex 3"],
        skin_weights: Float[Tensor, "vertex bone"],
        neighbours: int = NEIGHBOURS,
    ) -> None:
        self.skin_weights = skin_weights.detach()
        self.neighbours = neighbours
        self._canonical = NeighbourSearch(canonical_vertices_m[None])

    def to_canonical(
        self, points: Float[Tensor, "batch point 3"], hand: PosedHand, search: NeighbourSearch | None = None
    ) -> Deformed:
        """x_c = (sum_b w_b B_b)^-1 x', scaled world to canonical metres.

        `search` over `hand.vertices` may be handed in so that several calls for the same pose share its tree.
        """
        search = search or NeighbourSearch(hand.vertices)
        weights, nearest = query_skin_weights(search, self.skin_weights, points, self.neighbours)
        blend = blend_bones(weights, hand.posed_from_canonical)
        return Deformed(affine_inverse(blend, points), blend[..., :3, :3], nearest)

    def to_world(self, points_m: Float[Tensor, "batch point 3"], hand: PosedHand) -> Deformed:
        """x' = (sum_b w_b B_b) x_c, canonical metres to the scaled world, with neighbours on the canonical hand."""
        batch, count = points_m.shape[:2]
        weights, nearest = query_skin_weights(
            self._canonical, self.skin_weights, points_m.reshape(1, -1, 3), self.neighbours
        )
        blend = blend_bones(weights.reshape(batch, count, -1), hand.posed_from_canonical)
        return Deformed(affine(blend, points_m), blend[..., :3, :3], nearest.reshape(batch, count))


class ObjectDeformer:
    """The object's map: one similarity per image."""

    def to_canonical(
        self, points: Float[Tensor, "batch point 3"], world_from_canonical: Float[Tensor, "batch 4 4"]
    ) -> Deformed:
        """x_c = T^-1 x', scaled world to the unit sphere of the object."""
        maps = world_from_canonical[:, None]
        return _everywhere(affine_inverse(maps, points), maps)

    def to_world(
        self, points: Float[Tensor, "batch point 3"], world_from_canonical: Float[Tensor, "batch 4 4"]
    ) -> Deformed:
        """x' = T x_c, unit sphere of the object to the scaled world."""
        maps = world_from_canonical[:, None]
        return _everywhere(affine(maps, points), maps)


def object_transforms(
    *,
    rotvec: Float[Tensor, "batch 3"],
    translation_m: Float[Tensor, "batch 3"],
    object_scale: Float[Tensor, "*#batch"] | float,
    normalised_from_sfm: Float[Tensor, "4 4"],
    scene_scale: Float[Tensor, "*#batch"] | float,
) -> Float[Tensor, "batch 4 4"]:
    """T = S(s) [R | t] S(sigma) N^-1 per image: unit sphere -> SfM units -> metres in the world -> scaled world.

    N is HOLD's norm_mat. Source: facts/hold.md 1.9, 2.2.
    """
    scale = torch.as_tensor(scene_scale, dtype=rotvec.dtype, device=rotvec.device).reshape(-1, 1, 1)
    sigma = torch.as_tensor(object_scale, dtype=rotvec.dtype, device=rotvec.device).reshape(-1, 1, 1)
    sfm_from_normalised = torch.linalg.inv(normalised_from_sfm)
    linear = scale * sigma * roma.rotvec_to_rotmat(rotvec) @ sfm_from_normalised[:3]
    shift = pad(scale * translation_m[:, :, None], (3, 0))
    last_row = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=rotvec.dtype, device=rotvec.device)
    return torch.cat([linear + shift, last_row.expand(len(rotvec), 1, 4)], dim=1)


def world_normals(
    gradient: Float[Tensor, "batch point 3"], jacobian: Float[Tensor, "batch point 3 3"]
) -> Float[Tensor, "batch point 3"]:
    """n = normalise(grad_c SDF J^-1) with J = d world / d canonical (facts/hold.md 2.2)."""
    across = (inverse3(jacobian).mT @ gradient[..., None]).squeeze(-1)
    return normalize(across, dim=-1, eps=1e-6)


def blend_bones(
    weights: Float[Tensor, "batch point bone"], bones: Float[Tensor, "batch bone 4 4"]
) -> Float[Tensor, "batch point 4 4"]:
    """sum_b w_b B_b per point."""
    return (weights @ bones.flatten(-2)).unflatten(-1, (4, 4))


def affine(maps: Float[Tensor, "*#batch 4 4"], points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """A x + b for maps [A | b]."""
    return (maps[..., :3, :3] @ points[..., None]).squeeze(-1) + maps[..., :3, 3]


def affine_inverse(maps: Float[Tensor, "*#batch 4 4"], points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """A^-1 (x - b) for maps [A | b]."""
    shifted = (points - maps[..., :3, 3])[..., None]
    return (inverse3(maps[..., :3, :3]) @ shifted).squeeze(-1)


def inverse3(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Inverse of 3x3 matrices by cross products of their rows; many times faster than a batched factorisation."""
    a, b, c = matrix.unbind(-2)
    adjugate = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], dim=-1)
    return adjugate / (a * adjugate[..., 0]).sum(-1)[..., None, None]


def _everywhere(points: Float[Tensor, "batch point 3"], maps: Float[Tensor, "batch 1 4 4"]) -> Deformed:
    jacobian = maps[..., :3, :3].expand(-1, points.shape[1], -1, -1)
    return Deformed(points, jacobian, torch.full_like(points[..., 0], torch.inf))
