"""The landmark network around small graphs: outputs in their places, training and saving."""

from pathlib import Path

import numpy as np
import pytest
import torch

from handloom.estimators.mediapipe.landmark_network import LandmarkNetwork
from handloom.estimators.mediapipe.tflite_network import network_input
from handloom.runtime.artifacts import Header, read_weights, write_weights
from handloom.runtime.errors import InputError

from .small_tflite import landmark_file, palm_file

CROPS_U8 = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
CROPS = torch.from_numpy(CROPS_U8)


def test_outputs_are_in_their_places(tmp_path: Path) -> None:
    network = LandmarkNetwork.of(landmark_file(tmp_path / "hand.tflite"))
    with torch.no_grad():
        found = network(network_input(CROPS))
        screen, presence, handedness, world = network.graph(network_input(CROPS))
    torch.testing.assert_close(found.keypoints_crop_px[:, 20], screen[:, 60:])
    torch.testing.assert_close(found.joints_m[:, 1], world[:, 3:6])
    torch.testing.assert_close(found.presence, presence[:, 0])
    torch.testing.assert_close(found.handedness, handedness[:, 0])
    assert not torch.equal(found.presence, found.handedness)


def test_pictures_become_channels_from_0_to_1() -> None:
    found = network_input(CROPS)
    assert found.shape == (3, 3, 224, 224)
    np.testing.assert_allclose(found[1, 2, 5, 7].item(), CROPS_U8[1, 5, 7, 2] / 255, atol=1e-7)


def test_every_weight_can_be_trained_saved_and_loaded(tmp_path: Path) -> None:
    path = landmark_file(tmp_path / "hand.tflite")
    network = LandmarkNetwork.of(path)
    found = network(network_input(CROPS))
    (found.keypoints_crop_px.square().mean() + found.joints_m.square().mean() + found.presence.sum()).backward()
    lacking = {name for name, weight in network.named_parameters() if weight.grad is None}
    handedness = {f"graph.layers.{place}.{part}" for place in (7,) for part in ("weight", "bias")}
    assert lacking == handedness  # the one output that the loss above does not look at
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.1
    write_weights(tmp_path / "trained.safetensors", network.state_dict(), Header("hands"))
    again = LandmarkNetwork.of(path)
    again.load_state_dict(read_weights(tmp_path / "trained.safetensors", "hands")[0])
    with torch.no_grad():
        one, other = network(network_input(CROPS)), again(network_input(CROPS))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_another_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"palm\.tflite: is no hand landmark network: it takes .*192"):
        LandmarkNetwork.of(palm_file(tmp_path / "palm.tflite"))
