"""The answer with insides is the network's own answer."""

import torch

from handloom.adaptation.methods.detnet_method import answer, at_cells, peak_cells
from handloom.adaptation.pairs import PairBatch
from handloom.estimators.detnet.network import DetNet, network_input


def test_maps_are_those_of_the_network_and_the_logits_are_before_its_sigmoid(network: DetNet, batch: PairBatch) -> None:
    images = network_input(batch.image_u8)
    found, maps = answer(network, images), network(images)
    for ours, theirs in zip(found.maps, maps, strict=True):
        assert torch.equal(ours, theirs)
    torch.testing.assert_close(found.heat_logits.sigmoid(), maps.heat)
    torch.testing.assert_close(found.features, network.resnet50(images))
    assert found.heat_logits.requires_grad
    constant = found.mapped(torch.Tensor.detach)
    assert not any(t.requires_grad for t in (constant.features, constant.heat_logits, *constant.maps))


def test_features_are_read_where_the_peak_is() -> None:
    heat = torch.zeros(1, 21, 2, 3)
    heat[0, :, 1, 2] = 1.0
    heat[0, 4, 0, 1] = 2.0
    features = torch.arange(12.0).view(1, 2, 2, 3)  # channel 0: 0..5, channel 1: 6..11
    cells = peak_cells(heat)
    assert (cells[0, 0], cells[0, 4]) == (5, 1)
    found = at_cells(features, cells)
    assert found[0, 0].tolist() == [5.0, 11.0]
    assert found[0, 4].tolist() == [1.0, 7.0]
