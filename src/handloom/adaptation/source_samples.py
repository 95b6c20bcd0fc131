"""Labelled samples of the source, for the methods that keep them: RegDA and DAGEN with labels, ADDA images only."""

from collections.abc import Sequence
from pathlib import Path

from handloom.datasets.training_samples import load_samples
from handloom.estimators.detnet.augmentation import draw
from handloom.estimators.detnet.training_batches import SamplePool, TrainingBatch
from handloom.runtime.config.sources import DetNetSettings
from handloom.runtime.seeds import numpy_generator, torch_generator

_GREY_PROBABILITY = 1.0
"""All source images are turned grey, as the target's are."""


class SourceSamples:
    """Random batches with the augmentation of the source's own training; each a function of seed, use and number."""

    def __init__(
        self,
        paths: Sequence[Path],
        detnet: DetNetSettings,
        *,
        root_joint: int,
        seed: int,
        device: str,
    ) -> None:
        """Raises InputError for files that are missing, damaged or empty."""
        self._pool = SamplePool([load_samples(path) for path in paths], held_out_fraction=0.0)
        self._detnet, self._root_joint, self._device, self._seed = detnet, root_joint, device, seed

    def batch(self, size: int, use: str, number: int) -> TrainingBatch:
        """`size` samples drawn with replacement, for the use `use`, where they are batch `number`."""
        rows = numpy_generator(self._seed, "source rows", use, number).choice(self._pool.trained, size)
        generator = torch_generator(self._seed, "source augmentation", use, number)
        augmentation = draw(size, generator, _GREY_PROBABILITY)
        return self._pool.batch(rows, augmentation, self._detnet, self._root_joint, self._device)
