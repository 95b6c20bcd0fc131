"""DetNet's sizes, maps and read-out at the small sizes that the demo uses."""

import pytest
import torch
from torch import nn

from handloom.estimators.detnet.network import DetNet, DetNetMaps, initialise, network_input, read_out
from handloom.runtime.config.sources import DetNetSettings
from handloom.runtime.seeds import torch_generator

PUBLISHED_PARTS = {
    "resnet50.conv1": 9_408,
    "resnet50.bn1": 128,
    "resnet50.block1": 145_408,
    "resnet50.pool": 70_400,
    "resnet50.block2": 1_219_584,
    "resnet50.block3": 7_098_368,
    "resnet50.squeeze": 2_359_808,
    "hmap_0": 600_341,
    "dmap_0": 659_519,
    "lmap_0": 804_671,
}


def small(input_px: int = 32, map_cells: int = 8) -> DetNet:
    settings = DetNetSettings(input_px=input_px, map_cells=map_cells, width=4, blocks=(1, 2, 1), head_width=8)
    network = DetNet(settings)
    initialise(network, torch_generator(1, "test"))
    return network.eval()


def test_parameter_counts_of_the_published_network():
    network = DetNet(DetNetSettings())
    for name, count in PUBLISHED_PARTS.items():
        assert sum(parameter.numel() for parameter in network.get_submodule(name).parameters()) == count, name
    assert sum(parameter.numel() for parameter in network.parameters()) == 12_967_635


@pytest.mark.parametrize(("input_px", "map_cells"), [(32, 8), (64, 8), (64, 16), (96, 24)])
def test_maps_have_the_configured_number_of_cells(input_px, map_cells):
    maps = small(input_px, map_cells)(torch.zeros(2, 3, input_px, input_px))
    assert maps.heat.shape == (2, 21, map_cells, map_cells)
    assert maps.delta.shape == maps.location.shape == (2, 21, 3, map_cells, map_cells)
    assert (maps.heat > 0).all()
    assert (maps.heat < 1).all()


def test_halved_maps_move_no_parameter():
    fine, coarse = small(64, 16).state_dict(), small(64, 8).state_dict()
    assert {name: value.shape for name, value in fine.items()} == {name: value.shape for name, value in coarse.items()}


def test_position_channels_are_x_then_y():
    columns, rows = small().cell_positions[0]
    torch.testing.assert_close(columns[3], torch.linspace(-1, 1, 8))
    torch.testing.assert_close(rows[:, 3], torch.linspace(-1, 1, 8))


def test_map_channels_are_joint_major():
    network = small()
    with torch.no_grad():
        network.lmap_0.prediction.weight.zero_()
        network.lmap_0.prediction.bias.copy_(torch.arange(63.0))
    location = network(torch.zeros(1, 3, 32, 32)).location
    torch.testing.assert_close(location[0, :, :, 4, 4], torch.arange(63.0).view(21, 3))


def test_read_out_takes_row_and_column_of_the_hottest_cell():
    heat, location = torch.zeros(1, 21, 4, 6), torch.randn(1, 21, 3, 4, 6, generator=torch_generator(2))
    heat[0, :, 1, 5] = 0.5
    readout = read_out(DetNetMaps(heat, -location, location))
    assert (readout.cell_rowcol == torch.tensor([1, 5])).all()
    torch.testing.assert_close(readout.joints, location[..., 1, 5])
    torch.testing.assert_close(readout.delta, -location[..., 1, 5])
    assert (readout.confidence == 0.5).all()


def test_initial_weights_depend_on_the_generator_alone():
    torch.manual_seed(1)
    first = small().state_dict()
    torch.manual_seed(2)
    second = small().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_initial_kernels_have_he_deviation():
    network = DetNet(DetNetSettings(width=16, blocks=(1, 1, 1), head_width=32))
    initialise(network, torch_generator(3))
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 5000:
            fan_in = module.weight[0].numel()
            assert module.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)


def test_network_input_is_rgb_between_minus_and_plus_a_half():
    colour = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    colour[..., 0], colour[..., 2] = 255, 51
    image = network_input(colour)
    assert image.shape == (1, 3, 32, 32)
    torch.testing.assert_close(image[0, :, 0, 0], torch.tensor([0.5, -0.5, -0.3]))
    grey = network_input(colour[..., 2:])
    torch.testing.assert_close(grey, torch.full((1, 3, 32, 32), -0.3))
