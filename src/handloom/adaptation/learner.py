"""What S2DHand asks of a network, whichever it is: its poses, and its loss for poses that it is taught.

The source network's answer on every hand crop of a headset is the baseline, and what the first rotation is made of.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from handloom.adaptation.pair_predictions import SourcePredictions
from handloom.adaptation.student_augmentation import StudentAugmentation
from handloom.datasets.views import HandCrops
from handloom.geometry.camera import turns_to_rays
from handloom.runtime.config.adaptation import AdaptationSettings
from handloom.runtime.config.base import Fidelity
from handloom.runtime.devices import computing_on

_AT_ONCE = 64


class Asked(NamedTuple):
    """What a network says of some crops, in the crops' axes."""

    joints: Float[Tensor, "crops 21 3"]
    confidence: Float[Tensor, "crops 21"]
    kept: Tensor
    """What it is taught to keep, since no label speaks of it: heat maps, or key points."""


class Lesson(NamedTuple):
    """Crops, and what a student is to answer to them."""

    image_u8: UInt8[Tensor, "crops px px channels"]
    asked: Asked
    """What the teacher answered."""
    taught: Float[Tensor, "crops 21 3"]
    """The poses that they should have, in the crops' axes."""
    augmentation: StudentAugmentation | None = None
    veil: Float[Tensor, "crops 21"] | None = None
    """What the released code leaves out of the heat maps' loss, by annotations: faithful mode only."""


class Poses(NamedTuple):
    """Poses of some hands, left ones un-mirrored, and their confidence; on the CPU."""

    joints: Float[Tensor, "hands 21 3"]
    confidence: Float[Tensor, "hands 21"]

    def at(self, rows: Int[Tensor, " some"] | slice) -> "Poses":
        """Some of the hands."""
        return Poses(self.joints[rows], self.confidence[rows])


class Learner(ABC):
    """One kind of network: how it sees crops, answers and is taught."""

    root_joint: int
    """The joint that its poses are relative to."""
    metric: ClassVar[bool]
    """Whether its joints are in metres; in bones 0-9 otherwise."""

    def __init__(self, settings: AdaptationSettings, fidelity: Fidelity) -> None:
        self.settings, self.fidelity = settings, fidelity

    @abstractmethod
    def load(self, path: Path, source: Path | None = None) -> nn.Module:
        """The network of a file, in evaluation mode; an adapted one's structure may have to come from its source."""

    @abstractmethod
    def save(self, path: Path, network: Any, *, seed: int | None, code: str) -> None:
        """Write an adapted network's weights."""

    @abstractmethod
    def ask(self, network: nn.Module, image_u8: UInt8[Tensor, "crops px px channels"]) -> Asked:
        """The network's answer to crops, without gradient."""

    @abstractmethod
    def losses(self, network: nn.Module, lesson: Lesson, generator: torch.Generator) -> dict[str, Tensor]:
        """The loss `total` and its terms; the generator draws what an augmentation's noise needs."""

    def poses(
        self,
        network: nn.Module,
        image_u8: UInt8[Tensor, "hands px px channels"],
        axes_from_crop: Float[Tensor, "hands 3 3"],
        device: str,
    ) -> Poses:
        """The network's poses of some crops, along the axes that these are brought to."""
        asked = [self.ask(network, some.to(device)) for some in image_u8.split(_AT_ONCE)]
        if not asked:
            return Poses(torch.zeros(0, 21, 3), torch.zeros(0, 21))
        joints = torch.cat([each.joints.cpu() for each in asked])
        axes = axes_from_crop.to(joints)
        return Poses(joints @ axes.mT, torch.cat([each.confidence.cpu() for each in asked]))


def source_prediction(make_learner: type[Learner]) -> Callable[..., None]:
    """The stage `predict_source` of a network that `make_learner` knows how to ask."""

    def predict_source(
        crops: Sequence[Path],
        source: Path,
        predictions: Path,
        *,
        ray_share: float,
        turned_poses: bool = False,
        plus_share: float | None = None,
        device: str = "cpu",
        threads: int | None = None,
        code: str = "",
    ) -> None:
        """Stage: run a source network over the crops of all cameras of a headset; `turned_poses` as in `PairCrops`.

        `plus_share` is the share of their viewing rays that S2DHand+ turns poses by; None where it is left out.
        """
        learner = make_learner(AdaptationSettings(), "fixed")
        found, cameras, turns = [], [], []
        with computing_on(device, threads):
            network = learner.load(source).to(device)
            for number, path in enumerate(crops):
                view = HandCrops.load(path)
                axes = torch.from_numpy(view.picture_axes_from_crop)
                turns.append(turns_to_rays(torch.from_numpy(view.rays), plus_share or 0.0))
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
            ray_turns=None if plus_share is None else torch.cat(turns).numpy(),
        ).save(predictions, code=code)

    return predict_source
