"""How fields are evaluated, whichever model holds their distances: their density, and chunks that fit into memory.

A step for which a device has no memory is done again with fields evaluated in twice as many chunks, for the same
result; so are all steps after it.
"""

import sys
from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from handloom.runtime.errors import InputError

FEWEST_RAYS = 16
"""Fewer rays at a time save no memory: the fields and their derivatives are what is left."""

T = TypeVar("T")


def laplace_density(
    distance: Float[Tensor, "*batch"], beta: Float[Tensor, "*#batch"] | float
) -> Float[Tensor, "*batch"]:
    """Density from the signed distance d, negative inside (VolSDF, Eq. 2 and 3).

        sigma(d) = (1 + sign(d) expm1(-|d| / beta)) / (2 beta)

    per unit of length, the unit of d and beta; 1 / beta deep inside, 0 far outside.
    """
    return (0.5 + 0.5 * distance.sign() * torch.expm1(-distance.abs() / beta)) / beta


def in_chunks(
    evaluated: Callable[..., tuple[Tensor, ...]], chunks: int, *rows: Tensor, dim: int = 0
) -> tuple[Tensor, ...]:
    """The values at all rows of the inputs along a dimension, evaluated in so many chunks.

    The derivative evaluates each chunk again, so that the memory of one chunk is all that is needed at a time.
    """
    if chunks == 1 or not rows[0].shape[dim]:
        return evaluated(*rows)
    pieces = zip(*(values.chunk(chunks, dim=dim) for values in rows), strict=True)
    found = [checkpoint(evaluated, *piece, use_reentrant=False, preserve_rng_state=False) for piece in pieces]
    return tuple(torch.cat(values, dim=dim) for values in zip(*found, strict=True))


def within_memory(attempt: Callable[[], T], take_smaller_chunks: Callable[[], None]) -> T:
    """What `attempt` gives; as long as memory runs out, chunks are made smaller and it is tried again."""
    while (found := _attempted(attempt)) is None:
        take_smaller_chunks()
    return found[0]


def _attempted(attempt: Callable[[], T]) -> tuple[T] | None:
    try:
        return (attempt(),)
    except torch.OutOfMemoryError:
        return None  # from here on nothing holds the failed step's tensors any more


def halved(chunks: int, rays: int, device: torch.device, step: int, to_lower: str) -> int:
    """Twice as many chunks, told on stderr; the device's unused memory is given back.

    Raises InputError, naming the settings `to_lower`, when chunks would have fewer than 16 rays.
    """
    if rays < 2 * chunks * FEWEST_RAYS:
        raise InputError(
            f"{device}: out of memory at step {step} with {rays // chunks} rays at a time; lower {to_lower}, end other "
            "programs on the device, or set device: cpu"
        )
    chunks = 2 * chunks
    if device.type == "cuda":
        torch.cuda.empty_cache()
    print(
        f"{device}: out of memory at step {step}; from here on rays are evaluated in {chunks} chunks of about "
        f"{rays // chunks}, which takes longer",
        file=sys.stderr,
        flush=True,
    )
    return chunks
