"""Grasps of unknown objects: the open hand and the object's place, optimised against the signed distance."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor

from handloom.demo.held_objects import ObjectKind, distance_m
from handloom.hand.anatomy import FLEXION, RADIAL, TWIST
from handloom.hand.joints import MANO_JOINT_COUNT
from handloom.hand.key_poses import KEY_POSES, key_pose_angles
from handloom.hand.limits import FREEDOM, within_limits
from handloom.hand.mano import rest_joints_m, skin
from handloom.hand.open_hand import open_hand, open_hand_anatomy
from handloom.hand.self_contact import penetration_m

STEPS = 220
_DISTALS = (15, 3, 6, 12, 9)
_MIDDLES = (14, 2, 5, 11, 8)
_TOUCHING = 12
_PALM_TOUCHING = 60


@dataclass(frozen=True)
class HoldPlan:
    """How an object is to be held: a key pose to start from, and the object's place in the wrist's frame (metres)."""

    start: str
    palm_axes: Float[np.ndarray, "3 3"]
    centre_m: Float[np.ndarray, "3"]
    palm: bool = True
    """Whether the palm touches the object too, not only the fingers."""


@dataclass(frozen=True)
class HoldGrasp:
    """A grasp found: joint angles of the fingers (radians) and wrist_from_object as rotation and translation."""

    angles_rad: Float[np.ndarray, "15 3"]
    rotation: Float[np.ndarray, "3 3"]
    translation_m: Float[np.ndarray, "3"]
    contact_m: Float[np.ndarray, "5"]
    """Distance of each finger pad to the surface, thumb first, negative inside."""
    deepest_m: float
    """How deep the deepest vertex of the hand lies inside the object."""


def optimised_grasp(
    kind: ObjectKind, plan: HoldPlan, shape: Float[np.ndarray, " shapes"], steps: int = STEPS
) -> HoldGrasp:
    """Minimise, over finger angles and the object's pose in the wrist's frame (Adam),

        L = sum_f mean |d(pad_f)| / 1 cm + 0.5 mean |d(palm)| / 1 cm + sum max(0, -d)^2 / 1 cm^2
            + sum max(0, self-penetration)^2 / 1 cm^2 + 0.2 |angles - start|^2 + small changes of the object's place

    with d the signed distance of the hand's vertices to the object, pad_f the closest vertices of a finger's last
    two bones on its inner side, palm likewise. Angles are brought within `hand.limits` at every step. Deterministic.
    """
    model, anatomy = open_hand(), open_hand_anatomy()
    start = key_pose_angles()[list(KEY_POSES).index(plan.start)]
    shape_t = torch.from_numpy(shape).float()
    origin = -rest_joints_m(model, shape_t)[0]
    rotation_0 = torch.from_numpy(plan.palm_axes).float()
    centre_0 = torch.from_numpy(plan.centre_m).float()
    pads, palm = _inner_vertices()

    def hand(angles: Tensor) -> Tensor:
        pose = torch.cat([torch.zeros(1, 3), anatomy.pose_from_angles(angles)])
        return skin(model, pose_rotvec=pose, shape=shape_t, translation_m=origin).vertices_m

    def distances(angles: Tensor, turn: Tensor, shift: Tensor) -> Tensor:
        rotation = roma.rotvec_to_rotmat(turn) @ rotation_0
        return distance_m(kind, (hand(angles) - centre_0 - shift) @ rotation)

    change = torch.zeros_like(start, requires_grad=True)
    turn = torch.full((3,), 1e-4, requires_grad=True)
    shift = torch.zeros(3, requires_grad=True)
    optimiser = torch.optim.Adam(
        [{"params": [change], "lr": 0.02}, {"params": [turn], "lr": 0.01}, {"params": [shift], "lr": 0.001}]
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, eta_min=5e-4)
    for _ in range(steps):
        angles = within_limits(start + change * FREEDOM)
        d_cm = 100 * distances(angles, turn, shift)
        touch = torch.stack([d_cm[pad].abs().topk(_TOUCHING, largest=False).values.mean() for pad in pads])
        on_palm = d_cm[palm].abs().topk(_PALM_TOUCHING, largest=False).values.mean()
        loss = (
            touch.sum()
            + (0.5 * on_palm if plan.palm else 0.0)
            + 1.0 * (-d_cm).clamp(min=0).square().sum()
            + (100 * penetration_m(anatomy, angles)).square().sum()
            + 0.2 * change[:, [FLEXION]].square().sum()
            + 1.0 * change[:, [RADIAL, TWIST]].square().sum()
            + 2.0 * turn.square().sum()
            + 4000.0 * shift.square().sum()
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        scheduler.step()
    with torch.no_grad():
        angles = within_limits(start + change * FREEDOM)
        distance = distances(angles, turn, shift)
        contact = torch.stack([distance[pad].topk(_TOUCHING, largest=False).values.mean() for pad in pads])
        rotation = roma.rotvec_to_rotmat(turn) @ rotation_0
    return HoldGrasp(
        angles.double().numpy(),
        rotation.double().numpy(),
        (centre_0 + shift).detach().double().numpy(),
        contact.double().numpy(),
        float((-distance).clamp(min=0).max()),
    )


@cache
def _inner_vertices() -> tuple[list[Int[Tensor, " pad"]], Int[Tensor, " palm"]]:
    """Vertices of the embedded hand that may touch: per finger (thumb first) the inside of its last bones, the palm.

    The inside of a finger is where its own bending leads: the side of the rest pose that faces the curl's centre.
    """
    model = open_hand()
    rest = skin(
        model,
        pose_rotvec=torch.zeros(MANO_JOINT_COUNT, 3),
        shape=torch.zeros(model.shape_count),
        translation_m=torch.zeros(3),
    )
    vertices, joints = rest.vertices_m, rest.joints_m
    a, b, c = (vertices[model.faces[:, corner]] for corner in range(3))
    normals = torch.zeros_like(vertices).index_add_(
        0, model.faces.flatten(), torch.linalg.cross(b - a, c - a).repeat_interleave(3, 0)
    )
    normals = torch.nn.functional.normalize(normals, dim=1)
    owner = model.weights.argmax(1)
    tips = vertices[list(model.tip_vertices)]
    pads = []
    for finger, (middle, distal) in enumerate(zip(_MIDDLES, _DISTALS, strict=True)):
        chord = tips[finger] - joints[middle - 1]
        bulge = joints[[middle, distal]].mean(0) - (joints[middle - 1] + tips[finger]) / 2
        inward = -(bulge - (bulge @ chord) / (chord @ chord) * chord)
        inward = inward / torch.linalg.vector_norm(inward)
        of_finger = (owner == distal) | (owner == middle)
        pads.append((of_finger & (normals @ inward > 0.5)).nonzero()[:, 0])
    palm = ((owner == 0) & (normals[:, 1] < -0.6)).nonzero()[:, 0]
    return pads, palm
