"""METRO on squares of frames: the template it starts from, its weights, and its meshes in handloom's conventions."""

from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from handloom.estimators.hands.meshes import MeshHands, MeshNetwork, mean_pose, mesh_joints_m
from handloom.estimators.hands.search import hand_search
from handloom.estimators.metro import MetroSettings
from handloom.estimators.metro.network import Metro, MetroArchitecture, MetroOutput
from handloom.estimators.published_weights import PublishedWeights, filled, read_state
from handloom.hand.joints import MANO_FINGERTIPS_MANOPTH, WRIST, Fingertips
from handloom.hand.mano import HandModel, skin

METRO_FINGERTIPS: Fingertips = (745, 317, 445, 556, 673)
"""The vertices that METRO's own regressor takes (metro/modeling/_mano.py): manopth's, but for the middle finger the
vertex beside it."""
PUBLISHED = PublishedWeights(
    network="METRO's hand network",
    owner="METRO",
    file="metro_hand_state_dict.bin",
    home="https://github.com/microsoft/MeshTransformer",
    hint="with HRNet-W64 inside; its body network has another size",
    # No output depends on these.
    unused=("backbone.classifier.*", "trans_encoder.*.bert.embeddings.*", "trans_encoder.*.bert.pooler.*"),
)
# fmt: off
COARSE_VERTICES = (
    5, 8, 10, 11, 12, 15, 19, 20, 24, 28, 30, 32, 33, 37, 39, 41, 45, 48, 49, 52, 53, 54, 55, 58, 59, 61, 62, 76, 83,
    85, 91, 98, 102, 105, 106, 110, 114, 115, 124, 137, 148, 150, 154, 159, 160, 161, 162, 166, 170, 173, 186, 187, 189,
    190, 192, 199, 201, 209, 211, 212, 213, 224, 225, 230, 235, 236, 240, 243, 247, 248, 250, 251, 254, 258, 262, 263,
    267, 268, 269, 270, 274, 276, 277, 289, 290, 298, 303, 305, 309, 316, 317, 318, 320, 323, 332, 338, 350, 354, 359,
    362, 365, 366, 370, 373, 376, 377, 380, 389, 394, 409, 411, 413, 416, 420, 423, 424, 429, 436, 439, 451, 452, 453,
    460, 462, 463, 470, 471, 474, 478, 486, 487, 491, 499, 518, 526, 531, 537, 540, 544, 548, 554, 560, 561, 563, 570,
    571, 573, 576, 579, 587, 589, 594, 596, 609, 615, 617, 624, 629, 640, 641, 643, 648, 657, 658, 664, 665, 677, 678,
    681, 690, 692, 698, 699, 700, 701, 703, 705, 714, 718, 724, 728, 731, 735, 736, 738, 739, 744, 746, 750, 751, 756,
    759, 761, 770, 775,
)
# fmt: on
"""The 195 vertices of MANO that METRO keeps as tokens: those that the rows of the first reduction matrix in its
metro/modeling/data/mano_downsampling.npz select."""


class MetroHands(MeshNetwork):
    """METRO. HOLD crops 256 to 700 pixels whatever the hand's size, which suits its videos and is not done here."""

    name, title, input_px, released_tips = "metro", "METRO", 224, METRO_FINGERTIPS

    def hands_of(self, output: MetroOutput) -> MeshHands:
        """Joints J come from the mesh, and key points are (s (J_xy + t) + 1) / 2 with the camera (s, t).

        A hand is not seen where s is not positive: it would be inside out.
        """
        joints = mesh_joints_m(output.vertices_m, self.hand_model)
        wrist = joints[:, WRIST, None]
        joints, vertices = joints - wrist, output.vertices_m - wrist
        keypoints = (weak_perspective(joints, output.camera) + 1) / 2
        return MeshHands(vertices, joints, keypoints, output.camera[:, 0] > 0)


def weak_perspective(
    points_m: Float[Tensor, "n points 3"], camera: Float[Tensor, "n 3"]
) -> Float[Tensor, "n points 2"]:
    """s (X_xy + t), from -1 to 1 over the square, of points relative to the wrist."""
    scale, shift = camera[:, None, :1], camera[:, None, 1:]
    return scale * (points_m[..., :2] + shift)


def template_m(hand_model: HandModel) -> tuple[Float[Tensor, "21 3"], Float[Tensor, "778 3"]]:
    """Joints (SNAP, with manopth's finger tips) and vertices of MANO's hand in its mean pose and shape, metres."""
    hand = replace(hand_model, tip_vertices=MANO_FINGERTIPS_MANOPTH)
    zeros = hand.hands_mean.new_zeros
    posed = skin(hand, pose_rotvec=mean_pose(hand), shape=zeros(hand.shape_count), translation_m=zeros(3))
    return posed.keypoints_m, posed.vertices_m


def template_tokens_m(hand_model: HandModel) -> Float[Tensor, "216 3"]:
    """The tokens that METRO starts from: 21 joints and 195 vertices of the template, relative to its wrist."""
    joints, vertices = template_m(hand_model)
    return torch.cat([joints, vertices[list(COARSE_VERTICES)]]) - joints[WRIST]


def load_network(path: Path, hand_model: HandModel, architecture: MetroArchitecture | None = None) -> Metro:
    """METRO filled from its checkpoint, a bare state dict; raises InputError as `read_state` and `filled` do."""
    template = template_tokens_m(hand_model)
    sizes = architecture or MetroArchitecture()
    return filled(lambda: Metro(sizes, template), read_state(path, PUBLISHED), PUBLISHED, str(path))


def load(
    weights: Path, detector: Path | None, settings: MetroSettings, hand_model: HandModel, device: str
) -> MetroHands:
    """The network of its checkpoint; raises InputError as `fitting_hand` and `load_network` do."""
    hand = MetroHands.fitting_hand(hand_model, settings.fidelity)
    return MetroHands(load_network(weights, hand), hand, device)


find_hands = hand_search(load, MetroSettings)
