"""HandOccNet on squares of frames, and on S2DHand's crops: its weights, and its meshes in handloom's conventions."""

from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional

from handloom.datasets.box_crops import BOX_MARGIN
from handloom.estimators.handoccnet import HandOccNetSettings
from handloom.estimators.handoccnet.network import HandOccNet, HandOccNetArchitecture, HandOccNetOutput
from handloom.estimators.hands.meshes import MeshHands, MeshNetwork, mean_pose, mirrored
from handloom.estimators.hands.search import hand_search
from handloom.estimators.published_weights import PublishedWeights, filled, read_state
from handloom.hand.joints import MANO_FINGERTIPS_MANOPTH, WRIST
from handloom.hand.mano import HandModel, SkinnedHand, skin

PUBLISHED = PublishedWeights(
    network="HandOccNet",
    owner="HandOccNet",
    file="snapshot_demo.pth.tar",
    home="https://github.com/namepllet/HandOccNet",
    hint="which is offered there for its demo",
    unused=(
        "regressor.mano_regHead.mano_layer.*",  # MANO's arrays, which come from the user's own MANO file
        "backbone.smooth2.*",  # a convolution that no output depends on
        "regressor.hand_regHead.uu",  # the cells' centres, which follow from the map's size
        "regressor.hand_regHead.vv",
    ),
    entry="network",
)


class HandOccNetHands(MeshNetwork):
    """HandOccNet; a hand is found in every square."""

    name, title, input_px, released_tips = "handoccnet", "HandOccNet", 256, MANO_FINGERTIPS_MANOPTH
    shapes = HandOccNetArchitecture().shape

    def hands_of(self, output: HandOccNetOutput) -> MeshHands:
        """The network's coefficients as meshes, its key points as shares from edge to edge.

        It is trained with key points u / 256 for a place u in pixels whose centres are whole numbers (joints_img in its
        data/HO3D/HO3D.py); the left edge is at u = -1/2, so that 1/512 is to be added.
        """
        hand = posed(output, self.hand_model)
        wrist = hand.keypoints_m[:, WRIST, None]
        keypoints = output.keypoints + 0.5 / self.input_px
        seen = torch.ones(len(output.shape), dtype=torch.bool)
        return MeshHands(hand.vertices_m - wrist, hand.keypoints_m - wrist, keypoints, seen)

    def joints_in_views(
        self, image_u8: UInt8[np.ndarray, "hands px px"], is_left: Bool[np.ndarray, " hands"]
    ) -> Float[np.ndarray, "hands 21 3"]:
        """Joints in S2DHand's grey crops of single views, in which left hands are mirrored; these are mirrored back.

        SNAP, metres relative to the wrist, along the camera's axes.
        """
        share = self.field_of_box / BOX_MARGIN
        hands = self.predict(enlarged(torch.from_numpy(image_u8), share, self.input_px))
        left = torch.from_numpy(is_left)[:, None, None]
        return torch.where(left, mirrored(hands).joints_m, hands.joints_m).double().numpy()


def posed(output: HandOccNetOutput, hand_model: HandModel) -> SkinnedHand:
    """The hand with the network's pose, which is relative to MANO's mean pose, and shape, at MANO's own place."""
    pose = roma.rotmat_to_rotvec(output.rotations) + mean_pose(hand_model)
    return skin(hand_model, pose_rotvec=pose, shape=output.shape, translation_m=pose.new_zeros(len(pose), 3))


def enlarged(image_u8: UInt8[Tensor, "hands px px"], share: float, size_px: int) -> UInt8[Tensor, "hands size size 3"]:
    """The middle of grey squares, that share of their side, at another size and in three equal channels.

    Bilinear; black where the share is more than there is.
    """
    count = len(image_u8)
    zoom = torch.tensor([[share, 0, 0], [0, share, 0]], dtype=torch.float32).expand(count, -1, -1)
    grid = functional.affine_grid(zoom, [count, 1, size_px, size_px], align_corners=False)
    grey = functional.grid_sample(image_u8[:, None].float(), grid, align_corners=False)
    return grey.round().byte().permute(0, 2, 3, 1).expand(-1, -1, -1, 3)


def load_network(path: Path, architecture: HandOccNetArchitecture | None = None) -> HandOccNet:
    """HandOccNet filled from its checkpoint; raises InputError as `read_state` and `filled` do.

    The file is a dict of epoch, optimizer and, under `network`, the weights; these alone will do.
    """
    sizes = architecture or HandOccNetArchitecture()
    return filled(lambda: HandOccNet(sizes), read_state(path, PUBLISHED), PUBLISHED, str(path))


def load(
    weights: Path, detector: Path | None, settings: HandOccNetSettings, hand_model: HandModel, device: str
) -> HandOccNetHands:
    """The network of its checkpoint; raises InputError as `fitting_hand` and `load_network` do."""
    hand = HandOccNetHands.fitting_hand(hand_model, settings.fidelity)
    return HandOccNetHands(load_network(weights), hand, device)


find_hands = hand_search(load, HandOccNetSettings)
