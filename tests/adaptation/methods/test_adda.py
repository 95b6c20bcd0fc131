"""ADDA: its two losses in closed form, and who is moved by which."""

import math
from collections.abc import Callable

import pytest
import torch

from handloom.adaptation.methods import adda
from handloom.adaptation.methods.adda import Adda, Discriminator, discriminator_loss, encoder_loss, told_apart
from handloom.adaptation.pairs import PairBatch
from handloom.runtime.config.methods import AddaSettings

from .conftest import MakeSurroundings


def test_a_discriminator_that_knows_nothing_pays_two_bits() -> None:
    nothing = torch.zeros(5)
    assert float(discriminator_loss(nothing, nothing)) == pytest.approx(2 * math.log(2))
    assert float(encoder_loss(nothing)) == pytest.approx(math.log(2))


def test_labels_are_inverted_for_the_encoder() -> None:
    """D(f_t) = 1/4: the discriminator pays log 4/3 for it, the encoder log 4."""
    sure = torch.full((3,), 50.0)
    quarter = torch.full((3,), math.log(1 / 3))
    assert float(discriminator_loss(sure, quarter)) == pytest.approx(math.log(4 / 3), rel=1e-5)
    assert float(encoder_loss(quarter)) == pytest.approx(math.log(4), rel=1e-5)


def test_what_is_told_apart() -> None:
    features = torch.arange(2 * 3 * 2 * 2.0).view(2, 3, 2, 2)
    assert told_apart(features, "pooled").tolist() == features.mean((2, 3)).tolist()
    cells = told_apart(features, "cells")
    assert cells.shape == (8, 3)
    assert cells[1].tolist() == features[0, :, 0, 1].tolist()


def test_equal_seeds_give_equal_discriminators() -> None:
    one, same, other = (Discriminator(4, 8, torch.Generator().manual_seed(s)).layers[0].weight for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("features", ["pooled", "cells"])
def test_each_update_moves_its_own_part(
    batch: PairBatch, around: MakeSurroundings, watch_descend: Callable, features: str
) -> None:
    method = Adda(around(AddaSettings(learning_rate=1e-3, features=features)))
    moved = watch_descend(adda, method.networks)
    for update in range(3):
        method.step(batch, update)
    trunk = {f"network.resnet50.{part}" for part in dict(method.network.resnet50.named_children())}
    assert moved[0] == moved[2] == {f"discriminator.layers.{layer}" for layer in (0, 2, 4)}
    assert moved[1] == moved[3] == trunk


def test_the_discriminator_learns_to_tell_fixed_features_apart(batch: PairBatch, around: MakeSurroundings) -> None:
    method = Adda(around(AddaSettings(learning_rate=1e-9, discriminator_learning_rate=1e-3)))
    losses = [float(method.step(batch, update)["discriminator"].detach()) for update in range(30)]
    assert losses[-1] < 0.7 * losses[0]
