"""Steps for which a device has no memory: done again with fields evaluated in smaller parts, for the same result."""

import sys
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from handloom.runtime.errors import InputError

FEWEST_RAYS = 16
"""Fewer rays at a time save no memory: the fields and their derivatives are what is left."""

T = TypeVar("T")


def in_parts(
    evaluated: Callable[..., tuple[Tensor, ...]], parts: int, *rows: Tensor, dim: int = 0
) -> tuple[Tensor, ...]:
    """The values at all rows of the inputs along a dimension, evaluated in so many parts.

    The derivative evaluates each part again, so that the memory of one part is all that is needed at a time.
    """
    if parts == 1 or not rows[0].shape[dim]:
        return evaluated(*rows)
    pieces = zip(*(values.chunk(parts, dim=dim) for values in rows), strict=True)
    found = [checkpoint(evaluated, *piece, use_reentrant=False, preserve_rng_state=False) for piece in pieces]
    return tuple(torch.cat(values, dim=dim) for values in zip(*found, strict=True))


def within_memory(attempt: Callable[[], T], take_smaller_parts: Callable[[], None]) -> T:
    """What `attempt` gives; as long as memory runs out, parts are made smaller and it is tried again."""
    while (found := _attempted(attempt)) is None:
        take_smaller_parts()
    return found[0]


def _attempted(attempt: Callable[[], T]) -> tuple[T] | None:
    try:
        return (attempt(),)
    except torch.OutOfMemoryError:
        return None  # from here on nothing holds the failed step's tensors any more


def halved(parts: int, rays: int, device: torch.device, step: int, to_lower: str) -> int:
    """Twice as many parts, told on stderr; the device's unused memory is given back.

    Raises InputError, naming the settings `to_lower`, when parts would have fewer than 16 rays.
    """
    if rays < 2 * parts * FEWEST_RAYS:
        raise InputError(
            f"{device}: out of memory at step {step} with {rays // parts} rays at a time; lower {to_lower}, end other "
            "programs on the device, or set device: cpu"
        )
    parts = 2 * parts
    if device.type == "cuda":
        torch.cuda.empty_cache()
    print(
        f"{device}: out of memory at step {step}; from here on rays are evaluated in {parts} parts of about "
        f"{rays // parts}, which takes longer",
        file=sys.stderr,
        flush=True,
    )
    return parts
