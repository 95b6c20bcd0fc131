"""What the methods work on: the tiny rig's images, a few labelled source samples, and a look at who was moved."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from handloom.adaptation.methods.method import Surroundings, TargetBatch
from handloom.adaptation.methods.source_samples import SourceSamples
from handloom.datasets.labelled_hands import LabelledHand
from handloom.datasets.training_samples import crop_side, write_samples
from handloom.datasets.views import load_views
from handloom.estimators.detnet.checkpoint import load_checkpoint
from handloom.estimators.detnet.network import DetNet
from handloom.estimators.detnet.prediction import network_input

from ..conftest import ROOT_JOINT, Rig, open_hand  # noqa: TID252  # the rig of the folder above


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
    write_samples(path, SourceHands(), dataset="rhd", crop_px=crop_side(rig.detnet.input_px))
    return path


@pytest.fixture
def network(rig: Rig) -> DetNet:
    return load_checkpoint(rig.source, rig.detnet, ROOT_JOINT)


@pytest.fixture
def batch(rig: Rig) -> TargetBatch:
    view = load_views(rig.views[0])
    return TargetBatch(network_input(torch.from_numpy(view.image_u8[:6])), None)


@pytest.fixture
def surroundings(rig: Rig, samples: Path) -> Surroundings:
    source = SourceSamples([samples], rig.detnet, root_joint=ROOT_JOINT, grey_probability=1.0, seed=3, device="cpu")
    return Surroundings(seed=3, source=source)


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
