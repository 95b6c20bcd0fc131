"""METRO (Lin et al., "End-to-End Human Pose and Mesh Reconstruction with Transformers", CVPR 2021), its hand network.

Parameter names and shapes are those of the published checkpoint. Source: facts/comparisons.md 2.1.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from handloom.estimators.metro.architecture import MetroArchitecture
from handloom.estimators.metro.hrnet import HRNet
from handloom.estimators.metro.transformer import TransformerBlock
from handloom.hand.joints import JOINT_COUNT

DIMENSIONS = 3


class MetroOutput(NamedTuple):
    """What the network gives for right hands in square images, along the image's axes (x right, y down, z forward)."""

    camera: Float[Tensor, "batch 3"]
    """Scale s and shift (tx, ty): a point X lies at s (X_xy + t) in [-1, 1] of the image."""
    joints_m: Float[Tensor, "batch 21 3"]
    """The joint tokens; METRO's own demo takes joints from the mesh instead."""
    coarse_m: Float[Tensor, "batch coarse 3"]
    vertices_m: Float[Tensor, "batch vertex 3"]
    """The mesh, about but not exactly relative to its wrist."""


class Metro(nn.Module):
    """Image feature and template points as tokens through three narrowing transformers, to points and a camera."""

    template_m: Tensor

    def __init__(self, architecture: MetroArchitecture, template_m: Float[Tensor, "tokens 3"]) -> None:
        super().__init__()
        if len(template_m) != architecture.tokens:
            raise ValueError(f"the template has {len(template_m)} points, the network {architecture.tokens} tokens")
        self.backbone = HRNet(architecture)
        inputs = (DIMENSIONS + architecture.feature, *architecture.outputs[:-1])
        widths = zip(inputs, architecture.hidden, architecture.outputs, strict=True)
        self.trans_encoder = nn.Sequential(*(TransformerBlock(*each, architecture) for each in widths))
        self.upsampling = nn.Linear(architecture.coarse_vertices, architecture.vertices)
        self.cam_param_fc = nn.Linear(DIMENSIONS, 1)
        self.cam_param_fc2 = nn.Linear(architecture.tokens, architecture.camera_hidden)
        self.cam_param_fc3 = nn.Linear(architecture.camera_hidden, DIMENSIONS)
        self.register_buffer("template_m", template_m, persistent=False)

    def forward(self, image: Float[Tensor, "batch 3 px px"]) -> MetroOutput:
        """Hands in normalised images, as `preprocessing.network_input` makes them."""
        return self.decoded(self.backbone(image))

    def decoded(self, feature: Float[Tensor, "batch feature"]) -> MetroOutput:
        """Hands of the images with these features: everything behind the backbone."""
        batch, tokens = len(feature), len(self.template_m)
        template = self.template_m.expand(batch, -1, -1)
        points = self.trans_encoder(torch.cat([template, feature[:, None].expand(-1, tokens, -1)], dim=-1))
        coarse = points[:, JOINT_COUNT:]
        vertices = self.upsampling(coarse.mT).mT
        camera = self.cam_param_fc3(self.cam_param_fc2(self.cam_param_fc(points).squeeze(-1)))
        return MetroOutput(camera, points[:, :JOINT_COUNT], coarse, vertices)
