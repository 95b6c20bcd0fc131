"""How a hand holds an unknown object and turns it before a static camera: all of a HOLD sequence but its pictures."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import roma
import torch
from jaxtyping import Float, Int
from numpy.random import Generator
from scipy.spatial.transform import Rotation
from torch import Tensor

from handloom.demo.held_objects import outer_distance_m
from handloom.demo.people import FINGER_JOINTS, MIRROR, HandMotion, Person, Track, Turns, place_hand, smooth_noise
from handloom.demo.plan import ObjectKind
from handloom.demo.renderer import Matrix, Vector
from handloom.geometry.surfaces import vertex_normals
from handloom.hand.anatomy import FLEXION, FREEDOM, RADIAL, TWIST, mirror_pose, within_limits
from handloom.hand.joints import MANO_JOINT_COUNT
from handloom.hand.mano import rest_joints_m, skin
from handloom.hand.models import open_hand, open_hand_anatomy
from handloom.hand.pose_prior import key_pose_angles
from handloom.hand.self_contact import penetration_m
from handloom.runtime.config.sequences import DemoSequence

_GRASP_STEPS = 220
"""Of Adam, at rates that fall to 5e-4."""
_TOUCHING, _PALM_TOUCHING = 12, 60
"""So many vertices of a finger's pad, and of the palm, are drawn to the object."""
_AHEAD = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""Columns are the object's x, y and z in the wrist's frame: x points away from the palm, z to the thumb's side."""
_AWAY_FROM_PALM = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
_ON_FINGERTIPS = _AWAY_FROM_PALM @ Rotation.from_euler("z", -15, degrees=True).as_matrix()
"""z points away from the palm, x over the wrist."""
_BETWEEN_FINGERTIPS = _AWAY_FROM_PALM @ Rotation.from_euler("z", 133, degrees=True).as_matrix()
"""z points away from the palm, y from the thumb's tip to the other tips."""
_FOREARM_UPRIGHT = np.stack([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], axis=1)
"""camera_from_hand: forearm downwards, palm towards the camera."""
_PALM_DOWN = np.stack([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]], axis=1)
"""camera_from_hand: palm downwards, the forearm behind the hand."""
_PALM_UP = np.stack([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]], axis=1)
"""camera_from_hand: palm upwards, the forearm behind the hand."""
_PALM_ASIDE = np.stack([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]], axis=1)
"""camera_from_hand: palm to the left in the picture, thumb up, the forearm before the hand: one's own hand."""
_FINGER_PLAY_RAD = 0.015
"""Fingers that hold something move hardly more than a degree."""


@dataclass(frozen=True)
class HoldPerformance:
    """What is held how, and how it is turned: angles in degrees from the first to the last frame.

    `turn` is about the vertical, from where `camera_from_hand` places the hand; `nod` (x) and `lean` (z) swing about
    the camera's axes: a middle and an amplitude.
    """

    start: str
    """The key pose that the grasp is sought from."""
    palm_axes: Matrix
    centre_m: Vector
    """The object's place in the wrist's frame."""
    palm: bool
    """Whether the palm touches the object too, not only the fingers."""
    camera_from_hand: Matrix
    turn_deg: tuple[float, float]
    nod_deg: tuple[float, float]
    elbow_down: float
    """How much the elbow hangs (negative: is raised), as a share of the forearm."""
    lean_deg: tuple[float, float]
    place_m: tuple[float, float, float]
    """Where the object's origin hovers in the camera's frame."""
    forearm_m: float = 0.34
    """Longer than a forearm is: its end stays outside the picture."""
    both: bool = False
    """Whether the left hand holds the object's other end: the object is its own mirror image in z."""


PERFORMANCES: dict[DemoSequence, HoldPerformance] = {
    "jug1": HoldPerformance(
        start="sphere",
        palm_axes=_ON_FINGERTIPS,
        centre_m=np.array([-0.108, -0.085, 0.002]),
        palm=False,
        camera_from_hand=_PALM_UP,
        turn_deg=(-118.0, 122.0),
        nod_deg=(3.0, -28.0),
        elbow_down=0.4,
        lean_deg=(4.0, 12.0),
        place_m=(0.0, -0.005, 0.29),
    ),
    "carton1": HoldPerformance(
        start="box grip",
        palm_axes=_BETWEEN_FINGERTIPS,
        centre_m=np.array([-0.100, -0.100, 0.012]),
        palm=False,
        camera_from_hand=_PALM_DOWN,
        turn_deg=(128.0, -128.0),
        nod_deg=(1.0, 29.0),
        elbow_down=-0.4,
        lean_deg=(-6.0, 14.0),
        place_m=(0.0, 0.022, 0.29),
    ),
    "lamp1": HoldPerformance(
        start="cylinder",
        palm_axes=_AHEAD,
        centre_m=np.array([-0.094, -0.036, 0.020]),
        palm=True,
        camera_from_hand=_FOREARM_UPRIGHT,
        turn_deg=(-140.0, 140.0),
        nod_deg=(0.0, 30.0),
        elbow_down=0.1,
        lean_deg=(-18.0, 18.0),
        place_m=(0.0, -0.010, 0.31),
    ),
    "mug1": HoldPerformance(
        start="sphere",
        palm_axes=_ON_FINGERTIPS,
        centre_m=np.array([-0.108, -0.076, 0.002]),
        palm=False,
        camera_from_hand=_PALM_UP,
        turn_deg=(-118.0, 122.0),
        nod_deg=(48.0, -48.0),
        elbow_down=0.4,
        lean_deg=(4.0, 12.0),
        place_m=(0.0, -0.005, 0.29),
    ),
    "parcel1": HoldPerformance(
        start="box grip",
        palm_axes=_BETWEEN_FINGERTIPS,
        centre_m=np.array([-0.100, -0.123, 0.012]),
        palm=False,
        camera_from_hand=_PALM_ASIDE,
        turn_deg=(-100.0, 100.0),
        nod_deg=(45.0, -30.0),
        elbow_down=0.5,
        lean_deg=(-4.0, 10.0),
        place_m=(0.0, -0.005, 0.42),
        forearm_m=0.8,
        both=True,
    ),
}


