"""How deep the parts of a hand lie in each other, measured with spheres that fill them, and how to part them."""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from handloom.hand.anatomy import FREEDOM
from handloom.hand.mano import HandModel, posed_from_rest, rest_joints_m, transformed
from handloom.hand.models import open_hand, open_hand_anatomy

SOFTNESS_M = 0.0015
"""How far two pads of flesh may press into each other."""
_SLICES = (0.2, 0.5, 0.8)
"""Where along a bone its spheres lie."""
_STEP_PER_M2, _MOST_STEPS = 60.0, 25
"""Of the descent: a step is about 1 / (2 lever^2) for a lever of 5 cm and a few spheres in contact."""


@dataclass(frozen=True)
class FillingSpheres:
    """Spheres in the rest pose that fill the fingers and the palm, each moving with one of the 16 joints.

    Pairs of spheres that may come into contact have to keep a distance.
    """

    centres_m: Float[Tensor, "sphere 3"]
    joints: Int[Tensor, " sphere"]
    pairs: Int[Tensor, "2 pair"]
    least_distance_m: Float[Tensor, " pair"]


@cache
def filling_spheres() -> FillingSpheres:
    """The spheres of the embedded hand: three slices of every finger bone and of every bone of the palm."""
    model = open_hand()
    joints = _rest_joints()
    thumb, index, middle, ring, pinky = model.v_template[list(model.tip_vertices)]
    ends = {**dict(enumerate(joints[1:])), 3: index, 6: middle, 9: pinky, 12: ring, 15: thumb}  # the next joint, or tip
    fingers = [_spheres_along(model, bone, joints[bone], ends[bone]) for bone in range(1, 16)]
    # The palm's spheres begin about a third of the way to the knuckles, beyond the wrist's own bones.
    palm = [_spheres_along(model, 0, 0.35 * joints[base] + 0.65 * joints[0], joints[base]) for base in (1, 4, 7, 10)]
    centres, radii, owners = (torch.cat(parts) for parts in zip(*fingers, *palm, strict=True))

    pairs = _comparable(owners).nonzero().mT
    at_rest = torch.linalg.vector_norm(centres[pairs[0]] - centres[pairs[1]], dim=-1)
    touching = radii[pairs].sum(0) - SOFTNESS_M
    return FillingSpheres(centres, owners, pairs, torch.minimum(touching, 0.9 * at_rest))


def penetration_m(angles_rad: Float[Tensor, "*batch 15 3"]) -> Float[Tensor, "*batch pair"]:
    """How much closer than allowed each pair of spheres lies, in metres; zero where they keep apart."""
    spheres = filling_spheres()
    fingers = open_hand_anatomy().rotations_from_angles(angles_rad)
    wrist = torch.eye(3).to(fingers).expand(*fingers.shape[:-3], 1, 3, 3)
    motions = posed_from_rest(torch.cat([wrist, fingers], dim=-3), _rest_joints())
    centres = transformed(motions[..., spheres.joints, :, :], spheres.centres_m)
    offsets = centres[..., spheres.pairs[0], :] - centres[..., spheres.pairs[1], :]
    distance = (offsets.square().sum(-1) + 1e-12).sqrt()
    return (spheres.least_distance_m - distance).clamp(min=0.0)


def parted(angles_rad: Float[Tensor, "batch 15 3"]) -> Float[Tensor, "batch 15 3"]:
    """The angles moved a little, where joints are free, until fingers that lay in each other part.

    Gradient descent on the sum of squared penetrations; poses without penetration do not change.
    """
    angles = angles_rad.detach().clone()
    deep = torch.arange(len(angles))
    for _ in range(_MOST_STEPS):
        moving = angles[deep].requires_grad_()
        depth = penetration_m(moving)
        (slope,) = torch.autograd.grad(depth.square().sum(), moving)
        angles[deep] = (moving - _STEP_PER_M2 * slope * FREEDOM).detach()
        deep = deep[depth.detach().amax(1) > 0.0]
        if not len(deep):
            break
    return angles


@cache
def _rest_joints() -> Float[Tensor, "16 3"]:
    model = open_hand()
    return rest_joints_m(model, torch.zeros(model.shape_count))


def _spheres_along(
    model: HandModel, joint: int, start: Float[Tensor, "3"], end: Float[Tensor, "3"]
) -> tuple[Float[Tensor, "slice 3"], Float[Tensor, " slice"], Int[Tensor, " slice"]]:
    """Spheres at slices of the flesh around a bone: the centroid of each slice, and its mean distance from it."""
    length = torch.linalg.vector_norm(end - start)
    direction = (end - start) / length
    offset = model.v_template - start
    along = offset @ direction
    aside = torch.linalg.vector_norm(offset - along[:, None] * direction, dim=1)
    own = (model.weights[:, joint] > 0.5) & (aside < 0.02)
    centres, radii = [], []
    for place in _SLICES:
        flesh = model.v_template[own & ((along / length - place).abs() < 0.15)]
        centre = flesh.mean(0)
        spokes = flesh - centre
        spokes = spokes - (spokes @ direction)[:, None] * direction
        centres.append(centre)
        radii.append(torch.linalg.vector_norm(spokes, dim=1).mean())
    return torch.stack(centres), torch.stack(radii), torch.full((len(_SLICES),), joint)


def _comparable(owners: Int[Tensor, " sphere"]) -> Bool[Tensor, "sphere sphere"]:
    """Each pair once, and none of parts that always touch: a bone and the next one, the palm and what grows from it."""
    finger, place = (owners - 1).div(3, rounding_mode="floor"), (owners - 1).remainder(3)
    palm = owners == 0
    neighbours = (finger[:, None] == finger) & ((place[:, None] - place).abs() <= 1)
    rooted = palm[:, None] & (palm | (place == 0))
    each_once = torch.ones(len(owners), len(owners)).triu(1).bool()
    return each_once & ~(neighbours | rooted | rooted.mT)
