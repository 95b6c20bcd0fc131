"""HandOccNet's hands in handloom's conventions, for many squares (facts/comparisons.md 2.2)."""

import roma
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from handloom.estimators.handoccnet.network import HandOccNet, HandOccNetOutput
from handloom.estimators.handoccnet.preprocessing import INPUT_PX, network_input
from handloom.estimators.mesh_hands import MeshHands
from handloom.hand.joints import WRIST
from handloom.hand.mano import HandModel, SkinnedHand, skin
from handloom.runtime.progress import progress


def predict(
    network: HandOccNet,
    image_u8: UInt8[Tensor, "n px px 3"],
    hand_model: HandModel,
    *,
    batch_size: int = 8,
    device: torch.device | str = "cpu",
) -> MeshHands:
    """Hands of RGB squares of 256 pixels that show right hands; the network must be in evaluation mode."""
    with torch.no_grad():
        batches = progress(image_u8.split(batch_size), "HandOccNet")
        outputs = [network(network_input(batch.to(device))) for batch in batches]
    together = HandOccNetOutput(*(torch.cat(parts).cpu() for parts in zip(*outputs, strict=True)))
    return hands_of(together, hand_model)


def hands_of(output: HandOccNetOutput, hand_model: HandModel) -> MeshHands:
    """The network's coefficients as meshes about their wrists, its key points as shares from edge to edge.

    The network is trained with key points u / 256 for a place u in pixels whose centres are whole numbers; the left
    edge is at u = -1/2, so that 1/512 is to be added.
    """
    hand = posed(output, hand_model)
    wrist = hand.keypoints_m[:, WRIST, None]
    seen = torch.ones(len(output.shape), dtype=torch.bool)
    return MeshHands(hand.vertices_m - wrist, hand.keypoints_m - wrist, output.keypoints + 0.5 / INPUT_PX, seen)


def posed(output: HandOccNetOutput, hand_model: HandModel) -> SkinnedHand:
    """The hand with the network's pose, which is relative to MANO's mean pose, and shape, at MANO's own place."""
    pose = roma.rotmat_to_rotvec(output.rotations)
    return skin(
        hand_model,
        pose_rotvec=pose + mean_pose(hand_model),
        shape=output.shape,
        translation_m=pose.new_zeros(len(pose), 3),
    )


def mean_pose(hand_model: HandModel) -> Float[Tensor, "16 3"]:
    """MANO's mean pose as rotation vectors, the wrist unturned."""
    return torch.cat([hand_model.hands_mean.new_zeros(3), hand_model.hands_mean]).unflatten(0, (16, 3))
