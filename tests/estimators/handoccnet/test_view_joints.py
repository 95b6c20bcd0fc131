"""HandOccNet on S2DHand's grey crops: which part it sees, and how left hands come back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from handloom.datasets.crops import BOX_MARGIN
from handloom.estimators.handoccnet.view_joints import ViewJoints, enlarged
from handloom.hand.open_hand import open_hand
from handloom.runtime.config.handoccnet import HandOccNetSettings
from handloom.runtime.errors import InputError

from ..metro.small_metro import hand_of_778  # noqa: TID252 (the tests are no package)
from .small_handoccnet import SMALL, small_handoccnet

HAND = open_hand()


def test_the_middle_fills_the_network_input() -> None:
    image = torch.zeros(1, 64, 64, dtype=torch.uint8)
    image[:, 16:48, 16:48] = 200
    half = enlarged(image, 0.5)
    assert half.shape == (1, 256, 256, 3)
    assert bool((half[:, 4:-4, 4:-4] == 200).all())
    whole = enlarged(image, 1.0)
    assert bool((whole[:, 70:186, 70:186] == 200).all())
    assert bool((whole[:, :60] == 0).all())
    beyond = enlarged(torch.full_like(image, 200), 2.0)
    assert bool((beyond[:, :60] == 0).all())
    assert bool((beyond[:, 68:188, 68:188] == 200).all())


def test_a_crop_that_is_shifted_by_a_pixel_is_seen_so() -> None:
    """Left is left and up is up."""
    image = torch.zeros(1, 256, 256, dtype=torch.uint8)
    image[0, 100, 30] = 255
    assert torch.nonzero(enlarged(image, 1.0)[0, :, :, 1]).tolist() == [[100, 30]]


def test_left_hands_come_back_mirrored() -> None:
    """The crop of a left hand is mirrored already: the same picture gives joints of the other sign in x."""
    network = small_handoccnet(architecture=replace(SMALL, cells=32, poolings=5))
    images = np.repeat(np.random.default_rng(1).integers(0, 256, (1, 40, 40), dtype=np.uint8), 2, axis=0)
    joints = ViewJoints(network, HAND, HandOccNetSettings())(images, np.array([False, True]))
    np.testing.assert_allclose(joints[1], joints[0] * [-1, 1, 1], atol=1e-6)
    assert float(np.abs(joints[0, :, 0]).max()) > 0.01
    assert HandOccNetSettings().field_of_box < BOX_MARGIN  # so that no border is invented


def test_it_asks_for_mano_and_its_weights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"1609 vertices, but HandOccNet predicts"):
        ViewJoints.of(tmp_path / "demo.pth", HAND, HandOccNetSettings())
    with pytest.raises(InputError, match=r"demo\.pth: no such file"):
        ViewJoints.of(tmp_path / "demo.pth", hand_of_778(), HandOccNetSettings())
