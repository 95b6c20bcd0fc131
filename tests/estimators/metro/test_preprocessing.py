"""RGB bytes become ImageNet's units, channel by channel."""

import torch

from handloom.estimators.metro.preprocessing import IMAGENET_DEVIATION, IMAGENET_MEAN, network_input


def test_channels_are_normalised_in_the_order_rgb() -> None:
    image = torch.zeros(1, 3, 3, 3, dtype=torch.uint8)
    image[0, 1, 2] = torch.tensor([255, 51, 0])
    values = network_input(image)
    assert values.shape == (1, 3, 3, 3)
    expected = [(1 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, -0.406 / 0.225]
    torch.testing.assert_close(values[0, :, 1, 2], torch.tensor(expected))
    background = -torch.tensor(IMAGENET_MEAN) / torch.tensor(IMAGENET_DEVIATION)
    torch.testing.assert_close(values[0, :, 0, 0], background)
