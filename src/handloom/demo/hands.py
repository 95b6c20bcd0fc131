"""One person's hands: shape, skin and forearm, posed for a whole sequence at once.

Everything is computed for a right hand; a left hand is its mirror image in x, so both follow one convention.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from handloom.demo.renderer import Mesh, Topology
from handloom.hand.mano import skin
from handloom.hand.open_hand import open_hand

MODEL = open_hand("right")
SHAPES = MODEL.shape_count
FACES = MODEL.faces.numpy()
FINGER_JOINTS = ((13, 14, 15), (1, 2, 3), (4, 5, 6), (10, 11, 12), (7, 8, 9))
"""The MANO joints of thumb, index, middle, ring and pinky, base first."""
RINGS = 8
_PALM, _LEFT_FIRST, _RIGHT_FIRST, _PERSON = 17, 2, 18, 1


def pose_right_hand(
    finger_pose: Float[np.ndarray, "frames 15 3"], shape: Float[np.ndarray, " shapes"]
) -> tuple[Float[np.ndarray, "frames vertices 3"], Float[np.ndarray, "frames 21 3"]]:
    """Vertices and SNAP key points (metres) of a right hand that has not turned, its wrist at the origin."""
    frames = len(finger_pose)
    pose = torch.zeros(frames, 16, 3)
    pose[:, 1:] = torch.from_numpy(finger_pose)
    with torch.no_grad():
        posed = skin(
            MODEL,
            pose_rotvec=pose,
            shape=torch.from_numpy(shape).float().expand(frames, -1),
            translation_m=torch.zeros(frames, 3),
        )
        wrist = posed.joints_m[:, :1]
        return (posed.vertices_m - wrist).double().numpy(), (posed.keypoints_m - wrist).double().numpy()


def _boundary_loop(faces: np.ndarray) -> np.ndarray:
    """Vertices of the open edge at the wrist, in order."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    present = {(int(a), int(b)) for a, b in edges}
    following = {a: b for a, b in present if (b, a) not in present}
    loop = [min(following)]
    while len(loop) < len(following):
        loop.append(following[loop[-1]])
    return np.array(loop)


class HandTopology:
    """Triangles of the hand with a capped forearm of `RINGS` rings on its open edge, and labels as in RHD's masks."""

    def __init__(self) -> None:
        self.loop = _boundary_loop(FACES)
        hand_vertices = len(MODEL.v_template)
        around = len(self.loop)
        # Ring 0 is the wrist's own edge; the others follow behind the hand's vertices.
        index = np.concatenate([self.loop[None], hand_vertices + np.arange(RINGS * around).reshape(RINGS, around)])
        ahead = np.roll(index, -1, axis=1)
        # The loop runs along the hand's boundary edges, so the forearm uses each of them backwards.
        first = np.stack([ahead[:-1], index[:-1], index[1:]], -1).reshape(-1, 3)
        second = np.stack([ahead[:-1], index[1:], ahead[1:]], -1).reshape(-1, 3)
        apex = np.full(around, hand_vertices + RINGS * around)
        cap = np.stack([ahead[-1], index[-1], apex], -1)
        faces = np.concatenate([FACES, first, second, cap])
        self.vertex_count = hand_vertices + RINGS * around + 1
        self.right = Topology(faces, self.vertex_count)
        self.left = Topology(faces[:, ::-1], self.vertex_count)
        bone = MODEL.weights.numpy().argmax(1)[FACES].max(1)
        forearm = np.full(len(first) + len(second) + len(cap), _PERSON)
        self.right_labels = np.concatenate([_rhd_labels(bone, _RIGHT_FIRST), forearm])
        self.left_labels = np.concatenate([_rhd_labels(bone, _LEFT_FIRST), forearm])


def _rhd_labels(bone: np.ndarray, first: int) -> np.ndarray:
    """Mask labels of RHD: per finger tip to base, thumb first, then the palm."""
    labels = np.full(16, first + 15)
    for finger, bones in enumerate(FINGER_JOINTS):
        for place, joint in enumerate(reversed(bones)):
            labels[joint] = first + 3 * finger + place
    return labels[bone]


TOPOLOGY = HandTopology()


