"""Random streams are the same on every machine and independent of each other."""

import numpy as np
import torch

from handloom.runtime.seeds import derived_seed, numpy_generator, torch_generator


def test_seeds_never_change() -> None:
    assert derived_seed(1, "pretraining", 3) == 5301489529513261798


def test_every_key_and_its_place_matter() -> None:
    seeds = {
        derived_seed(1, "a", 1),
        derived_seed(2, "a", 1),
        derived_seed(1, 1, "a"),
        derived_seed(1, "a", "1"),
        derived_seed(1),
    }
    assert len(seeds) == 5


def test_streams_repeat_and_differ() -> None:
    assert numpy_generator(1, "a").normal() == numpy_generator(1, "a").normal()
    assert numpy_generator(1, "a").normal() != numpy_generator(1, "b").normal()
    assert torch.equal(
        torch.rand(3, generator=torch_generator(1, "a")), torch.rand(3, generator=torch_generator(1, "a"))
    )


def test_streams_are_not_correlated() -> None:
    streams = np.stack([numpy_generator(0, "view", index).normal(size=4000) for index in range(6)])
    correlation = np.corrcoef(streams) - np.eye(6)
    assert np.abs(correlation).max() < 0.06
