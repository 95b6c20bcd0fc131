"""Progress of long loops: a bar on a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 10.0


def progress(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield the items and tell on stderr how far the loop is and how long it will still take."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, desc=label, total=total)
        return
    start = last = time.monotonic()
    count = 0
    for count, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            print(_line(label, count, total, now - start), file=sys.stderr, flush=True)
    print(f"{label}: {count} done in {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)


def _line(label: str, count: int, total: int | None, seconds: float) -> str:
    if not total:
        return f"{label}: {count} after {seconds:.0f} s"
    left_s = seconds / count * max(total - count, 0)
    return f"{label}: {count} of {total} after {seconds:.0f} s, about {left_s:.0f} s left"
