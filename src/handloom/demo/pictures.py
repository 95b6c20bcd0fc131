"""From radiance to picture files: a camera's exposure, noise and tone curve, the encoding, and many at a time."""

import multiprocessing
import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.random import Generator

from handloom.runtime.errors import OutputError
from handloom.runtime.job import THREAD_VARIABLES
from handloom.runtime.progress import progress

GREY_JPEG: Final = (cv2.IMWRITE_JPEG_QUALITY, 88)  # by eye: its blocks do not show
NOISY_PNG: Final = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY)
"""Sensor noise leaves no repetition to find; Huffman coding alone is faster and gives smaller files."""
FLAT_PNG: Final = (cv2.IMWRITE_PNG_COMPRESSION, 3)

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Sensor:
    """A camera's optics and electronics; noise is shot noise (electrons at white) plus read noise.

    Its automatic exposure brings the mean of the linear picture to `mean_level`, within `largest_gain` either way,
    unless that would burn out the brightest parts (lit hands, mostly) beyond `highlight_level`.
    """

    mean_level: float
    highlight_level: float
    gamma: float
    vignetting: float
    blur_px: float
    electrons: float
    read_noise: float
    largest_gain: float = 2.5

    def expose(
        self, radiance: Float[np.ndarray, "height width channels"], generator: Generator
    ) -> UInt8[np.ndarray, "height width channels"]:
        """The 8-bit picture of a linear image."""
        height, width, channels = radiance.shape
        metered = radiance[::8, ::8]
        wanted = self.mean_level / max(float(metered.mean()), 1e-3)
        gain = min(wanted, self.highlight_level / max(float(np.quantile(metered, 0.98)), 1e-3))
        light = radiance * np.float32(np.clip(gain, 1 / self.largest_gain, self.largest_gain))
        if self.vignetting > 0:
            row = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
            column = np.linspace(-1, 1, width, dtype=np.float32)[None]
            light = light * (1 - np.float32(self.vignetting / 2) * (row**2 + column**2))[..., None]
        blurred = cv2.GaussianBlur(light, (0, 0), self.blur_px).reshape(height, width, channels)
        noise = generator.standard_normal((height, width, channels), dtype=np.float32)
        sigma = np.sqrt(np.maximum(blurred, 0) / np.float32(self.electrons) + np.float32(self.read_noise**2))
        bright = np.clip(blurred + sigma * noise, 0, 1)
        # A table of 1024 steps is what a 10-bit sensor has, and far faster than a power.
        curve = (np.linspace(0, 1, 1024) ** (1 / self.gamma) * 255 + 0.5).astype(np.uint8)
        return curve[(bright * 1023).astype(np.int32)]


def random_monochrome_sensor(generator: Generator) -> Sensor:
    """A head-mounted tracking camera: small, a little soft, vignetted and noisy."""
    return Sensor(
        mean_level=float(generator.uniform(0.15, 0.30)),
        highlight_level=float(generator.uniform(0.75, 1.15)),
        gamma=float(generator.uniform(1.5, 2.2)),
        vignetting=float(generator.uniform(0.2, 0.5)),
        blur_px=float(generator.uniform(0.5, 0.9)),
        electrons=float(generator.uniform(400, 2000)),
        read_noise=float(generator.uniform(0.003, 0.010)),
    )


def random_colour_sensor(generator: Generator) -> Sensor:
    """A colour camera: from a clean renderer-like picture to a dim phone picture."""
    return Sensor(
        mean_level=float(generator.uniform(0.12, 0.42)),
        highlight_level=float(generator.uniform(0.6, 1.3)),
        gamma=float(generator.uniform(1.8, 2.4)),
        vignetting=float(generator.uniform(0.0, 0.2)),
        blur_px=float(generator.uniform(0.35, 0.8)),
        electrons=float(10 ** generator.uniform(3.3, 5.0)),
        read_noise=float(10 ** generator.uniform(-3.5, -2.4)),
    )


def write_picture(path: Path, picture: UInt8[np.ndarray, "height width *rgb"], encoding: Sequence[int]) -> None:
    """Write a grey picture or one in red, green, blue; the suffix says the format.

    Raises OutputError when the disk is full or the folder cannot be written.
    """
    # OpenCV tells no reason when a write fails, so it only encodes.
    _, content = cv2.imencode(path.suffix, picture[..., ::-1] if picture.ndim == 3 else picture, list(encoding))
    try:
        path.write_bytes(content.tobytes())
    except OSError as error:
        raise OutputError(
            error.errno, f"cannot write {path}: {error.strerror}; free some space, check permissions and run again"
        ) from error


def write_pickle(path: Path, content: Mapping[Any, Any], protocol: int) -> None:
    """Pickle dictionaries of arrays, which become float64, so that equal content gives equal bytes."""
    with path.open("wb") as file:
        pickle.dump(_own(content), file, protocol=protocol)


def _own(value: Any) -> Any:
    """A copy that shares nothing with an array from another process, on which a pickle's bytes would depend."""
    if isinstance(value, Mapping):
        return {key: _own(each) for key, each in value.items()}
    if not isinstance(value, np.ndarray):
        return value
    copy = np.empty(value.shape)
    copy[:] = value
    return copy


@contextmanager
def single_threaded() -> Iterator[None]:
    """One thread in OpenCV and PyTorch: small arrays gain nothing from more, and sums keep their order."""
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])


def render_all(function: Callable[[Item], Result], items: Sequence[Item], *, threads: int, label: str) -> list[Result]:
    """Results in the order of the items, from a pool of processes; with one thread everything happens in this one.

    Every item has its own random stream, so the pool's size changes nothing.
    """
    if threads <= 1 or len(items) < 2:
        with single_threaded():
            return list(progress(map(function, items), label, total=len(items)))
    # Spawned, not forked: NumPy and PyTorch may have threads of their own by now. Those of the workers read their
    # number from the environment that they inherit.
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    context = multiprocessing.get_context("spawn")
    chunk = max(1, min(16, len(items) // (4 * threads)))
    with ProcessPoolExecutor(threads, mp_context=context) as pool:
        return list(progress(pool.map(function, items, chunksize=chunk), label, total=len(items)))
