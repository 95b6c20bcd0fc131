"""Volume rendering of hand and object together (facts/hold.md 2.4), rays in the OpenCV camera's frame.

A ray is a direction with z = 1, so a depth along it is the depth in the image. Every node keeps its own sampling
intervals when samples are merged: an empty gap between hand and object then belongs to nobody.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from handloom.reconstruction.compact.classes import BACKGROUND, CLASS_COUNT, HAND, OBJECT
from handloom.reconstruction.compact.fields import FieldValues, VoxelField, laplace_density
from handloom.reconstruction.compact.frame_rows import frame_rows
from handloom.reconstruction.compact.posed_hands import PosedHands
from handloom.reconstruction.compact.proposals import (
    interval_in_box,
    interval_in_sphere,
    may_hit,
    resampled,
    stratified,
)
from handloom.reconstruction.compact.scene_poses import ScenePoses
from handloom.reconstruction.compact.voxels import look_up
from handloom.reconstruction.memory_parts import in_parts
from handloom.runtime.config.compact import CompactSettings


class NodeSamples(NamedTuple):
    """One node's samples on the rays that may hit it."""

    ray: Int[Tensor, " hit"]
    depth: Float[Tensor, "hit samples"]
    optical: Float[Tensor, "hit samples"]
    """sigma delta: the optical thickness of each sample's interval."""
    colour: Float[Tensor, "hit samples 3"]
    gradient: Float[Tensor, "hit samples 3"]
    """Of the signed distance, metres per metre."""
    distance_m: Float[Tensor, "hit samples"]


class Rendered(NamedTuple):
    """What the camera sees along each ray."""

    colour: Float[Tensor, "rays 3"]
    semantics: Float[Tensor, "rays 3"]
    """Shares of background, object and hand; they sum to one."""
    depth: Float[Tensor, " rays"]
    """Mean depth of the foreground in metres, weighted by visibility; zero on empty rays."""
    object: NodeSamples
    hand: NodeSamples


@dataclass
class CompactScene:
    """Poses and both fields; `hands` is a snapshot of the posed hands and made anew when they have moved."""

    poses: ScenePoses
    object_field: VoxelField
    hand_field: VoxelField
    hand_centre_m: Float[Tensor, "3"]
    """Centre of the hand field's cube, in the rest frame of the hand."""
    hand_radius_m: float
    hands: PosedHands
    settings: CompactSettings
    chunks: int = 1
    """In how many parts the fields are evaluated; more than one need less memory and more time, for the same result."""

    def move_hands(self) -> None:
        """Take the snapshot of the posed hands again."""
        with torch.no_grad():
            self.hands = PosedHands(self.poses.model, self.poses.hand().vertices_m)

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
        return composed((thing, self._hand_samples(directions, frame, beta, generator)), background)

    def _object_samples(
        self, directions: Tensor, frame: Tensor, beta: Tensor, generator: torch.Generator | None
    ) -> NodeSamples:
        s, field = self.settings, self.object_field
        radius_m = self.poses.object_radius_m
        with torch.no_grad():
            origin = self.poses.object_from_cam(torch.zeros_like(directions), frame)
            step = self.poses.object_from_cam(directions, frame) - origin
            near, far = interval_in_box(origin, step, 1.0)
            near = near.clamp_min(s.nearest_m)
            depth = stratified(near, far, s.coarse_samples, generator)
            coarse = look_up(field.distance, (origin[:, None] + depth[..., None] * step[:, None]).view(-1, 3))
            coarse = coarse.view(depth.shape)
            ray = may_hit(coarse, s.reach_m, near, far).nonzero()[:, 0]
            length = torch.linalg.vector_norm(directions[ray], dim=-1)
            depth = resampled(depth[ray], coarse[ray], beta, length, s.object_samples, generator)
        volume = field.distances(radius_m)

        def evaluated(points: Tensor, owner: Tensor) -> FieldValues:
            return field.at(volume, self.poses.object_from_cam(points, owner), owner)

        points = (depth[..., None] * directions[ray, None]).view(-1, 3)
        owner = frame[ray, None].expand(depth.shape).reshape(-1)
        return _node_samples(ray, depth, length, in_chunks(evaluated, self.chunks, points, owner), beta)

    def _hand_samples(
        self, directions: Tensor, frame: Tensor, beta: Tensor, generator: torch.Generator | None
    ) -> NodeSamples:
        s, field, hands = self.settings, self.hand_field, self.hands
        with torch.no_grad():
            near, far = interval_in_sphere(hands.centre_m[frame], directions, hands.radius_m[frame] + s.reach_m)
            near = near.clamp_min(s.nearest_m)
            ray = (far > near).nonzero()[:, 0]
            near, far = near[ray], far[ray]
            depth = stratified(near, far, s.hand_coarse_samples, generator)
            points = (depth[..., None] * directions[ray, None]).view(-1, 3)
            owner = frame[ray, None].expand(depth.shape).reshape(-1)
            coarse = hands.distance_m(points, owner).view(depth.shape)
            hit = may_hit(coarse, s.hand_reach_m, near, far).nonzero()[:, 0]
            ray = ray[hit]
            length = torch.linalg.vector_norm(directions[ray], dim=-1)
            depth = resampled(depth[hit], coarse[hit], beta, length, s.hand_samples, generator)
            points = (depth[..., None] * directions[ray, None]).view(-1, 3)
            owner = frame[ray, None].expand(depth.shape).reshape(-1)
            weights = hands.skinning_weights(hands.near(points, owner, s.hand_neighbours))
        motions = self.poses.hand().posed_from_rest[..., :3, :].flatten(2)
        volume = field.distances(self.hand_radius_m)

        def evaluated(points: Tensor, owner: Tensor, weights: Tensor) -> FieldValues:
            blended = (weights[:, None] @ frame_rows(motions, owner)).view(-1, 3, 4)
            turn_inverse = torch.linalg.inv(blended[..., :3])
            rest = (turn_inverse @ (points - blended[..., 3])[..., None])[..., 0]
            return field.at(volume, (rest - self.hand_centre_m) / self.hand_radius_m, owner)

        return _node_samples(ray, depth, length, in_chunks(evaluated, self.chunks, points, owner, weights), beta)


