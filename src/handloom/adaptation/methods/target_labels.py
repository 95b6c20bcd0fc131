"""The target's labels: Fine-tune alone is given them."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from handloom.adaptation.pseudo_labels import mirror_left
from handloom.datasets.views import ViewSamples
from handloom.estimators.detnet.targets import delta_target, key_point_heat_maps, location_target
from handloom.runtime.config.detnet import DetNetSettings


class TargetLabels(NamedTuple):
    """What the three heads should show for target images, in the frame that the network sees (left hands mirrored)."""

    heat: Float[Tensor, "batch 21 rows cols"]
    veil: Float[Tensor, "batch 21"]
    """1 where the joint is annotated as valid and its heat map touches the map."""
    delta: Float[Tensor, "batch 21 3"]
    location: Float[Tensor, "batch 21 3"]

    def at(self, rows: Tensor, device: str) -> "TargetLabels":
        """The labels of some of the images."""
        return TargetLabels(*(values[rows].to(device) for values in self))


def target_labels(view: ViewSamples, rows: Tensor, detnet: DetNetSettings, root_joint: int) -> TargetLabels:
    """Labels of the given rows of a view, from its annotations."""
    index = rows.numpy()
    heat, veil = key_point_heat_maps(
        torch.from_numpy(view.keypoints_256px[index]).float(), detnet.input_px, detnet.map_cells
    )
    joints = mirror_left(torch.from_numpy(view.joints_cam_m[index]).float(), torch.from_numpy(view.is_left[index]))
    valid = torch.from_numpy(view.joint_valid[index]).float()
    return TargetLabels(heat, veil * valid, delta_target(joints), location_target(joints, root_joint))
