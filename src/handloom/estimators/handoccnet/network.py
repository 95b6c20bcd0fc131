"""HandOccNet (Park et al., "HandOccNet: Occlusion-Robust 3D Hand Mesh Estimation Network", CVPR 2022).

Parameter names and shapes are those of the published checkpoint, without what it holds of MANO: the hand model is the
user's own. Source: facts/comparisons.md 2.2.
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from handloom.estimators.handoccnet.architecture import HandOccNetArchitecture
from handloom.estimators.handoccnet.joint_maps import JointMapHead
from handloom.estimators.handoccnet.mano_head import ManoHead, PoseEncoder
from handloom.estimators.handoccnet.pyramid import GatedPyramid
from handloom.estimators.handoccnet.transformer import CellTransformer


class HandOccNetOutput(NamedTuple):
    """What the network gives for right hands in square images, along the image's axes (x right, y down, z forward)."""

    keypoints: Float[Tensor, "batch 21 2"]
    """SNAP, as shares (x, y) of the image's side; not the projection of the mesh."""
    rotations: Float[Tensor, "batch 16 3 3"]
    """Each joint's relative to its parent, MANO's order; those of the fingers come on top of MANO's mean pose."""
    shape: Float[Tensor, "batch shape"]


class HandOccNet(nn.Module):
    """Maps of what is hand and of what is not, hidden cells filled in from the former, and the hand read from them."""

    def __init__(self, architecture: HandOccNetArchitecture) -> None:
        super().__init__()
        self.backbone = GatedPyramid(architecture)
        self.FIT = CellTransformer(architecture, injecting=True)
        self.SET = CellTransformer(architecture, injecting=False)
        self.regressor = nn.ModuleDict(
            {
                "hand_regHead": JointMapHead(architecture),
                "hand_Encoder": PoseEncoder(architecture),
                "mano_regHead": ManoHead(architecture),
            }
        )

    def forward(self, image: Float[Tensor, "batch 3 px px"]) -> HandOccNetOutput:
        """Hands in images with values from 0 to 1, as `preprocessing.network_input` makes them."""
        maps = self.backbone(image)
        filled = self.FIT(maps.secondary, maps.primary)
        return self.regressed(self.SET(filled, filled))

    def regressed(self, features: Float[Tensor, "batch width cells cells"]) -> HandOccNetOutput:
        """Hands of the images with these features: everything behind the transformers."""
        maps = self.regressor["hand_regHead"](features)
        coefficients = self.regressor["mano_regHead"](self.regressor["hand_Encoder"](maps))
        return HandOccNetOutput(maps.keypoints, coefficients.rotations, coefficients.shape)
