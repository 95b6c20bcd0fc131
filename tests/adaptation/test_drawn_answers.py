"""The mean answer to draws of a crop: what is drawn, and that answers are turned back the right way."""

from typing import Any

import pytest
import torch
from torch import Tensor

from handloom.adaptation.drawn_answers import draws_of, mean_answer
from handloom.estimators.detnet.network import DetNet, DetNetMaps, network_input, read_out

from .rig import PX, small_detnet

CELLS = 8


def test_the_crop_itself_is_the_first_draw_and_turns_lie_evenly_about_it() -> None:
    assert draws_of(0, 40.0) == [(0.0, 1.0)]
    assert draws_of(4, 40.0)[1:] == [
        (-40.0, 1.1),
        (pytest.approx(-40 / 3), 0.9),
        (pytest.approx(40 / 3), 1.1),
        (40.0, 0.9),
    ]


def test_without_draws_it_is_the_networks_answer_from_the_root_on() -> None:
    network = small_detnet()
    images = torch.randint(0, 256, (3, PX, PX, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        read = read_out(network(network_input(images)))
    found = mean_answer(network, images, draws_of(0, 0.0))
    torch.testing.assert_close(found.joints, read.joints - read.joints[:, network.root_joint, None])
    torch.testing.assert_close(found.confidence, read.confidence)


def test_draws_of_what_turns_with_the_image_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that sees a bright spot: the joint's place in the picture and its direction turn with the crop."""
    network: Any = DetNet(small_detnet().settings, 0)

    def forward(images: Tensor) -> DetNetMaps:
        spot = torch.nn.functional.adaptive_avg_pool2d(images[:, :1] + 0.5, CELLS)
        axis = (torch.arange(CELLS) + 0.5) / CELLS - 0.5
        share = (spot / spot.sum((2, 3), keepdim=True))[:, 0]
        place = torch.stack([(share.sum(1) * axis).sum(-1), (share.sum(2) * axis).sum(-1), torch.ones(len(images))], -1)
        location = torch.zeros(len(images), 21, 3, CELLS, CELLS)
        location[:, 1:, :2] = torch.nn.functional.normalize(place[:, None, :2, None, None], dim=2)
        return DetNetMaps(spot.expand(-1, 21, -1, -1), location, location)

    monkeypatch.setattr(network, "forward", forward)
    image = torch.zeros(1, 96, 96, 1, dtype=torch.uint8)
    image[:, 24:36, 58:70] = 255
    alone, drawn = (mean_answer(network, image, draws_of(count, 40.0)) for count in (0, 8))
    torch.testing.assert_close(drawn.joints, alone.joints, atol=0.06, rtol=0)
    torch.testing.assert_close(drawn.keypoints, alone.keypoints, atol=0.03, rtol=0)
