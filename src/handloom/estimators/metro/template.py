"""The tokens that METRO starts from: joints and some vertices of MANO's mean hand (facts/comparisons.md 2.1)."""

import torch
from jaxtyping import Float
from torch import Tensor

from handloom.estimators.mesh_hands import require_mano
from handloom.estimators.metro.mesh_joints import mesh_joints_m
from handloom.hand.joints import MANO_FINGERTIPS_MANOPTH, WRIST
from handloom.hand.mano import HandModel, skin

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
"""The 195 vertices of MANO that METRO keeps as tokens: what the rows of its first reduction matrix select."""


def template_tokens_m(hand_model: HandModel) -> Float[Tensor, "216 3"]:
    """The 21 joints and 195 vertices of the hand in its mean pose and shape, metres, relative to the wrist.

    Joints in SNAP's order, which is METRO's; their tips are manopth's vertices. Raises InputError for a hand that is
    not MANO's right one.
    """
    joints, vertices = template_m(hand_model)
    return torch.cat([joints, vertices[list(COARSE_VERTICES)]]) - joints[WRIST]


def template_m(hand_model: HandModel) -> tuple[Float[Tensor, "21 3"], Float[Tensor, "778 3"]]:
    """Joints (SNAP) and vertices of MANO's right hand with zero coefficients, so in its mean pose, metres."""
    require_mano(hand_model, "METRO")
    pose = torch.cat([hand_model.hands_mean.new_zeros(3), hand_model.hands_mean]).unflatten(0, (16, 3))
    zeros = pose.new_zeros
    posed = skin(hand_model, pose_rotvec=pose, shape=zeros(hand_model.shape_count), translation_m=zeros(3))
    tips = posed.vertices_m[list(MANO_FINGERTIPS_MANOPTH)]
    return mesh_joints_m(posed.joints_m, tips), posed.vertices_m
