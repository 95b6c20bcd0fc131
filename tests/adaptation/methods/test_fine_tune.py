"""Fine-tune: labels in the frame that the network sees, all parameters, statistics as asked."""

import numpy as np
import pytest
import torch

from handloom.adaptation.methods.fine_tune import FineTune
from handloom.adaptation.methods.method import Surroundings, TargetBatch
from handloom.adaptation.methods.target_labels import target_labels
from handloom.datasets.views import load_views
from handloom.estimators.detnet.network import DetNet
from handloom.runtime.config.methods import FineTuneSettings

from .conftest import ROOT_JOINT, Rig, numbers

SETTINGS = FineTuneSettings(learning_rate=1e-3)


@pytest.fixture
def labelled(rig: Rig, batch: TargetBatch) -> TargetBatch:
    labels = target_labels(load_views(rig.views[0]), torch.arange(6), rig.detnet, ROOT_JOINT)
    return TargetBatch(batch.images, labels)


def test_labels_are_mirrored_for_left_hands_and_in_bone_lengths(rig: Rig) -> None:
    view = load_views(rig.views[0])
    labels = target_labels(view, torch.arange(4), rig.detnet, ROOT_JOINT)
    joints = view.joints_cam_m[:4] - view.joints_cam_m[:4, :1]
    joints = joints / np.linalg.norm(joints[:, 9], axis=-1)[:, None, None]
    joints[view.is_left[:4], :, 0] *= -1
    np.testing.assert_allclose(labels.location.numpy(), joints, atol=1e-5)
    assert torch.all(labels.veil <= torch.from_numpy(view.joint_valid[:4]).float())


@pytest.mark.parametrize("train_batch_norm", [False, True])
def test_all_parameters_learn_and_statistics_as_asked(
    network: DetNet, labelled: TargetBatch, train_batch_norm: bool
) -> None:
    method = FineTune(network, SETTINGS, Surroundings(1), train_batch_norm=train_batch_norm)
    before = numbers(method.networks)
    method.step(labelled, 0)
    after = numbers(method.networks)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    parameters = {f"network.{name}" for name, _ in network.named_parameters()}
    statistics = {key for key in before if "running" in key or "num_batches" in key}
    assert {"network.resnet50.conv1.weight", "network.hmap_0.prediction.bias"} <= changed
    assert changed - parameters == (statistics if train_batch_norm else set())
    assert not network.training


def test_the_loss_falls(network: DetNet, labelled: TargetBatch) -> None:
    method = FineTune(network, SETTINGS, Surroundings(1), train_batch_norm=False)
    losses = [float(method.step(labelled, update)["total"].detach()) for update in range(20)]
    assert losses[-1] < 0.9 * losses[0]


def test_without_labels_it_refuses(network: DetNet, batch: TargetBatch) -> None:
    with pytest.raises(ValueError, match="needs the target's labels"):
        FineTune(network, SETTINGS, Surroundings(1), train_batch_norm=False).step(batch, 0)
