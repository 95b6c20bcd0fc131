"""A network of joints and key points: its losses in closed form, its files, and S2DHand on a user's pair by it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from handloom.adaptation.joint_learner import JointLearner, joint_loss, keypoint_loss
from handloom.adaptation.pair_predictions import PairPredictions
from handloom.datasets.views import HandCrops
from handloom.estimators.mediapipe.landmark_network import LandmarkNetwork
from handloom.runtime.artifacts import read_weights
from handloom.runtime.config.adaptation import AdaptationSettings
from handloom.runtime.errors import InputError

from ..estimators.mediapipe.small_tflite import landmark_file
from ..own_pair import OwnPair, small_hand
from .conftest import Epochs, Killed

LEARNER = JointLearner(AdaptationSettings(), "fixed")


def hands(count: int) -> torch.Tensor:
    return 0.1 * torch.randn(count, 21, 3, generator=torch.Generator().manual_seed(0))


def test_the_joint_loss_is_the_mean_squared_distance_in_bones() -> None:
    taught = hands(3)
    moved = taught.clone()
    moved[:, 5] += torch.tensor([0.3, 0.0, 0.4])
    assert float(joint_loss(moved, taught, torch.full((3,), 2.0))) == pytest.approx(0.25 / 4 / 21)
    assert float(joint_loss(taught + 7.0, taught, torch.ones(3))) == pytest.approx(0, abs=1e-9)
    # A hand of another size is wrong: the bone is the teacher's.
    assert float(joint_loss(2 * taught, taught, torch.ones(3))) > 0.05


def test_the_key_point_loss_counts_in_quarters_of_the_crop() -> None:
    taught = torch.zeros(2, 21, 2)
    assert float(keypoint_loss(taught + torch.tensor([56.0, 0.0]), taught, 224)) == pytest.approx(1.0)


def test_an_answer_is_about_the_wrist_with_one_confidence(tmp_path: Path) -> None:
    network = LEARNER.load(landmark_file(tmp_path / "a.tflite", small_hand() + 0.5))
    crops = torch.randint(0, 256, (3, 224, 224, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    asked = LEARNER.ask(network, crops)
    assert (asked.joints[:, 0] == 0).all()
    np.testing.assert_allclose(asked.joints.mean(0), small_hand(), atol=0.1)
    assert (asked.confidence == asked.confidence[:, :1]).all()
    assert asked.kept.shape == (3, 21, 2)


def test_adapted_weights_come_back_into_the_network_of_their_source(tmp_path: Path) -> None:
    source, weights = landmark_file(tmp_path / "a.tflite", small_hand()), tmp_path / "adapted.safetensors"
    network = LandmarkNetwork.of(source)
    with torch.no_grad():
        for value in network.parameters():
            value += 0.1
    LEARNER.save(weights, network, seed=3, code="abc")
    again = LEARNER.load(weights, source)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())
    assert read_weights(weights, "mediapipe_hand_landmarks")[1].seed == 3
    del network.graph.layers[0]
    LEARNER.save(weights, network, seed=None, code="")
    with pytest.raises(
        InputError, match=r"adapted\.safetensors: does not fit the network of .*a\.tflite \(.*adapt again"
    ):
        LEARNER.load(weights, source)


@pytest.fixture
def paired(own_pair: OwnPair) -> OwnPair:
    """A camera pair that can be adapted to."""
    for stage in (own_pair.pair, own_pair.rotate, own_pair.crop):
        stage()
    return own_pair


def test_adaptation_brings_a_users_views_together(paired: OwnPair) -> None:
    changes = {"rotation_momentum": 0.0, "rotation": "poses", "teacher_momentum": 0.5, "learning_rate": 3e-3}
    paired.adapt(epochs=8, **changes)
    lines = (paired.folder / "history.csv").read_text().splitlines()
    curves = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    assert len(curves) == 9
    assert float(curves[-1]["joint_loss"]) < 0.8 * float(curves[1]["joint_loss"])
    assert float(curves[-1]["label_disagreement"]) < 0.95 * float(curves[1]["label_disagreement"])
    predicted = PairPredictions.load(paired.folder / "predictions.npz")
    assert (predicted.pair, predicted.metric, predicted.root_joint, predicted.seed) == ("left-right", True, 0, 1)
    count = len(HandCrops.load(paired.of_views("crops.npz")[0]))
    assert predicted.joints.shape == (count, 2, 21, 3)
    source = LandmarkNetwork.of(paired.folder / "source.tflite").state_dict()
    state, _ = read_weights(paired.folder / "network.safetensors", "mediapipe_hand_landmarks")
    assert set(state) == set(source)
    assert any(not torch.equal(state[name], source[name]) for name in state)


def test_a_killed_adaptation_of_a_users_pair_ends_bit_equal(paired: OwnPair, epochs: Epochs) -> None:
    augmentation = {"augmentation": {"rotation_deg": 20.0, "noise": 0.1}}
    outputs = [paired.folder / name for name in ("network.safetensors", "predictions.npz", "history.csv")]
    paired.adapt(**augmentation)
    whole = [path.read_bytes() for path in outputs]
    for path in outputs:
        path.unlink()
    epochs.kill_before = 2
    with pytest.raises(Killed):
        paired.adapt(**augmentation, checkpoint_seconds=0)
    assert not any(path.exists() for path in outputs)
    epochs.kill_before, epochs.run = None, []
    paired.adapt(**augmentation)
    assert epochs.run == [2]
    assert [path.read_bytes() for path in outputs] == whole
    assert not (paired.folder / "work").exists()