def in_chunks(evaluated: Callable[..., FieldValues], chunks: int, *rows: Tensor) -> FieldValues:
    """The values at all rows of the inputs, evaluated in so many parts (see `in_parts`)."""
    return FieldValues(*in_parts(evaluated, chunks, *rows))


def _node_samples(ray: Tensor, depth: Tensor, length: Tensor, found: FieldValues, beta: Tensor) -> NodeSamples:
    middle = 0.5 * (depth[:, 1:] + depth[:, :-1])
    edges = torch.cat(
        [1.5 * depth[:, :1] - 0.5 * depth[:, 1:2], middle, 1.5 * depth[:, -1:] - 0.5 * depth[:, -2:-1]], -1
    )
    distance_m = found.distance_m.view(depth.shape)
    density = laplace_density(distance_m, beta)
    optical = density * (edges[:, 1:] - edges[:, :-1]) * length[:, None]
    shape = (*depth.shape, 3)
    return NodeSamples(ray, depth, optical, found.colour.view(shape), found.gradient.view(shape), distance_m)


def _without_derivatives(node: NodeSamples, rays: Bool[Tensor, " rays"]) -> NodeSamples:
    fixed = rays[node.ray, None]
    optical = torch.where(fixed, node.optical.detach(), node.optical)
    return node._replace(optical=optical, colour=torch.where(fixed[..., None], node.colour.detach(), node.colour))


def composed(nodes: tuple[NodeSamples, NodeSamples], background: Float[Tensor, "rays 3"]) -> Rendered:
    """Merge object and hand along the rays, nearest first: C = sum_i T_i alpha_i c_i + T_end c_background."""
    rays = len(background)
    depth, optical, colour, kind = [], [], [], []
    for label, node in zip((OBJECT, HAND), nodes, strict=True):
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
    is_hand = torch.cat(kind)[order] == HAND
    hand = (weight * is_hand).sum(1)
    semantics = background.new_zeros(rays, CLASS_COUNT)
    semantics[:, BACKGROUND], semantics[:, OBJECT], semantics[:, HAND] = clear, weight.sum(1) - hand, hand
    seen = weight.sum(1)
    mean_depth = (weight * torch.where(depths.isfinite(), depths, 0.0)).sum(1) / seen.clamp_min(1e-6)
    return Rendered(
        colour=(weight[..., None] * colours).sum(1) + clear[:, None] * background,
        semantics=semantics,
        depth=mean_depth,
        object=nodes[0],
        hand=nodes[1],
    )
