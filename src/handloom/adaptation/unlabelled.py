"""What adaptation is given: unlabelled pairs of crops; in faithful mode, also the annotations that the release uses."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from handloom.adaptation.step import GroundTruthLeak, PairBatch
from handloom.datasets.views import ViewSamples
from handloom.estimators.detnet.prediction import network_input
from handloom.estimators.detnet.targets import key_point_heat_maps
from handloom.runtime.config.detnet import DetNetSettings


class UnlabelledPairs(NamedTuple):
    """All that a user of unlabelled video has: crops, left hands already mirrored, which hand it is, and where it is.

    Rays are those of the crops' centres, un-mirrored: boxes and intrinsics, nothing of the cameras' places.
    """

    images_1_u8: UInt8[Tensor, "pairs px px"]
    images_2_u8: UInt8[Tensor, "pairs px px"]
    is_left: Bool[Tensor, " pairs"]
    rays_1: Float[Tensor, "pairs 3"]
    rays_2: Float[Tensor, "pairs 3"]

    def batch(self, rows: Tensor, leak: GroundTruthLeak | None, device: str) -> PairBatch:
        """Some of the pairs as network input on `device`; `leak` is that of all pairs, None in fixed mode."""
        images_1, images_2 = (network_input(images[rows].to(device)) for images in (self.images_1_u8, self.images_2_u8))
        chosen = None if leak is None else GroundTruthLeak(*(values[rows].to(device) for values in leak))
        return PairBatch(images_1, images_2, self.is_left[rows].to(device), chosen)


def unlabelled_pairs(
    images_1_u8: np.ndarray,
    images_2_u8: np.ndarray,
    is_left: np.ndarray,
    rays_1: Float[Tensor, "hands_1 3"],
    rays_2: Float[Tensor, "hands_2 3"],
    index_1: Tensor,
    index_2: Tensor,
) -> UnlabelledPairs:
    """The crops of the given rows of two views; takes arrays and not samples, so that no annotation can get in."""
    images_1, images_2 = torch.from_numpy(images_1_u8)[index_1], torch.from_numpy(images_2_u8)[index_2]
    return UnlabelledPairs(
        images_1, images_2, torch.from_numpy(is_left)[index_1], rays_1=rays_1[index_1], rays_2=rays_2[index_2]
    )


def ground_truth_leak(
    view_1: ViewSamples, view_2: ViewSamples, index_1: Tensor, index_2: Tensor, detnet: DetNetSettings
) -> GroundTruthLeak:
    """Joint validity and heat-map veil of the given rows, from their annotations: faithful mode only."""

    def of(view: ViewSamples, index: Tensor) -> tuple[Tensor, Tensor]:
        keypoints = torch.from_numpy(view.keypoints_256px[index.numpy()])
        _, veil = key_point_heat_maps(keypoints, detnet.input_px, detnet.map_cells)
        return torch.from_numpy(view.joint_valid[index.numpy()]) > 0, veil

    (valid_1, veil_1), (valid_2, veil_2) = of(view_1, index_1), of(view_2, index_2)
    return GroundTruthLeak(valid_1, valid_2, veil_1, veil_2)
