"""The canonical spaces of hand and object: surfaces in them, and the maps between them and an image's scaled world.

The canonical hand is the one at rest, flat and in metres; the object's is the unit sphere of its SfM points. The scaled
world is x' = s (X + t) with the scene scale s. All maps are affine around each point, so the Jacobian of canonical ->
world is at hand without autograd: the blended bone matrix for the hand, one constant matrix per image for the object.
Matrices act on column vectors. (HOLD's code/src/model/mano/{server,deformer}.py, code/src/model/obj/.)
"""

from typing import NamedTuple

import roma
import torch
import trimesh
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag, normalize, pad

from handloom.geometry.neighbours import NeighbourSearch
from handloom.geometry.signed_distance import MeshDistance
from handloom.geometry.surfaces import HoleCap
from handloom.hand.mano import HandModel, skin

HAND_NOISE_M = 0.008
"""How far points near the hand's surface are moved off it: `local_sigma` in HOLD's code/src/hold/hold_utils.py."""
NEIGHBOURS = 15  # `K` of HOLD's MANODeformer
_FARTHEST_SQUARED = 4.0
"""Squared distance (in the units of the searched cloud) beyond which all neighbours count alike, as in HOLD."""


class PosedHand(NamedTuple):
    """A hand in the scaled world, per image of a batch."""

    vertices: Float[Tensor, "batch vertex 3"]
    """In the scaled world."""
    posed_from_canonical: Float[Tensor, "batch 16 4 4"]
    """Per bone the affine map of canonical points (metres) to the scaled world, column vectors."""
    canonical_vertices_m: Float[Tensor, "batch vertex 3"]
    """The shaped hand at rest with the pose's corrective offsets: what the bones carry."""


def pose_hand(
    model: HandModel,
    *,
    pose_rotvec: Float[Tensor, "batch 16 3"],
    shape: Float[Tensor, "batch shape"],
    translation_m: Float[Tensor, "batch 3"],
    scene_scale: Float[Tensor, "*#batch"] | float = 1.0,
) -> PosedHand:
    """Pose a hand in the scaled world: x' = s (skin(pose, shape) + t), bones s [M_k | + t].

    Poses are absolute rotation vectors in radians (flat zero), lengths in metres before the scale. Differentiable in
    every argument.
    """
    hand = skin(model, pose_rotvec=pose_rotvec, shape=shape, translation_m=translation_m)
    scale = _per_image(scene_scale, pose_rotvec)
    bones = hand.posed_from_rest
    return PosedHand(
        vertices=scale * hand.vertices_m,
        posed_from_canonical=torch.cat([scale[..., None] * bones[..., :3, :], bones[..., 3:, :]], dim=-2),
        canonical_vertices_m=corrected_rest_m(model, pose_rotvec, shape),
    )


def rest_vertices_m(model: HandModel, shape: Float[Tensor, " shape"]) -> Float[Tensor, "vertex 3"]:
    """The flat hand at rest, of which canonical space is made; nothing is differentiated."""
    zero = torch.zeros(1, 16, 3, dtype=shape.dtype, device=shape.device)
    with torch.no_grad():
        return pose_hand(model, pose_rotvec=zero, shape=shape[None], translation_m=zero[:, 0]).vertices[0]


def corrected_rest_m(
    model: HandModel, pose_rotvec: Float[Tensor, "batch 16 3"], shape: Float[Tensor, "batch shape"]
) -> Float[Tensor, "batch vertex 3"]:
    """template + shapedirs s + posedirs vec(R_1 - I, ..., R_15 - I): the hand at rest before skinning, in metres."""
    bend = roma.rotvec_to_rotmat(pose_rotvec[:, 1:]) - torch.eye(3, dtype=pose_rotvec.dtype, device=pose_rotvec.device)
    offsets = torch.einsum("vcs,bs->bvc", model.shapedirs, shape)
    offsets = offsets + torch.einsum("vcp,bp->bvc", model.posedirs, bend.flatten(1))
    return model.v_template + offsets


