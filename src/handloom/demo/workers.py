"""Items rendered by a pool of processes; every item has its own random stream, so the pool's size changes nothing."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import cv2

from handloom.runtime.progress import progress

Item = TypeVar("Item")
Result = TypeVar("Result")


def render_all(
    function: Callable[[Item], Result], items: Sequence[Item], *, threads: int, label: str
) -> Iterator[Result]:
    """Results in the order of the items; one thread works in this process."""
    if threads <= 1 or len(items) < 2:
        cv2.setNumThreads(1)
        yield from progress(map(function, items), label, total=len(items))
        return
    # Spawned, not forked: numpy and torch may have threads of their own by now.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(threads, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from progress(pool.map(function, items, chunksize=16), label, total=len(items))
