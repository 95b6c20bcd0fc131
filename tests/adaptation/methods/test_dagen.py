"""DAGEN: weights that reproduce a pose, a loss that is zero where embeddings follow poses, and neighbours in reach."""

from collections.abc import Callable

import pytest
import torch

from handloom.adaptation.methods import dagen
from handloom.adaptation.methods.dagen import (
    Dagen,
    Embedded,
    NearSamples,
    combination_weights,
    draw_within,
    embedding_loss,
    nearest,
)
from handloom.adaptation.pairs import PairBatch
from handloom.estimators.detnet.network import network_input
from handloom.runtime.config.methods import DagenSettings

from .conftest import MakeSurroundings

CORNERS = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])


def test_weights_are_barycentric_coordinates() -> None:
    """Four neighbours span three dimensions, so a small ridge gives the coordinates of the query among them."""
    expected = torch.tensor([0.4, 0.3, 0.2, 0.1])
    weights = combination_weights(expected @ CORNERS, CORNERS, 1e-6)
    torch.testing.assert_close(weights, expected, atol=1e-4, rtol=0)
    assert float(weights.sum()) == pytest.approx(1)


def test_a_large_ridge_gives_equal_weights() -> None:
    weights = combination_weights(torch.tensor([0.9, 0.05, 0.05]), CORNERS, 1e6)
    torch.testing.assert_close(weights, torch.full((4,), 0.25), atol=1e-4, rtol=0)


def linear_case() -> tuple[Embedded, Embedded, NearSamples]:
    """Embeddings that are a linear map of poses, of two targets; the second has too few neighbours."""
    matrix = torch.tensor([[1.0, 2, 0, 1], [0, 1, 1, 0], [3, 0, 1, 1]])
    target = torch.tensor([[[0.3, 0.2, 0.1], [5.0, 5, 5]]])
    bank = Embedded(CORNERS[None], (CORNERS @ matrix)[None])
    neighbours = NearSamples(torch.arange(4).expand(1, 2, 4), torch.tensor([[True, False]]))
    return Embedded(target, target @ matrix), bank, neighbours


def test_the_loss_is_zero_where_embeddings_follow_poses_and_skips_lonely_targets() -> None:
    target, bank, neighbours = linear_case()
    zero = embedding_loss(target, bank, neighbours)
    assert float(zero) < 5e-3
    moved = target._replace(embeddings=target.embeddings + 0.5)
    half = embedding_loss(moved, bank, neighbours)
    assert float(half) == pytest.approx(0.5, abs=5e-3)
    none = neighbours._replace(kept=torch.zeros(1, 2, dtype=torch.bool))
    assert float(embedding_loss(moved, bank, none)) == 0


def test_the_combinations_weights_are_constants() -> None:
    target, bank, neighbours = linear_case()
    poses, embeddings = target.poses.requires_grad_(), (target.embeddings + 1).requires_grad_()
    embedding_loss(Embedded(poses, embeddings), bank, neighbours).backward()
    assert embeddings.grad is not None
    assert embeddings.grad[0, 0].abs().sum() > 0 == embeddings.grad[0, 1].abs().sum()
    assert poses.grad is None


def test_neighbours_are_within_the_radius_in_every_coordinate() -> None:
    bank = torch.tensor([[[0.0, 0, 0], [0.3, 0.3, 0.3], [0.5, 0, 0], [-0.39, 0.39, 0]]])
    found = draw_within(torch.zeros(1, 1, 3), bank, 3, 0.4, torch.Generator().manual_seed(0))
    assert found.kept.item()
    assert set(found.entries.flatten().tolist()) == {0, 1, 3}
    assert not draw_within(torch.zeros(1, 1, 3), bank, 4, 0.4, torch.Generator().manual_seed(0)).kept.item()


def test_of_many_neighbours_a_random_few_are_drawn() -> None:
    bank = 0.01 * torch.randn(1, 50, 3, generator=torch.Generator().manual_seed(1))
    drawn = [
        draw_within(torch.zeros(1, 1, 3), bank, 3, 1.0, torch.Generator().manual_seed(s)).entries.flatten().tolist()
        for s in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_nearest_takes_the_least_distances() -> None:
    bank = torch.tensor([[[3.0], [1.0], [2.0]]])
    assert set(nearest(torch.zeros(1, 1, 1), bank, 2).entries.flatten().tolist()) == {1, 2}


@pytest.mark.parametrize("form", ["joint", "hand"])
def test_one_update_moves_the_network_and_no_statistics(
    batch: PairBatch, around: MakeSurroundings, watch_descend: Callable, form: str
) -> None:
    method = Dagen(around(DagenSettings(learning_rate=1e-3, form=form, bank=70, neighbours=4, radius=5.0)))
    method.start_epoch(0)
    assert method.bank.poses.shape == ((21, 70, 3) if form == "joint" else (1, 70, 63))
    before = {name: value.clone() for name, value in method.network.named_buffers()}
    moved = watch_descend(dagen, method.networks)
    losses = method.step(batch, 0)
    assert float(losses["kept"]) == 1
    assert {"network.resnet50.conv1", "network.lmap_0.prediction", "network.dmap_0.project"} <= moved[0]
    assert all(torch.equal(value, before[name]) for name, value in method.network.named_buffers())


def test_the_embedding_loss_reaches_the_trunk_only(batch: PairBatch, around: MakeSurroundings) -> None:
    """With constant weights z_t is a feature of the trunk: heads get nothing."""
    method = Dagen(around(DagenSettings(bank=70, neighbours=4, radius=5.0)))
    method.start_epoch(0)
    network = method.network
    found = dagen.answer(network, network_input(batch.image_u8))
    target = method._embedded(found, dagen.read_out(found.maps).joints)
    neighbours = method._neighbours(target.poses.detach(), 0)
    embedding_loss(target, method.bank, neighbours).backward()
    assert network.resnet50.conv1.weight.grad is not None
    assert all(p.grad is None for head in (network.hmap_0, network.dmap_0, network.lmap_0) for p in head.parameters())
