"""The device that a stage computes on, and equal runs there."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from handloom.runtime.errors import InputError

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "float32", "bfloat16"]
_MANY = 64
_FAST_BFLOAT16 = {"avx512_bf16", "amx_bf16"}
"""Flags of processors that multiply bfloat16 in hardware; others emulate it, nine times slower than float32."""


def require_device(device: str) -> "torch.device":
    """A device by its name; raises InputError for one that this machine does not have."""
    import torch

    wanted = torch.device(device)
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device: is {device}, but PyTorch {torch.__version__} finds {torch.cuda.device_count()} CUDA devices; "
            "set device: cpu, or install the driver and a build of PyTorch for CUDA, or, on a cluster, name a "
            "partition with GPUs in profiles/slurm"
        )
    return wanted


@contextmanager
def computing_on(device: str, threads: int | None = None) -> "Iterator[torch.device]":
    """A block that computes on a device; on the CPU with so many threads, and equal runs give equal bits.

    On a GPU the order of some sums is left to chance, as trilinear look-ups have no other derivative there. Raises
    InputError for a device that this machine does not have.
    """
    import torch

    wanted = require_device(device)
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


def require_gpu(device: str) -> None:
    """Raise InputError where this machine surely lacks the GPU that `device` names; tells it without importing PyTorch.

    What is left open, such as a driver that is too old, `computing_on` finds out.
    """
    number = int(device.partition(":")[2] or 0)
    build = version("torch")
    found = None if build.endswith("+cpu") else _driver_devices()
    if found is None or number >= found:
        reason = (
            f"PyTorch {build} is a build for the CPU"
            if build.endswith("+cpu")
            else f"the driver finds {found or 0} CUDA devices here"
        )
        raise InputError(
            f"device: is {device}, but {reason}; set device: cpu, install the driver and a build of PyTorch for CUDA, "
            "or run on a machine that has one"
        )


def _driver_devices() -> int | None:
    """How many devices NVIDIA's driver shows to this process; None without a driver."""
    if Path("/dev/kfd").exists():  # AMD's driver; its devices are PyTorch's to count
        return _MANY
    try:
        driver = ctypes.CDLL("libcuda.so.1" if sys.platform != "win32" else "nvcuda.dll")
    except OSError:
        return None
    count = ctypes.c_int(0)
    working = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if working else 0


def chosen_precision(wanted: Precision, device: str) -> Literal["float32", "bfloat16"]:
    """The precision to compute in: what is wanted, or, for `auto`, bfloat16 where the device is known to be fast in it.

    Said on stderr, so that a log tells which was taken.
    """
    import torch

    if wanted != "auto":
        return wanted
    if torch.device(device).type == "cuda":
        fast, reason = torch.cuda.is_bf16_supported(including_emulation=False), "by the GPU's own account"
    else:
        fast, reason = bool(_processor_flags() & _FAST_BFLOAT16), "by the processor's flags"
    taken: Literal["float32", "bfloat16"] = "bfloat16" if fast else "float32"
    print(f"precision: {taken} ({reason})", file=sys.stderr, flush=True)
    return taken


def _processor_flags() -> set[str]:
    """What Linux tells of the processor; nothing elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").partition(":")[2].split())
