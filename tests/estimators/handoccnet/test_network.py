"""Where HandOccNet's parts sit: what feeds what, on a small network."""

from dataclasses import replace

import pytest
import torch

from handloom.estimators.handoccnet.network import CellAttention, rotations_of

from .small_handoccnet import IMAGE_PX, SMALL, small_handoccnet


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(5)


def images(count: int) -> torch.Tensor:
    return torch.rand(count, 3, IMAGE_PX, IMAGE_PX, generator=torch.Generator().manual_seed(3))


def test_hands_do_not_see_each_other() -> None:
    network, batch = small_handoccnet(), images(3)
    together = network(batch)
    for index in range(3):
        for found, wanted in zip(network(batch[index : index + 1]), together, strict=True):
            torch.testing.assert_close(found[0], wanted[index], atol=1e-4, rtol=1e-4)


def test_the_gate_splits_the_map_and_loses_nothing() -> None:
    network, batch = small_handoccnet(), images(2)
    maps = network.backbone(batch)
    share = maps.primary / (maps.primary + maps.secondary)
    assert share.shape == (2, SMALL.width, SMALL.cells, SMALL.cells)
    # One share of each cell for all channels, between none and all.
    torch.testing.assert_close(share, share[:, :1].expand_as(share), atol=1e-3, rtol=1e-3)
    assert bool((share > 0).all())
    assert bool((share < 1).all())


def test_the_gate_of_hidden_cells_is_the_sum_over_pairs() -> None:
    """Against the definition with a matrix of all pairs of cells, head by head."""
    block = CellAttention(SMALL, injecting=True)
    query, key = torch.randn(2, SMALL.width, 8, 8), torch.randn(2, SMALL.width, 8, 8)
    found = block._gate(query, key)
    each = SMALL.width // SMALL.heads
    queries, keys = (
        layer(value).reshape(2, SMALL.heads, each, 64)
        for layer, value in ((block.encode_query2, query), (block.encode_key2, key))
    )
    expected = torch.sigmoid(torch.einsum("bhci,bhcj->bhi", queries, keys) / each**0.5)
    torch.testing.assert_close(found[..., 0], expected)


def test_only_the_refining_block_keeps_its_query() -> None:
    """With values and perceptron switched off, an injecting block forgets its query; a refining one returns it."""
    query, key = torch.randn(1, SMALL.width, 8, 8), torch.randn(1, SMALL.width, 8, 8)
    for injecting in (True, False):
        block = CellAttention(SMALL, injecting=injecting)
        for layer in (block.encode_value, block.mlp["fc2"]):
            torch.nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
            torch.nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        torch.testing.assert_close(block(query, key), torch.zeros_like(query) if injecting else query)


def test_cells_have_places() -> None:
    """A map that is the same everywhere gives different cells, by the embeddings only."""
    block = CellAttention(SMALL, injecting=False)
    torch.nn.init.normal_(block.q_embedding)
    flat = torch.randn(1, SMALL.width, 1, 1).expand(-1, -1, 8, 8)
    seen = torch.randn(1, SMALL.width, 8, 8)
    assert float(block(flat, seen).detach().std((-1, -2)).max()) > 1e-3
    torch.nn.init.zeros_(block.q_embedding)
    assert float(block(flat, seen).detach().std((-1, -2)).max()) < 1e-5


def test_key_points_are_the_centres_of_the_heat() -> None:
    """Of a temperature so high that all heat is in one cell, its centre is the key point."""
    network = small_handoccnet()
    head = network.regressor["hand_regHead"]
    maps = head(torch.randn(2, SMALL.width, 8, 8))
    torch.testing.assert_close(maps.heat.sum((-1, -2)), torch.ones(2, 21))
    with torch.no_grad():
        head.betas.fill_(1e7)
        sharp = head(torch.randn(2, SMALL.width, 8, 8))
    cell = sharp.heat.flatten(2).argmax(-1)
    expected = torch.stack([(cell % 8 + 0.5) / 8, (cell // 8 + 0.5) / 8], -1)
    torch.testing.assert_close(sharp.keypoints, expected, atol=1e-3, rtol=0)


def test_six_numbers_are_two_columns() -> None:
    torch.testing.assert_close(rotations_of(torch.tensor([2.0, 0, 0, 5, 3, 0])), torch.eye(3))
    torch.testing.assert_close(
        rotations_of(torch.tensor([0.0, 1, 0, 0, 0, 4])), torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    )
    many = rotations_of(torch.randn(50, 6))
    torch.testing.assert_close(many @ many.mT, torch.eye(3).expand(50, -1, -1), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(many), torch.ones(50))


def test_every_weight_is_used() -> None:
    network = small_handoccnet(architecture=replace(SMALL, layers=2))
    output = network(images(2))
    sum(part.square().sum() for part in (output.keypoints, output.rotations[..., :2], output.shape)).backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []
