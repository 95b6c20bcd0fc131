"""Volume rendering of hands and object together, rays in the OpenCV camera's frame.

A ray is a direction with z = 1, so a depth along it is the depth in the image. A coarse look without derivatives finds
where along it to evaluate the fields; then samples lie where the weight is (HOLD bounds the opacity's error in rounds).
Every node keeps its own sampling intervals when samples are merged: an empty gap between hand and object then belongs
to nobody. Random numbers come from the CPU, the same everywhere.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from handloom.geometry.voxels import look_up
from handloom.hand.joints import Side
from handloom.reconstruction.compact.fields import FieldValues, VoxelField
from handloom.reconstruction.compact.hand_template import HandTemplate
from handloom.reconstruction.compact.posed_hands import PosedHands
from handloom.reconstruction.field_evaluation import in_chunks, laplace_density
from handloom.reconstruction.observations import BACKGROUND, CLASS_COUNT, CLASS_OF_SIDE, OBJECT
from handloom.reconstruction.scene_poses import PosesByHand, ScenePoses, frame_rows
from handloom.runtime.config.fields import CompactSettings

REACH_M, HAND_REACH_M = 0.015, 0.012
"""Rays farther than this from the object, or the hand, are empty space."""
NEAREST_M = 0.05
"""Nothing is nearer to the camera."""
_UNIFORM_SHARE = 0.05
"""Of the samples, spread evenly along the ray: what the coarse look has missed may still be found."""


class FieldSamples(NamedTuple):
    """One node's samples on the rays that may hit it."""

    ray: Int[Tensor, " hit"]
    depth: Float[Tensor, "hit samples"]
    optical: Float[Tensor, "hit samples"]
    """sigma delta: the optical thickness of each sample's interval."""
    colour: Float[Tensor, "hit samples 3"]


class Rendered(NamedTuple):
    """What the camera sees along each ray."""

    colour: Float[Tensor, "rays 3"]
    semantics: Float[Tensor, "rays classes"]
    """Shares of background, object and hands; they sum to one."""
    depth: Float[Tensor, " rays"]
    """Mean depth of the foreground in metres, weighted by visibility; zero on empty rays."""
    object: FieldSamples
    hands: dict[Side, FieldSamples]


@dataclass
class PosedField:
    """A hand's field; `posed` is a snapshot of the posed hands of all frames, made anew when they have moved."""

    poses: ScenePoses
    field: VoxelField
    template: HandTemplate
    posed: PosedHands


@dataclass
class CompactScene:
    """Poses and all fields."""

    poses: PosesByHand
    object_field: VoxelField
    hands: dict[Side, PosedField]
    settings: CompactSettings
    chunks: int = 1
    """In how many chunks fields are evaluated; more than one need less memory and more time, for the same result."""

    def render(
        self,
        directions: Float[Tensor, "rays 3"],
        frame: Int[Tensor, " rays"],
        background: Float[Tensor, "rays 3"],
        beta_m: float,
        generator: torch.Generator | None = None,
        object_is_given: Bool[Tensor, " rays"] | None = None,
    ) -> Rendered:
        """Colour, semantics and depth of rays; sampling is random with a generator, even without.

        Rays on which the object is given show it, but carry no derivatives to its field and poses.
        """
        beta = torch.tensor(beta_m, device=directions.device)
        thing = self._object_samples(directions, frame, beta, generator)
        if object_is_given is not None:
            thing = _without_derivatives(thing, object_is_given)
        hands = {
            side: self._hand_samples(node, directions, frame, beta, generator) for side, node in self.hands.items()
        }
        return composed(thing, hands, background)

    def _object_samples(
        self, directions: Tensor, frame: Tensor, beta: Tensor, generator: torch.Generator | None
    ) -> FieldSamples:
        s, field, poses = self.settings, self.object_field, self.poses.object
        with torch.no_grad():
            origin = poses.object_from_cam(torch.zeros_like(directions), frame)
            step = poses.object_from_cam(directions, frame) - origin
            near, far = interval_in_box(origin, step, 1.0)
            near = near.clamp_min(NEAREST_M)
            depth = stratified(near, far, s.coarse_samples, generator)
            coarse = look_up(field.distance, (origin[:, None] + depth[..., None] * step[:, None]).view(-1, 3))
            coarse = coarse.view(depth.shape)
            ray = may_hit(coarse, REACH_M, near, far).nonzero()[:, 0]
            length = torch.linalg.vector_norm(directions[ray], dim=-1)
            depth = resampled(depth[ray], coarse[ray], beta, length, s.object_samples, generator)
        volume = field.distances()

        def evaluated(points: Tensor, owner: Tensor) -> FieldValues:
            return field.at(volume, poses.object_from_cam(points, owner), owner)

        points = (depth[..., None] * directions[ray, None]).view(-1, 3)
        owner = frame[ray, None].expand(depth.shape).reshape(-1)
        return _node_samples(ray, depth, length, FieldValues(*in_chunks(evaluated, self.chunks, points, owner)), beta)

    def _hand_samples(
        self, node: PosedField, directions: Tensor, frame: Tensor, beta: Tensor, generator: torch.Generator | None
    ) -> FieldSamples:
        s, field, hands, template = self.settings, node.field, node.posed, node.template
        with torch.no_grad():
            near, far = interval_in_sphere(hands.centre_m[frame], directions, hands.radius_m[frame] + REACH_M)
            near = near.clamp_min(NEAREST_M)
            ray = (far > near).nonzero()[:, 0]
            near, far = near[ray], far[ray]
            depth = stratified(near, far, s.hand_coarse_samples, generator)
            points = (depth[..., None] * directions[ray, None]).view(-1, 3)
            owner = frame[ray, None].expand(depth.shape).reshape(-1)
            coarse = hands.distance_m(points, owner).view(depth.shape)
            hit = may_hit(coarse, HAND_REACH_M, near, far).nonzero()[:, 0]
            ray = ray[hit]
            length = torch.linalg.vector_norm(directions[ray], dim=-1)
            depth = resampled(depth[hit], coarse[hit], beta, length, s.hand_samples, generator)
            points = (depth[..., None] * directions[ray, None]).view(-1, 3)
            owner = frame[ray, None].expand(depth.shape).reshape(-1)
            weights = hands.skinning_weights(*hands.near(points, owner, s.hand_neighbours))
        motions = node.poses.hand().posed_from_rest[..., :3, :].flatten(2)
        volume = field.distances()

        def evaluated(points: Tensor, owner: Tensor, weights: Tensor) -> FieldValues:
            blended = (weights[:, None] @ frame_rows(motions, owner)).view(-1, 3, 4)
            turn_inverse = torch.linalg.inv(blended[..., :3])
            rest = (turn_inverse @ (points - blended[..., 3])[..., None])[..., 0]
            return field.at(volume, (rest - template.centre_m) / template.radius_m, owner)

        found = FieldValues(*in_chunks(evaluated, self.chunks, points, owner, weights))
        return _node_samples(ray, depth, length, found, beta)


