"""Growth: a larger network answers as the one that it begins as."""

import pytest
import torch
from torch.nn import functional

from handloom.estimators.detnet.growth import begin_as
from handloom.estimators.detnet.network import DetNet, initialise
from handloom.runtime.config.sources import DetNetSettings
from handloom.runtime.errors import InputError

SMALL = DetNetSettings(input_px=64, map_cells=8, width=4, blocks=(1, 1, 1), head_width=8)


def network(seed: int, root_joint: int = 9, **sizes: object) -> DetNet:
    made = DetNet(SMALL.model_copy(update=sizes), root_joint)
    initialise(made, torch.Generator().manual_seed(seed))
    return made.eval()


def blurred(px: int) -> torch.Tensor:
    """Pictures that are smooth over several pixels of 64."""
    coarse = torch.rand(3, 3, 9, 9, generator=torch.Generator().manual_seed(5)) - 0.5
    return functional.interpolate(coarse, size=(px, px), mode="bicubic", align_corners=False)


@pytest.mark.parametrize("sizes", [{"blocks": (1, 2, 3)}, {"width": 6}, {"width": 12, "blocks": (2, 1, 1)}])
def test_more_channels_and_bottlenecks_answer_the_same(sizes: dict) -> None:
    start, grown = network(1), network(2, **sizes)
    begin_as(grown, start)
    for expected, answered in zip(start(blurred(64)), grown(blurred(64)), strict=True):
        torch.testing.assert_close(answered, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("input_px", [96, 128])
def test_a_larger_input_is_answered_much_as_the_smaller_one(input_px: int) -> None:
    start, grown, other = network(1), network(2, input_px=input_px), network(2, input_px=input_px)
    begin_as(grown, start)
    expected = start(blurred(64)).location
    far, near = (((each(blurred(input_px)).location - expected).square().mean()).sqrt() for each in (other, grown))
    assert near < 0.25 * far


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ({"root_joint": 0}, "root joint"),
        ({"width": 8}, "cannot begin as"),
        ({"map_cells": 16}, "cannot begin as"),
        ({"head_width": 16}, "cannot begin as"),
        ({"blocks": (2, 1, 1)}, "cannot begin as"),
    ],
)
def test_what_does_not_fit_is_refused(sizes: dict, told: str) -> None:
    start = network(1, **sizes)
    with pytest.raises(InputError, match=told):
        begin_as(network(2), start)
