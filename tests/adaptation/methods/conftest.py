"""What the methods work on: the tiny rig's pairs, a few labelled source samples, and a look at who was moved."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from handloom.adaptation.map_learner import MapLearner
from handloom.adaptation.method import SourceSamples, Surroundings
from handloom.adaptation.pairs import PairBatch
from handloom.datasets.labelled_hands import LabelledHand
from handloom.datasets.training_samples import crop_side, write_samples
from handloom.estimators.detnet.network import DetNet
from handloom.runtime.config.base import Settings

from ..rig import PX, ROOT_JOINT, SETTINGS, Rig, open_hand, pair_crops, surroundings

MakeSurroundings = Callable[..., Surroundings]


class SourceHands:
    """Open hands with noise, seen by an orthographic camera."""

    bad_fraction = 0.0
    channels = 3

    def __len__(self) -> int:
        return 30

    def hand(self, row: int) -> LabelledHand:
        generator = np.random.default_rng(row)
        joints_m = open_hand() + 0.01 * generator.standard_normal((21, 3))
        image = generator.integers(0, 255, (96, 96, 3), dtype=np.uint8)
        return LabelledHand(
            image, np.full(2, 48.0), 96.0, 60 + 250 * joints_m[:, :2], joints_m, np.ones(21), bool(row % 2)
        )


@pytest.fixture
def samples(rig: Rig) -> Path:
    path = rig.folder / "samples.npz"
    write_samples(path, SourceHands(), dataset="rhd", crop_px=crop_side(PX))
    return path


@pytest.fixture
def around(rig: Rig, samples: Path) -> MakeSurroundings:
    """Surroundings of a method on the rig's first three pairs, with its own options."""

    def made(options: Settings, **changes: Any) -> Surroundings:
        learner = MapLearner(SETTINGS, "fixed")
        network = learner.load(rig.source)
        source = SourceSamples([samples], network.settings, root_joint=ROOT_JOINT, seed=3, device="cpu")
        return surroundings(network, learner, pair_crops(rig, 3), **{"options": options, "source": source, **changes})

    return made


@pytest.fixture
def network(rig: Rig) -> DetNet:
    return MapLearner(SETTINGS, "fixed").load(rig.source)


@pytest.fixture
def batch(rig: Rig) -> PairBatch:
    """Those three pairs."""
    return pair_crops(rig, 3).batch(torch.arange(3), "cpu")


Moved = list[set[str]]


@pytest.fixture
def watch_descend(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType, Mapping[str, nn.Module]], Moved]:
    """Notes at every `descend` of a module which parts of the networks it moved: `network.part` names."""

    def watch(module: ModuleType, networks: Mapping[str, nn.Module]) -> Moved:
        moved: Moved = []
        descend = module.descend

        def watched(optimiser: torch.optim.Optimizer, loss: Tensor, **options: bool) -> None:
            before = numbers(networks)
            descend(optimiser, loss, **options)
            moved.append(changed_parts(before, numbers(networks)))

        monkeypatch.setattr(module, "descend", watched)
        return moved

    return watch


def numbers(networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Every tensor of the networks, copied."""
    return {
        f"{name}.{key}": value.clone()
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }


def changed_parts(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> set[str]:
    """The parts with a changed tensor: the network's name and the first two names below it."""
    return {".".join(key.split(".")[:3]) for key in before if not torch.equal(before[key], after[key])}