@dataclass(frozen=True)
class HandTrack:
    """A hand over a sequence: `vertices_m` with forearm, `keypoints_m` in SNAP order, both in the world."""

    is_left: bool
    vertices_m: Float[np.ndarray, "frames vertices 3"]
    keypoints_m: Float[np.ndarray, "frames 21 3"]

    def mesh(self, frame: int, albedo: Float[np.ndarray, "vertices channels"], gloss: float) -> Mesh:
        """The hand of one frame as a mesh of the scene."""
        topology, labels = (
            (TOPOLOGY.left, TOPOLOGY.left_labels) if self.is_left else (TOPOLOGY.right, TOPOLOGY.right_labels)
        )
        return Mesh(topology, self.vertices_m[frame], albedo, labels, gloss)


def place_hand(
    *,
    finger_pose: Float[np.ndarray, "frames 15 3"],
    shape: Float[np.ndarray, " shapes"],
    world_from_wrist: Float[np.ndarray, "frames 3 3"],
    wrist_m: Float[np.ndarray, "frames 3"],
    elbow_m: Float[np.ndarray, "frames 3"],
    is_left: bool,
    sleeve: float,
) -> HandTrack:
    """Pose a hand and its forearm.

    Wrist, elbow and rotation are those of a right hand; for a left hand the whole result is mirrored in world x.
    `sleeve` in 0...1 is where on the forearm a sleeve begins, which is a little wider.
    """
    vertices, keypoints = pose_right_hand(finger_pose, shape)
    vertices = np.einsum("fij,fvj->fvi", world_from_wrist, vertices) + wrist_m[:, None]
    keypoints = np.einsum("fij,fkj->fki", world_from_wrist, keypoints) + wrist_m[:, None]
    forearm = _forearm(vertices[:, TOPOLOGY.loop], world_from_wrist, elbow_m, sleeve)
    vertices = np.concatenate([vertices, forearm], axis=1)
    if is_left:
        mirror = np.array([-1.0, 1.0, 1.0])
        vertices, keypoints = vertices * mirror, keypoints * mirror
    return HandTrack(is_left, vertices.astype(np.float32), keypoints)


def _forearm(
    edge: Float[np.ndarray, "frames around 3"],
    world_from_wrist: Float[np.ndarray, "frames 3 3"],
    elbow_m: Float[np.ndarray, "frames 3"],
    sleeve: float,
) -> Float[np.ndarray, "frames forearm 3"]:
    """Rings from the wrist's edge to the elbow; the first ones turn from the hand's direction into the forearm's."""
    centre = edge.mean(1, keepdims=True)
    offset = edge - centre
    along = elbow_m[:, None] - centre
    length = np.linalg.norm(along, axis=-1, keepdims=True)
    direction = (along / length)[:, 0]
    hand_axis = world_from_wrist[:, :, 0]
    turn = np.cross(hand_axis, direction)
    sine = np.linalg.norm(turn, axis=-1, keepdims=True)
    angle = np.arctan2(sine, (hand_axis * direction).sum(-1, keepdims=True))
    rotvec = turn / np.maximum(sine, 1e-9) * angle
    places = ring_places(sleeve)
    rings = []
    for ring, place in enumerate(places, start=1):
        bent = Rotation.from_rotvec(rotvec * min(1.0, ring / 3)).as_matrix()
        widen = 1.0 + 0.45 * place + (0.18 if place >= sleeve else 0.0)
        if ring == RINGS:
            widen *= 0.8
        rings.append(centre + place * along + widen * np.einsum("fij,fvj->fvi", bent, offset))
    return np.concatenate([*rings, centre + 1.08 * along], axis=1)


def ring_places(sleeve: float) -> Float[np.ndarray, " rings"]:
    """Where the forearm's rings lie between wrist (0) and elbow (1); a sleeve begins with two rings side by side."""
    places = (np.arange(1, RINGS + 1) / RINGS) ** 1.6
    covered = places >= sleeve
    if covered.any() and not covered[0]:
        first = int(covered.argmax())
        places[first] = max(sleeve, places[first - 1] + 0.02)
        places[first - 1] = places[first] - 0.015
    return places
