"""Items rendered by a pool of processes; every item has its own random stream, so the pool's size changes nothing."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import cv2
import torch

from handloom.runtime.progress import progress

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def single_threaded() -> Iterator[None]:
    """One thread in OpenCV and PyTorch: small arrays gain nothing from more, and sums keep their order."""
    before = cv2.getNumThreads(), torch.get_num_threads()
    _one_thread()
    try:
        yield
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])


def _one_thread() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def render_all(
    function: Callable[[Item], Result], items: Sequence[Item], *, threads: int, label: str
) -> Iterator[Result]:
    """Results in the order of the items; with one thread everything happens in this process."""
    if threads <= 1 or len(items) < 2:
        with single_threaded():
            yield from progress(map(function, items), label, total=len(items))
        return
    # Spawned, not forked: NumPy and PyTorch may have threads of their own by now.
    context = multiprocessing.get_context("spawn")
    chunk = max(1, min(16, len(items) // (4 * threads)))
    with ProcessPoolExecutor(threads, mp_context=context, initializer=_one_thread) as pool:
        yield from progress(pool.map(function, items, chunksize=chunk), label, total=len(items))
