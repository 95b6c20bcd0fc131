"""The source network's answer on every hand crop of a headset: the baseline, and what the first rotation is made of."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from handloom.adaptation.learner import Learner
from handloom.adaptation.pair_predictions import SourcePredictions
from handloom.datasets.views import HandCrops
from handloom.geometry.camera import turns_to_rays
from handloom.runtime.config.adaptation import AdaptationSettings
from handloom.runtime.devices import computing_on


def source_prediction(make_learner: type[Learner]) -> Callable[..., None]:
    """The stage `predict_source` of a network that `make_learner` knows how to ask."""

    def predict_source(
        crops: Sequence[Path],
        source: Path,
        predictions: Path,
        *,
        ray_share: float,
        turned_poses: bool = False,
        device: str = "cpu",
        threads: int | None = None,
        code: str = "",
    ) -> None:
        """Stage: run a source network over the crops of all cameras of a headset; `turned_poses` as in `PairCrops`."""
        learner = make_learner(AdaptationSettings(), "fixed")
        found, cameras = [], []
        with computing_on(device, threads):
            network = learner.load(source).to(device)
            for number, path in enumerate(crops):
                view = HandCrops.load(path)
                axes = torch.from_numpy(view.picture_axes_from_crop)
                if turned_poses:
                    axes = turns_to_rays(torch.from_numpy(view.rays), ray_share) @ axes
                found.append(learner.poses(network, torch.from_numpy(view.image_u8), axes, device))
                cameras.append(np.full(len(view), number))
        SourcePredictions(
            camera=np.concatenate(cameras),
            joints=torch.cat([each.joints for each in found]).numpy(),
            confidence=torch.cat([each.confidence for each in found]).numpy(),
            root_joint=learner.root_joint,
            turned=turned_poses,
        ).save(predictions, code=code)

    return predict_source
