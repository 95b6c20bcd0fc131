"""Labelled samples of the source, for the methods that keep them: RegDA and DAGEN with labels, ADDA images only."""

from collections.abc import Sequence
from pathlib import Path

from handloom.datasets.training_samples import load_samples
from handloom.estimators.detnet.augmentation import draw
from handloom.estimators.detnet.training_batches import SamplePool, TrainingBatch
from handloom.runtime.config.detnet import DetNetSettings
from handloom.runtime.seeds import numpy_generator, torch_generator


class SourceSamples:
    """Random batches with the augmentation of the source's own training; each a function of seed, use and number."""

    def __init__(
        self,
        paths: Sequence[Path],
        detnet: DetNetSettings,
        *,
        root_joint: int,
        grey_probability: float,
        seed: int,
        device: str,
    ) -> None:
        """Raises InputError for files that are missing, damaged or empty."""
        self._pool = SamplePool([load_samples(path) for path in paths], held_out_fraction=0.0)
        self._detnet, self._root_joint, self._device = detnet, root_joint, device
        self._grey_probability, self._seed = grey_probability, seed

    def batch(self, size: int, use: str, number: int) -> TrainingBatch:
        """`size` samples drawn with replacement, for the use `use`, where they are batch `number`."""
        rows = numpy_generator(self._seed, "source rows", use, number).choice(self._pool.trained, size)
        generator = torch_generator(self._seed, "source augmentation", use, number)
        augmentation = draw(size, generator, self._grey_probability)
        return self._pool.batch(rows, augmentation, self._detnet, self._root_joint, self._device)
