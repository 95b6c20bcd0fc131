"""Where METRO's parts sit: what feeds what, on a small network."""

import torch

from handloom.estimators.metro.hrnet import HRNet
from handloom.estimators.metro.network import IMAGENET_DEVIATION, IMAGENET_MEAN, normalised

from .small_metro import SMALL, small_metro


def test_hands_do_not_see_each_other() -> None:
    network, images = small_metro(), torch.rand(3, 3, 64, 64)
    together = network(images)
    for index in range(3):
        for found, wanted in zip(network(images[index : index + 1]), together, strict=True):
            torch.testing.assert_close(found[0], wanted[index], atol=1e-4, rtol=1e-4)


def test_vertices_come_from_the_coarse_ones_alone() -> None:
    network = small_metro()
    output = network(torch.rand(2, 3, 64, 64))
    assert output.joints_m.shape == (2, 21, 3)
    assert output.coarse_m.shape == (2, 195, 3)
    expected = (
        torch.einsum("vc,bcd->bvd", network.upsampling.weight, output.coarse_m) + network.upsampling.bias[:, None]
    )
    torch.testing.assert_close(output.vertices_m, expected, atol=1e-4, rtol=1e-4)


def test_tokens_have_places() -> None:
    """Two equal template points differ in the output by the position table only."""
    network = small_metro()
    network.template_m[30] = network.template_m[31]
    apart = network.decoded(torch.rand(1, 16)).coarse_m[0, [9, 10]]
    assert not torch.allclose(apart[0], apart[1], atol=1e-3)
    for block in network.trans_encoder:
        torch.nn.init.zeros_(block.bert["position_embeddings"].weight)
    same = network.decoded(torch.rand(1, 16)).coarse_m[0, [9, 10]]
    torch.testing.assert_close(same[0], same[1], atol=1e-5, rtol=1e-4)


def test_every_weight_is_used() -> None:
    network = small_metro()
    output = network(torch.rand(2, 3, 64, 64))
    sum(part.square().sum() for part in output).backward()
    unused = [name for name, value in network.named_parameters() if value.grad is None]
    assert unused == []


def test_the_feature_has_no_place_in_the_image() -> None:
    """The mean over the coarsest map: twice as large an image gives a feature of the same length."""
    backbone = HRNet(SMALL.hrnet).eval()
    assert backbone(torch.rand(1, 3, 64, 64)).shape == backbone(torch.rand(1, 3, 128, 128)).shape == (1, 16)


def test_channels_are_normalised_in_the_order_rgb() -> None:
    image = torch.zeros(1, 3, 3, 3)
    image[0, :, 1, 2] = torch.tensor([1, 0.2, 0])
    expected = [(1 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, -0.406 / 0.225]
    torch.testing.assert_close(normalised(image)[0, :, 1, 2], torch.tensor(expected))
    background = -torch.tensor(IMAGENET_MEAN) / torch.tensor(IMAGENET_DEVIATION)
    torch.testing.assert_close(normalised(image)[0, :, 0, 0], background)
