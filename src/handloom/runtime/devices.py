"""The device that a stage computes on, and equal runs there."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from handloom.runtime.errors import InputError

if TYPE_CHECKING:
    import torch


@contextmanager
def computing_on(device: str, threads: int | None = None) -> "Iterator[torch.device]":
    """A block that computes on a device; on the CPU with so many threads, and equal runs give equal bits.

    On a GPU the order of some sums is left to chance, as trilinear look-ups have no other derivative there. Raises
    InputError for a device that this machine does not have.
    """
    import torch

    wanted = torch.device(device)
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device: is {device}, but PyTorch {torch.__version__} finds {torch.cuda.device_count()} CUDA devices; "
            "set device: cpu, or install the driver and a build of PyTorch for CUDA"
        )
    memory: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory
    if threads is not None:
        torch.set_num_threads(threads)
    if wanted.type == "cpu":
        torch.use_deterministic_algorithms(True)
        memory.fill_uninitialized_memory = False
    try:
        yield wanted
    finally:
        torch.use_deterministic_algorithms(before[0])
        memory.fill_uninitialized_memory = before[1]
