"""What every adaptation method is to the loop: one step on a batch of pairs, its networks, the one that is scored."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from handloom.adaptation.drawn_answers import DrawnPairs
from handloom.adaptation.learner import Learner
from handloom.adaptation.pairs import PairBatch, PairCrops
from handloom.datasets.training_samples import load_samples
from handloom.estimators.detnet.augmentation import draw
from handloom.estimators.detnet.training_batches import SamplePool, TrainingBatch
from handloom.runtime.config.adaptation import AdaptationSettings
from handloom.runtime.config.base import Fidelity, Settings
from handloom.runtime.config.sources import DetNetSettings
from handloom.runtime.seeds import numpy_generator, torch_generator

_GREY_PROBABILITY = 1.0
"""All source images are turned grey, as the target's are."""


class SourceSamples:
    """Labelled samples of the source, for the methods that keep them: RegDA and DAGEN with labels, ADDA images only.

    Random batches with the augmentation of the source's own training; each a function of seed, use and number.
    """

    def __init__(
        self, paths: Sequence[Path], detnet: DetNetSettings, *, root_joint: int, seed: int, device: str
    ) -> None:
        """Raises InputError for files that are missing, damaged or empty."""
        self._pool = SamplePool([load_samples(path) for path in paths], held_out_fraction=0.0)
        self._detnet, self._root_joint, self._device, self._seed = detnet, root_joint, device, seed

    def batch(self, size: int, use: str, number: int) -> TrainingBatch:
        """`size` samples drawn with replacement, for the use `use`, where they are batch `number`."""
        rows = numpy_generator(self._seed, "source rows", use, number).choice(self._pool.trained, size)
        generator = torch_generator(self._seed, "source augmentation", use, number)
        augmentation = draw(size, generator, _GREY_PROBABILITY)
        return self._pool.batch(rows, augmentation, self._detnet, self._root_joint, self._device)


@dataclass(frozen=True)
class Surroundings:
    """What a method is made of and may use. The target's labels are no part of it."""

    network: nn.Module
    """The source network."""
    learner: Learner
    pairs: PairCrops
    start_12: Float[Tensor, "3 3"]
    """R(0), the first rotation between the cameras."""
    settings: AdaptationSettings
    options: Settings
    """The method's own settings."""
    updates_per_epoch: int
    fidelity: Fidelity
    budget: str
    seed: int
    generator: torch.Generator
    device: str
    source: SourceSamples | None = None
    drawn: DrawnPairs | None = None
    """The source's mean answers to draws of all the pairs that share a hand."""
    chosen: Int[np.ndarray, " pairs"] | None = None
    """Which of these are adapted on."""

    def labelled_source(self) -> SourceSamples:
        """The source's samples; raises ValueError when the method was given none."""
        if self.source is None:
            raise ValueError("this method needs labelled samples of the source, but was given none")
        return self.source


class Method(ABC):
    """Networks and optimisers by name, and one step; batch norm statistics stay frozen unless a method says not."""

    networks: Mapping[str, nn.Module]
    optimisers: Mapping[str, torch.optim.Optimizer]

    def __init__(self, surroundings: Surroundings) -> None:
        self.surroundings, self.learner, self.network = surroundings, surroundings.learner, surroundings.network

    @abstractmethod
    def step(self, batch: PairBatch, update: int) -> dict[str, Tensor]:
        """Move the networks once, with the 0-based number of this update; returns the losses by name."""

    @abstractmethod
    def adapted(self) -> nn.Module:
        """The network that is scored."""

    def start_epoch(self, epoch: int) -> None:  # noqa: B027  # most methods have nothing to prepare
        """Prepare a pass over the pairs; a function of the networks and the epoch, so that a job can go on here."""

    def end_epoch(self) -> dict[str, float]:
        """What to do after a pass over the pairs; returns figures for the curves."""
        return {}

    def rotation_at_test(self) -> Float[Tensor, "3 3"] | None:
        """The rotation that merges the views; None for R(0), as the source network's poses are merged."""
        return None

    def poses(self, network: nn.Module, rows: Int[Tensor, " pairs"] | slice) -> Float[Tensor, "pairs 2 21 3"]:
        """A network's poses of some pairs."""
        pairs, device = self.surroundings.pairs.at(rows), self.surroundings.device
        views = zip(pairs.image_u8, pairs.axes_from_crop, strict=True)
        return torch.stack([self.learner.poses(network, *view, device).joints for view in views], 1)

    def answers(self, rows: Int[Tensor, " pairs"]) -> dict[str, Float[Tensor, "pairs 2 21 3"]]:
        """Poses of some pairs by the names under which curves show their errors."""
        return {"": self.poses(self.adapted(), rows)}

    def rotations(self) -> dict[str, Float[Tensor, "3 3"]]:
        """Estimates of the cameras' rotation by the names under which curves show their errors."""
        return {}

    def labels(self) -> Float[Tensor, "pairs 2 21 3"] | None:
        """The labels that the last epoch was taught, of all pairs; None for a method without."""
        return None

    def distances(self) -> dict[str, float]:
        """Between networks, for the curves."""
        return {}

    def state(self) -> dict[str, Any]:
        """All that later steps depend on."""
        parts: dict[str, Mapping[str, Any]] = {"networks": self.networks, "optimisers": self.optimisers}
        return {kind: {name: part.state_dict() for name, part in named.items()} for kind, named in parts.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""
        for kind, named in (("networks", self.networks), ("optimisers", self.optimisers)):
            for name, part in named.items():
                part.load_state_dict(state[kind][name])


def descend(optimiser: torch.optim.Optimizer, loss: Tensor, *, retain_graph: bool = False) -> None:
    """One step of the optimiser; the gradient goes to its own parameters and to nothing else."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    optimiser.zero_grad(set_to_none=True)
    loss.backward(inputs=parameters, retain_graph=retain_graph)
    optimiser.step()