class CanonicalSurface:
    """A closed canonical mesh with its distances: metres for the hand, the unit sphere's unit for the object."""

    def __init__(self, vertices: Float[Tensor, "vertex 3"], faces: Int[Tensor, "face 3"]) -> None:
        self.vertices = vertices.detach()
        self.faces = faces
        self.distance = MeshDistance(vertices, faces)

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "{count} 3"]:
        """Points spread evenly over the surface's area."""
        corners = self.vertices[self.faces]
        areas = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=-1)
        face = torch.multinomial(areas.float().cpu(), count, replacement=True, generator=generator)
        first, second = torch.rand(2, count, 1, generator=generator).to(corners)
        first = first.sqrt()
        weights = torch.stack([1 - first, first * (1 - second), first * second], dim=1)
        return (weights * corners[face]).sum(1)

    def missed_by(self, samples: Float[Tensor, "ray sample 3"], threshold: float) -> Bool[Tensor, " ray"]:
        """Rays whose samples all stay farther than `threshold` outside the surface."""
        return self.distance.farther_than(samples, threshold).all(1)


def hand_surface(corrected_rest_m: Float[Tensor, "vertex 3"], cap: HoleCap) -> CanonicalSurface:
    """The hand at rest with its pose's correctives, sealed at the wrist and smoothed by one Loop subdivision.

    Loop, "Smooth Subdivision Surfaces Based on Triangles", 1987.
    """
    sealed = cap.sealed(corrected_rest_m.detach()).double().cpu().numpy()
    vertices, faces = trimesh.remesh.subdivide_loop(sealed, cap.faces.cpu().numpy(), iterations=1)
    return CanonicalSurface(
        torch.from_numpy(vertices).to(corrected_rest_m), torch.from_numpy(faces).to(corrected_rest_m.device).long()
    )


class HandDeformer:
    """Inverse and forward skinning of any point by the weights of the 15 nearest vertices.

    World points look for neighbours on the posed hand, canonical points on the canonical one: their weights differ, as
    in HOLD. Gradients reach the points and the bones, never the weights.
    """

    def __init__(self, canonical: NeighbourSearch, skin_weights: Float[Tensor, "vertex bone"], hand: PosedHand) -> None:
        self.hand, self.skin_weights = hand, skin_weights.detach()
        self._canonical, self._posed = canonical, NeighbourSearch(hand.vertices)

    def to_canonical(self, points: Float[Tensor, "image point 3"]) -> Float[Tensor, "image point 3"]:
        """x_c = (sum_b w_b B_b)^-1 x', scaled world to canonical metres."""
        weights = query_skin_weights(self._posed, self.skin_weights, points)
        return affine_inverse(blend_bones(weights, self.hand.posed_from_canonical), points)

    def world_from_canonical(self, canonical: Float[Tensor, "image point 3"]) -> Float[Tensor, "image point 4 4"]:
        """sum_b w_b B_b at canonical points, metres to the scaled world."""
        weights = query_skin_weights(self._canonical, self.skin_weights, canonical.reshape(1, -1, 3))
        return blend_bones(weights.reshape(*canonical.shape[:2], -1), self.hand.posed_from_canonical)

    def jacobian(self, canonical: Float[Tensor, "image point 3"]) -> Float[Tensor, "image point 3 3"]:
        """d world / d canonical at canonical points, of forward skinning."""
        return self.world_from_canonical(canonical)[..., :3, :3]


class ObjectDeformer:
    """One similarity per image, see `object_transforms`."""

    def __init__(self, world_from_canonical: Float[Tensor, "image 4 4"]) -> None:
        self.maps = world_from_canonical[:, None]

    def to_canonical(self, points: Float[Tensor, "image point 3"]) -> Float[Tensor, "image point 3"]:
        """x_c = T^-1 x', scaled world to the unit sphere of the object."""
        return affine_inverse(self.maps, points)

    def jacobian(self, canonical: Float[Tensor, "image point 3"]) -> Float[Tensor, "image point 3 3"]:
        """d world / d canonical, the same everywhere."""
        return self.maps[..., :3, :3].expand(-1, canonical.shape[1], -1, -1)