def _node_samples(ray: Tensor, depth: Tensor, length: Tensor, found: FieldValues, beta: Tensor) -> FieldSamples:
    middle = 0.5 * (depth[:, 1:] + depth[:, :-1])
    edges = torch.cat(
        [1.5 * depth[:, :1] - 0.5 * depth[:, 1:2], middle, 1.5 * depth[:, -1:] - 0.5 * depth[:, -2:-1]], -1
    )
    density = laplace_density(found.distance_m.view(depth.shape), beta)
    optical = density * (edges[:, 1:] - edges[:, :-1]) * length[:, None]
    return FieldSamples(ray, depth, optical, found.colour.view(*depth.shape, 3))


def _without_derivatives(node: FieldSamples, rays: Bool[Tensor, " rays"]) -> FieldSamples:
    fixed = rays[node.ray, None]
    optical = torch.where(fixed, node.optical.detach(), node.optical)
    return node._replace(optical=optical, colour=torch.where(fixed[..., None], node.colour.detach(), node.colour))


def composed(thing: FieldSamples, hands: dict[Side, FieldSamples], background: Float[Tensor, "rays 3"]) -> Rendered:
    """Merge object and hands along the rays, nearest first: C = sum_i T_i alpha_i c_i + T_end c_background."""
    rays = len(background)
    depth, optical, colour, kind = [], [], [], []
    for label, node in {OBJECT: thing, **{CLASS_OF_SIDE[side]: hand for side, hand in hands.items()}}.items():
        samples = node.depth.shape[1]
        depth.append(background.new_full((rays, samples), torch.inf).index_copy(0, node.ray, node.depth))
        optical.append(background.new_zeros(rays, samples).index_copy(0, node.ray, node.optical))
        colour.append(background.new_zeros(rays, samples, 3).index_copy(0, node.ray, node.colour))
        kind.append(torch.full((samples,), label, device=background.device))
    depths, order = torch.cat(depth, 1).sort(dim=1, stable=True)
    thickness = torch.cat(optical, 1).gather(1, order)
    behind = torch.cumsum(thickness, 1)
    weight = torch.exp(thickness - behind) * -torch.expm1(-thickness)
    clear = torch.exp(-behind[:, -1])
    colours = torch.cat(colour, 1).gather(1, order[..., None].expand(-1, -1, 3))
    kinds, seen = torch.cat(kind)[order], weight.sum(1)
    semantics = background.new_zeros(rays, CLASS_COUNT)
    semantics[:, BACKGROUND], semantics[:, OBJECT] = clear, seen
    for side in hands:
        hand = (weight * (kinds == CLASS_OF_SIDE[side])).sum(1)
        semantics[:, OBJECT], semantics[:, CLASS_OF_SIDE[side]] = semantics[:, OBJECT] - hand, hand
    mean_depth = (weight * torch.where(depths.isfinite(), depths, 0.0)).sum(1) / seen.clamp_min(1e-6)
    return Rendered(
        colour=(weight[..., None] * colours).sum(1) + clear[:, None] * background,
        semantics=semantics,
        depth=mean_depth,
        object=thing,
        hands=hands,
    )


