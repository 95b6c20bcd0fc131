"""What every method is to the loop: one step on a batch of target images, its networks, and the one that is scored."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from handloom.adaptation.methods.source_samples import SourceSamples
from handloom.adaptation.methods.target_labels import TargetLabels
from handloom.estimators.detnet.network import DetNet


class TargetBatch(NamedTuple):
    """Both views of a batch of pairs as independent images; labels are None but for Fine-tune."""

    images: Float[Tensor, "batch 3 px px"]
    labels: TargetLabels | None


@dataclass(frozen=True)
class Surroundings:
    """What a method may use besides target images and its own settings."""

    seed: int
    precision: str = "float32"
    source: SourceSamples | None = None

    def labelled_source(self) -> SourceSamples:
        """The source's samples; raises ValueError when the method was given none."""
        if self.source is None:
            raise ValueError("this method needs labelled samples of the source, but was given none")
        return self.source


class Method(ABC):
    """Networks and optimisers by name, and one step; batch norm statistics stay frozen unless a method says not."""

    networks: Mapping[str, nn.Module]
    optimisers: Mapping[str, torch.optim.Optimizer]

    @abstractmethod
    def step(self, batch: TargetBatch, update: int) -> dict[str, Tensor]:
        """Move the networks once, with the 0-based number of this update; returns the losses by name."""

    @abstractmethod
    def adapted(self) -> DetNet:
        """The network that is scored."""

    def start_epoch(self, epoch: int) -> None:  # noqa: B027  # most methods have nothing to prepare
        """Prepare a pass over the pairs; a function of the networks and the epoch, so that a job can go on here."""

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