Deformer = HandDeformer | ObjectDeformer
"""The maps of one entity in the poses of a few images."""


def query_skin_weights(
    search: NeighbourSearch, skin_weights: Float[Tensor, "vertex bone"], points: Float[Tensor, "#batch point 3"]
) -> Float[Tensor, "batch point bone"]:
    """Skin weights at points: the mean over the nearest vertices, each weighing exp(-min(d^2, 4)); detached.

    d is in the units of the cloud, so with a scene scale of about 5 the weights are nearly equal.
    """
    found = search.nearest(points, NEIGHBOURS)
    trust = torch.exp(-found.squared_distance.clamp_max(_FARTHEST_SQUARED))
    trust = trust / trust.sum(-1, keepdim=True)
    blended = embedding_bag(
        found.vertex.flatten(0, 1), skin_weights.detach(), per_sample_weights=trust.flatten(0, 1), mode="sum"
    )
    return blended.unflatten(0, found.vertex.shape[:2])


def object_transforms(
    *,
    rotvec: Float[Tensor, "batch 3"],
    translation_m: Float[Tensor, "batch 3"],
    object_scale: Float[Tensor, "*#batch"] | float,
    normalised_from_sfm: Float[Tensor, "4 4"],
    scene_scale: Float[Tensor, "*#batch"] | float,
) -> Float[Tensor, "batch 4 4"]:
    """T = S(s) [R | t] S(sigma) N^-1 per image: unit sphere -> SfM units -> metres in the world -> scaled world.

    N is HOLD's norm_mat (code/src/model/obj/object_model.py).
    """
    scale, sigma = _per_image(scene_scale, rotvec), _per_image(object_scale, rotvec)
    sfm_from_normalised = torch.linalg.inv(normalised_from_sfm)
    linear = scale * sigma * roma.rotvec_to_rotmat(rotvec) @ sfm_from_normalised[:3]
    shift = pad(scale * translation_m[:, :, None], (3, 0))
    last_row = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=rotvec.dtype, device=rotvec.device)
    return torch.cat([linear + shift, last_row.expand(len(rotvec), 1, 4)], dim=1)


def world_normals(
    gradient: Float[Tensor, "batch point 3"], jacobian: Float[Tensor, "batch point 3 3"]
) -> Float[Tensor, "batch point 3"]:
    """n = normalise(grad_c SDF J^-1) with J = d world / d canonical (HOLD's volsdf_utils.py: extract_features)."""
    across = (inverse3(jacobian).mT @ gradient[..., None]).squeeze(-1)
    return normalize(across, dim=-1, eps=1e-6)


def blend_bones(
    weights: Float[Tensor, "batch point bone"], bones: Float[Tensor, "batch bone 4 4"]
) -> Float[Tensor, "batch point 4 4"]:
    """sum_b w_b B_b per point."""
    return (weights @ bones.flatten(-2)).unflatten(-1, (4, 4))


def affine_inverse(maps: Float[Tensor, "*#batch 4 4"], points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """A^-1 (x - b) for maps [A | b]."""
    shifted = (points - maps[..., :3, 3])[..., None]
    return (inverse3(maps[..., :3, :3]) @ shifted).squeeze(-1)


def inverse3(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Inverse of 3x3 matrices by cross products of their rows; many times faster than a batched factorisation."""
    a, b, c = matrix.unbind(-2)
    adjugate = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], dim=-1)
    return adjugate / (a * adjugate[..., 0]).sum(-1)[..., None, None]


def _per_image(scale: Tensor | float, like: Tensor) -> Tensor:
    return torch.as_tensor(scale, dtype=like.dtype, device=like.device).reshape(-1, 1, 1)
