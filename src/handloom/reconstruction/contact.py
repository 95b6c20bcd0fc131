"""Where a hand touches what it holds, how far from it those places are, and how deep the hand lies in the object.

HOLD's code takes the contact zones of a gated file, squares distances and has nothing against penetration
(code/src/fitting); the paper speaks of the finger tips and does not square. Here the zones come from the hand model.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from handloom.geometry.neighbours import NeighbourSearch
from handloom.geometry.surfaces import vertex_normals
from handloom.geometry.voxels import SignedDistanceGrid
from handloom.hand.mano import HandModel, rest_joints_m
from handloom.reconstruction.compact.posed_hands import PosedHands

TIP_REACH = 0.8
"""Length of a finger's pad as a share of its last bone."""
_PALMAR = 0.2
"""Least cosine between a vertex normal and the direction in which a finger or the palm faces."""
_WRIST_SHARE = 0.25
"""Of the way from the wrist to the finger bases: where the palm begins."""
_FLESH_M = 0.02
"""No point inside a hand is farther from its skin."""
_DISTAL_JOINTS = {"thumb": 15, "index": 3, "middle": 6, "ring": 12, "pinky": 9}
_BASE_JOINTS, _PALM_JOINTS = (1, 4, 7, 10), (0, 1, 4, 7, 10, 13)


@dataclass(frozen=True)
class ContactRegions:
    """Vertices of a hand that grasps touch things with."""

    tips: tuple[Int[Tensor, " _"], ...]
    """The pads of thumb, index, middle, ring and pinky finger."""
    palm: Int[Tensor, " _"]

    @property
    def vertices(self) -> Int[Tensor, " _"]:
        """All contact vertices: pads, then palm."""
        return torch.cat([*self.tips, self.palm])

    def to(self, device: torch.device | str) -> "ContactRegions":
        """The same regions on another device."""
        return ContactRegions(tuple(tip.to(device) for tip in self.tips), self.palm.to(device))


def contact_regions(model: HandModel) -> ContactRegions:
    """The pads of the five fingers and the palm, from the model's skinning weights, tips and rest shape alone.

    A pad is the flesh of a finger's last bone within 0.8 of its length from the tip, and facing away from the nail;
    the palm is the flesh of the wrist's bone and of the fingers' bases that looks out of the palm, from a quarter of
    the way between the wrist and the finger bases onwards. In the rest frame the palm and the fingers look along -y,
    the thumb half-way between that and the index finger's base.
    """
    vertices = model.v_template
    joints = rest_joints_m(model, torch.zeros(model.shape_count, dtype=vertices.dtype))
    normals = vertex_normals(vertices, model.faces)
    owner = model.weights.argmax(1)
    palm_faces = torch.tensor([0.0, -1.0, 0.0], dtype=vertices.dtype)
    tips = []
    for (finger, joint), tip in zip(_DISTAL_JOINTS.items(), model.tip_vertices, strict=True):
        bone = vertices[tip] - joints[joint]
        facing = palm_faces if finger != "thumb" else _towards(joints[1] - joints[13], palm_faces)
        facing = _across(facing, bone)
        near = torch.linalg.vector_norm(vertices - vertices[tip], dim=1) < TIP_REACH * torch.linalg.vector_norm(bone)
        tips.append((near & (owner == joint) & (normals @ facing > _PALMAR)).nonzero()[:, 0])
    knuckles = joints[list(_BASE_JOINTS)].mean(0)
    along = (knuckles - joints[0]) / (knuckles - joints[0]).square().sum()
    of_palm = torch.isin(owner, torch.tensor(_PALM_JOINTS)) & ((vertices - joints[0]) @ along > _WRIST_SHARE)
    palm = (of_palm & (normals @ palm_faces > _PALMAR)).nonzero()[:, 0]
    return ContactRegions(tuple(tips), palm)


def _towards(direction: Float[Tensor, "3"], other: Float[Tensor, "3"]) -> Float[Tensor, "3"]:
    """The direction half-way between two."""
    return torch.nn.functional.normalize(torch.nn.functional.normalize(direction, dim=0) + other, dim=0)


def _across(direction: Float[Tensor, "3"], bone: Float[Tensor, "3"]) -> Float[Tensor, "3"]:
    """The part of a direction that is at right angles to a bone, of length one."""
    axis = torch.nn.functional.normalize(bone, dim=0)
    return torch.nn.functional.normalize(direction - (direction @ axis) * axis, dim=0)


def nearest_distance(
    points: Float[Tensor, "frames points 3"], surface: NeighbourSearch
) -> Float[Tensor, "frames points"]:
    """Distance of each point to the nearest vertex of the search's only cloud; differentiable in the points."""
    _, nearest = surface.nearest(points.reshape(1, -1, 3), 1)
    offset = points - surface.clouds[0, nearest.view(points.shape[:2])]
    # The tiny addend keeps the slope finite at distance zero.
    return (offset.square().sum(-1) + 1e-14).sqrt()


def tip_contact(
    hand_unit: Float[Tensor, "frames vertices 3"],
    surface: NeighbourSearch,
    regions: ContactRegions,
    unit_m: Float[Tensor, ""] | float,
    reach_m: float,
) -> Float[Tensor, ""]:
    """The paper's contact: of each finger pad and of the palm the least un-squared distance, summed, mean over frames.

    The hand is given in the frame of the object, whose vertices one search then holds for all frames; `unit_m` is that
    frame's unit. Distances beyond `reach_m` count as `reach_m`: a finger that does not touch is not pulled. In metres.
    """
    distance_m = nearest_distance(hand_unit[:, regions.vertices], surface) * unit_m
    sizes = [len(region) for region in (*regions.tips, regions.palm)]
    least_m = torch.stack([part.amin(1) for part in distance_m.split(sizes, dim=1)], dim=1)
    return least_m.clamp(max=reach_m).sum(1).mean()


def penetration_loss(depth_points: Float[Tensor, "*batch 3"], grid: SignedDistanceGrid) -> Float[Tensor, ""]:
    """Mean of max(0, -sdf)^2 over the points, which are in the grid's frame and unit; zero when all are outside."""
    return grid.at(depth_points).clamp(max=0.0).square().mean()


def hand_penetration(
    points_m: Float[Tensor, "frames points 3"], other_m: Float[Tensor, "frames vertices 3"], snapshot: PosedHands
) -> Float[Tensor, ""]:
    """Mean of max(0, depth)^2 of one hand's points in another, square metres.

    The depth is that below the tangent plane of the nearest vertex, which `snapshot` finds with its normal; what is
    farther than 2 cm from any vertex is not inside a hand. Differentiable in both hands.
    """
    frames, count = points_m.shape[:2]
    frame = torch.arange(frames, device=points_m.device).repeat_interleave(count)
    flat = points_m.flatten(0, 1)
    offset = flat.detach() - snapshot.centre_m[frame]
    near = (torch.linalg.vector_norm(offset, dim=-1) < snapshot.radius_m[frame]).nonzero()[:, 0]
    if not len(near):
        return points_m.new_zeros(())
    owner = frame[near]
    vertex, distance_m = (each[:, 0] for each in snapshot.near(flat[near].detach(), owner, 1))
    depth = -((flat[near] - other_m[owner, vertex]) * snapshot.normals[owner, vertex]).sum(-1)
    inside = depth.clamp_min(0.0) * (distance_m < _FLESH_M)
    return inside.square().sum() / len(flat)
