"""Fine-tune: labels in the frame that the network sees, all parameters, statistics as asked."""

import numpy as np
import pytest
import torch

from handloom.adaptation.diagnostics import PairLabels
from handloom.adaptation.methods.fine_tune import FineTune, target_labels
from handloom.adaptation.pairs import PairBatch
from handloom.datasets.views import HandLabels
from handloom.estimators.detnet.network import DetNet
from handloom.runtime.config.methods import FineTuneSettings

from ..rig import ROOT_JOINT, Rig
from .conftest import MakeSurroundings, numbers

SETTINGS = FineTuneSettings(learning_rate=1e-3)
ROWS = np.arange(3)


@pytest.fixture
def labels(rig: Rig) -> PairLabels:
    return PairLabels.of(rig.labels, (ROWS, ROWS))


def test_labels_are_mirrored_for_left_hands_and_in_bone_lengths(rig: Rig, labels: PairLabels, network: DetNet) -> None:
    """The first view's before the second's."""
    found = target_labels(labels, network.settings, ROOT_JOINT)
    views = [HandLabels.load(path) for path in rig.labels]
    joints = np.concatenate([view.joints_cam_m[:3] - view.joints_cam_m[:3, :1] for view in views])
    joints = joints / np.linalg.norm(joints[:, 9], axis=-1)[:, None, None]
    joints[np.tile(views[0].is_left[:3], 2), :, 0] *= -1
    np.testing.assert_allclose(found.location.numpy(), joints, atol=1e-5)
    valid = np.concatenate([view.joint_valid[:3] for view in views])
    assert torch.all(found.veil <= torch.from_numpy(valid).float())
    assert found.veil.sum() > 100


@pytest.mark.parametrize("train_batch_norm", [False, True])
def test_all_parameters_learn_and_statistics_as_asked(
    batch: PairBatch, around: MakeSurroundings, labels: PairLabels, train_batch_norm: bool
) -> None:
    method = FineTune(around(SETTINGS), labels, train_batch_norm=train_batch_norm)
    before = numbers(method.networks)
    method.step(batch, 0)
    after = numbers(method.networks)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    parameters = {f"network.{name}" for name, _ in method.network.named_parameters()}
    statistics = {key for key in before if "running" in key or "num_batches" in key}
    assert {"network.resnet50.conv1.weight", "network.hmap_0.prediction.bias"} <= changed
    assert changed - parameters == (statistics if train_batch_norm else set())
    assert not method.network.training


def test_the_loss_falls(batch: PairBatch, around: MakeSurroundings, labels: PairLabels) -> None:
    method = FineTune(around(SETTINGS), labels)
    losses = [float(method.step(batch, update)["total"].detach()) for update in range(20)]
    assert losses[-1] < 0.9 * losses[0]


def test_a_batch_has_the_labels_of_its_own_pairs(around: MakeSurroundings, labels: PairLabels) -> None:
    """Joints that are annotated nowhere but in the second view of pair 2 teach in batches with that pair alone."""
    alone = torch.zeros_like(labels.valid)
    alone[1, 2] = 1
    taught = []
    for rows in ([0, 1], [2, 0], [1, 2]):
        method = FineTune(around(SETTINGS), labels._replace(valid=alone))
        batch = method.surroundings.pairs.batch(torch.tensor(rows), "cpu")
        taught.append(float(method.step(batch, 0)["heat"].detach()))
    assert taught[0] == 0 < min(taught[1:])