def interval_in_box(
    origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"], half_side: float
) -> tuple[Float[Tensor, " rays"], Float[Tensor, " rays"]]:
    """Entry and exit of rays into the cube [-half_side, half_side]^3, exit < entry where they miss it."""
    inverse = 1.0 / torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
    low, high = (-half_side - origins) * inverse, (half_side - origins) * inverse
    return torch.minimum(low, high).amax(-1), torch.maximum(low, high).amin(-1)


def interval_in_sphere(
    centres: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"], radii: Float[Tensor, " rays"]
) -> tuple[Float[Tensor, " rays"], Float[Tensor, " rays"]]:
    """Entry and exit, in units of the direction's length, of rays from the origin; exit < entry where they miss."""
    square = (directions**2).sum(-1)
    middle = (centres * directions).sum(-1) / square
    half_square = middle**2 - ((centres**2).sum(-1) - radii**2) / square
    half = half_square.clamp_min(0).sqrt()
    return middle - half, torch.where(half_square > 0, middle + half, middle - half - 1.0)


def stratified(
    near: Float[Tensor, " rays"], far: Float[Tensor, " rays"], count: int, generator: torch.Generator | None
) -> Float[Tensor, "rays {count}"]:
    """One depth in each of `count` equal parts of the interval: random, or the middle without a generator."""
    place = 0.5 if generator is None else torch.rand(len(near), count, generator=generator).to(near.device)
    share = (torch.arange(count, device=near.device) + place) / count
    return near[:, None] + (far - near)[:, None] * share


def ray_weights(
    density: Float[Tensor, "rays samples"], steps_m: Float[Tensor, "rays samples"]
) -> Float[Tensor, "rays samples"]:
    """w_i = T_i (1 - exp(-sigma_i delta_i)), T_i = exp(-sum_{j<i} sigma_j delta_j)."""
    optical = density * steps_m
    before = torch.cumsum(optical, -1) - optical
    return torch.exp(-before) * -torch.expm1(-optical)


def resampled(
    depths: Float[Tensor, "rays coarse"],
    distance_m: Float[Tensor, "rays coarse"],
    beta_m: Tensor,
    metres_per_depth: Float[Tensor, " rays"],
    count: int,
    generator: torch.Generator | None,
) -> Float[Tensor, "rays {count}"]:
    """Sorted depths drawn from the coarse samples' rendering weights, a twentieth of the mass spread evenly.

    Inverse transform of the piecewise constant weights; evenly spaced quantiles without a generator.
    """
    edges = torch.cat([depths[:, :1], 0.5 * (depths[:, 1:] + depths[:, :-1]), depths[:, -1:]], -1)
    steps = (edges[:, 1:] - edges[:, :-1]).clamp_min(1e-9)
    weights = ray_weights(laplace_density(distance_m, beta_m), steps * metres_per_depth[:, None])
    mass = weights + _UNIFORM_SHARE / depths.shape[1]
    cumulative = torch.cumsum(mass, -1)
    cumulative = torch.cat([torch.zeros_like(cumulative[:, :1]), cumulative / cumulative[:, -1:]], -1)
    place = torch.full((len(depths), count), 0.5, device=depths.device)
    if generator is not None:
        place = torch.rand(len(depths), count, generator=generator).to(depths.device)
    quantile = (torch.arange(count, device=depths.device) + place) / count
    part = (torch.searchsorted(cumulative.contiguous(), quantile.contiguous(), right=True) - 1).clamp(
        0, depths.shape[1] - 1
    )
    low, high = cumulative.gather(1, part), cumulative.gather(1, part + 1)
    share = (quantile - low) / (high - low).clamp_min(1e-9)
    start, end = edges.gather(1, part), edges.gather(1, part + 1)
    return start + share * (end - start)


def may_hit(
    distance_m: Float[Tensor, "rays coarse"], reach_m: float, near: Float[Tensor, " rays"], far: Float[Tensor, " rays"]
) -> Bool[Tensor, " rays"]:
    """Rays that come within `reach_m` of the surface: all others are empty space and skipped."""
    return (far > near) & (distance_m.amin(-1) < reach_m)