@dataclass(frozen=True)
class HoldGrasp:
    """A grasp found: joint angles of the fingers (radians), and where the object lies in the wrist's frame."""

    angles_rad: Float[np.ndarray, "15 3"]
    wrist_from_object: Matrix
    centre_m: Vector


def optimised_grasp(kind: ObjectKind, plan: HoldPerformance, shape: Float[np.ndarray, " shapes"]) -> HoldGrasp:
    """Minimise, over finger angles and the object's pose in the wrist's frame (Adam),

        L = sum_f mean |d(pad_f)| / 1 cm + 0.5 mean |d(palm)| / 1 cm + sum max(0, -d)^2 / 1 cm^2
            + sum max(0, self-penetration)^2 / 1 cm^2 + 0.2 |angles - start|^2 + small changes of the object's place

    with d the signed distance of the hand's vertices to the object, pad_f the closest vertices of a finger's last
    two bones on its inner side, palm likewise. Angles stay within the joints' limits at every step. Deterministic.
    """
    model, anatomy = open_hand(), open_hand_anatomy()
    start = key_pose_angles(plan.start)[0]
    shape_t = torch.from_numpy(shape).float()
    origin = -rest_joints_m(model, shape_t)[0]
    rotation_0 = torch.from_numpy(plan.palm_axes).float()
    centre_0 = torch.from_numpy(plan.centre_m).float()
    pads, palm = _inner_vertices()

    def distances(angles: Tensor, turn: Tensor, shift: Tensor) -> Tensor:
        pose = torch.cat([torch.zeros(1, 3), anatomy.pose_from_angles(angles)])
        hand_m = skin(model, pose_rotvec=pose, shape=shape_t, translation_m=origin).vertices_m
        return outer_distance_m(kind, (hand_m - centre_0 - shift) @ (roma.rotvec_to_rotmat(turn) @ rotation_0))

    change = torch.zeros_like(start, requires_grad=True)
    turn = torch.full((3,), 1e-4, requires_grad=True)
    shift = torch.zeros(3, requires_grad=True)
    optimiser = torch.optim.Adam(
        [{"params": [change], "lr": 0.02}, {"params": [turn], "lr": 0.01}, {"params": [shift], "lr": 0.001}]
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, _GRASP_STEPS, eta_min=5e-4)
    for _ in range(_GRASP_STEPS):
        angles = within_limits(start + change * FREEDOM)
        d_cm = 100 * distances(angles, turn, shift)
        touch = torch.stack([d_cm[pad].abs().topk(_TOUCHING, largest=False).values.mean() for pad in pads])
        on_palm = d_cm[palm].abs().topk(_PALM_TOUCHING, largest=False).values.mean()
        loss = (
            touch.sum()
            + (0.5 * on_palm if plan.palm else 0.0)
            + 1.0 * (-d_cm).clamp(min=0).square().sum()
            + (100 * penetration_m(angles)).square().sum()
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
        rotation = roma.rotvec_to_rotmat(turn) @ rotation_0
        centre = centre_0 + shift
    return HoldGrasp(angles.double().numpy(), rotation.double().numpy(), centre.double().numpy())


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
    normals = vertex_normals(vertices, model.faces)
    owner = model.weights.argmax(1)
    pads = []
    for (base, middle, distal), tip in zip(FINGER_JOINTS, vertices[list(model.tip_vertices)], strict=True):
        chord = tip - joints[base]
        bulge = joints[[middle, distal]].mean(0) - (joints[base] + tip) / 2
        inward = -(bulge - (bulge @ chord) / (chord @ chord) * chord)
        inward = inward / torch.linalg.vector_norm(inward)
        of_finger = (owner == distal) | (owner == middle)
        pads.append((of_finger & (normals @ inward > 0.5)).nonzero()[:, 0])
    palm = ((owner == 0) & (normals[:, 1] < -0.6)).nonzero()[:, 0]
    return pads, palm


@dataclass(frozen=True)
class HoldMotion:
    """Hand and object in the camera's frame (OpenCV axes, metres); the hand in MANO's parameters and as a track."""

    pose_rotvec: Float[np.ndarray, "frames 16 3"]
    hand_translation_m: Track
    hand: HandMotion
    object_rotation: Turns
    object_translation_m: Track
    other: "HoldMotion | None" = None
    """The second hand, with the same object."""

    @property
    def hands(self) -> "tuple[HoldMotion, ...]":
        """This hand and, if there is one, the other."""
        return (self,) if self.other is None else (self, self.other)

    def mirrored(self) -> "HoldMotion":
        """The left hand's motion: that of the right one in a mirror, S = diag(-1, 1, 1).

        The object is no mirror image: all are their own in y, so that T = diag(1, -1, 1) maps one onto itself, and
        S R T is a rotation.
        """
        return HoldMotion(
            mirror_pose(torch.from_numpy(self.pose_rotvec)).numpy(),
            self.hand_translation_m * MIRROR,
            self.hand.mirrored(),
            np.diag(MIRROR) @ self.object_rotation @ np.diag([1.0, -1.0, 1.0]),
            self.object_translation_m * MIRROR,
        )


def perform(
    generator: Generator, frames: int, performance: HoldPerformance, grasp: HoldGrasp, person: Person
) -> HoldMotion:
    """Turn the object about the forearm while nodding and leaning; the grasp stays but for slight finger movements."""
    camera_from_hand = _turning(generator, frames, performance)
    drift = smooth_noise(generator, frames, 3, frames_apart=8.0) * [0.010, 0.007, 0.010]
    position = np.array(performance.place_m) + drift
    wrist = position - camera_from_hand @ grasp.centre_m
    pose = camera_from_hand @ grasp.wrist_from_object, position
    held = _held(generator, performance, grasp, person, camera_from_hand, wrist, pose)
    if not performance.both:
        return held
    # The left hand is the right one in a mirror across the object's z, which is made as a right one in camera's x.
    rotation = pose[0]
    across = np.diag(MIRROR) @ rotation @ np.diag([1.0, 1.0, -1.0]) @ rotation.swapaxes(1, 2)
    aside = np.einsum("fij,fj->fi", across, wrist - position) + position * MIRROR
    mirrored_pose = np.diag(MIRROR) @ rotation @ np.diag([1.0, -1.0, 1.0]), position * MIRROR
    left = _held(generator, performance, grasp, person, across @ camera_from_hand, aside, mirrored_pose)
    return replace(held, other=left.mirrored())


def _held(
    generator: Generator,
    performance: HoldPerformance,
    grasp: HoldGrasp,
    person: Person,
    camera_from_hand: Turns,
    wrist: Track,
    object_pose: tuple[Turns, Track],
) -> HoldMotion:
    """A right hand with its own slight finger movements."""
    frames = len(wrist)
    play = np.zeros((frames, 15, 3))
    play[..., FLEXION] = _FINGER_PLAY_RAD * smooth_noise(generator, frames, 15, frames_apart=8.0)
    angles = within_limits(torch.from_numpy(grasp.angles_rad + play).float())
    fingers = open_hand_anatomy().pose_from_angles(angles).double().numpy()
    bend = Rotation.from_rotvec(0.10 * smooth_noise(generator, frames, 3, frames_apart=10.0)).as_matrix()
    # The wrist bends towards where the elbow is: above or below the hand, so that the forearm leaves the picture.
    along = camera_from_hand[:, :, 0] + [0.0, performance.elbow_down, 0.0]
    along /= np.linalg.norm(along, axis=-1, keepdims=True)
    elbow = wrist + performance.forearm_m * np.einsum("fij,fj->fi", bend, along)
    arm = {"world_from_wrist": camera_from_hand, "wrist_m": wrist, "elbow_m": elbow}
    track = place_hand(person, finger_pose=fingers.astype(np.float32), is_left=False, **arm)
    root = Rotation.from_matrix(camera_from_hand).as_rotvec()
    rest_wrist = rest_joints_m(open_hand(), torch.from_numpy(person.shape).float())[0].double().numpy()
    poses = np.concatenate([root[:, None], fingers], axis=1)
    return HoldMotion(poses, wrist - rest_wrist, track, *object_pose)


def _turning(generator: Generator, frames: int, performance: HoldPerformance) -> Turns:
    time = np.linspace(0, 1, frames)
    # Nearly even, a little slower at both ends.
    eased = time - 0.03 * np.sin(2 * np.pi * time)
    first, last = performance.turn_deg
    turn = first + (last - first) * eased + 2.0 * smooth_noise(generator, frames, frames_apart=6.0)
    nod = performance.nod_deg[0] + performance.nod_deg[1] * np.cos(2 * np.pi * 1.15 * (time - 0.47))
    lean = performance.lean_deg[0] + performance.lean_deg[1] * np.cos(2 * np.pi * 0.9 * time)
    swing = Rotation.from_euler("zx", np.stack([lean, nod], -1), degrees=True)
    spin = Rotation.from_euler("y", turn[:, None], degrees=True)
    return (swing * spin).as_matrix() @ performance.camera_from_hand
