"""A device without hardware: tensors that say they are elsewhere, hold their numbers on the CPU, and refuse to mix.

It finds what fails on a GPU only: a tensor made on the CPU beside one on the device, `.numpy()` of a device tensor, or
a generator of another device. It claims the name `meta`, the one device that autograd serves without hardware.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

NAME = "meta"
_MAY_MIX = {"_to_copy", "copy_"}
"""What moves tensors between devices."""
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
"""PyTorch moves CPU indices of a device tensor by itself."""


class DeviceTensor(Tensor):
    """Numbers that are said to be on the device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "DeviceTensor":
        made = Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device=NAME
        )
        made.held = held
        return made

    def __repr__(self, **_: Any) -> str:
        return f"DeviceTensor({self.held})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatched(func, args, kwargs or {})


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatched(func, args, kwargs or {})


class _Constants(TorchFunctionMode):
    """Tensors made of Python numbers, which PyTorch makes below its dispatcher."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = dict(kwargs or {})
        if func is Tensor.new_tensor and isinstance(args[0], DeviceTensor):
            return torch.tensor(*args[1:], **{"dtype": args[0].dtype} | named).to(NAME)
        if func is Tensor.__getitem__ and isinstance(args[1], tuple):
            return func(args[0], tuple(torch.tensor(i) if isinstance(i, list) else i for i in args[1]))
        if func is Tensor.tolist and isinstance(args[0], DeviceTensor):
            return args[0].detach().cpu().tolist()
        made = func is torch.tensor or (func is torch.as_tensor and not isinstance(args[0], Tensor))
        if made and named.get("device") is not None:
            device = named.pop("device")
            return torch.tensor(*args, **named).to(device)
        return func(*args, **named)


@contextmanager
def other_device() -> Iterator[str]:
    """A block in which the device of the given name exists."""
    with _Constants(), _Operations():
        yield NAME


def dispatched(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run an operation on the numbers; its results are on the device if an input or the wish for one is."""
    name = func.overloadpacket.__name__
    wished = kwargs.get("device")
    elsewhere, here = [], []

    def sort(value: Any) -> Any:
        if isinstance(value, DeviceTensor):
            elsewhere.append(value)
            return value.held
        if isinstance(value, Tensor):
            assert value.device.type != NAME, f"{name}: a tensor without numbers"
            here.append(value)
        return value

    plain, named = tree_map(sort, args), tree_map(sort, kwargs)
    mixed = [value for value in here if value.dim() > 0] if elsewhere else []
    if name in _INDEXING and isinstance(args[0], DeviceTensor):
        indices = {id(index) for index in args[1]}
        mixed = [value for value in mixed if id(value) not in indices]
    if mixed and name not in _MAY_MIX:
        raise RuntimeError(f"{name}: CPU tensors {[tuple(v.shape) for v in mixed]} beside some on the device")
    if wished is not None:
        assert torch.device(wished).type in ("cpu", NAME), wished
        named["device"] = torch.device("cpu")
    result = func(*plain, **named)
    on_device = bool(elsewhere) if wished is None else torch.device(wished).type == NAME
    if name == "copy_":
        on_device = isinstance(args[0], DeviceTensor)
    if not on_device:
        return result
    # In-place operations give back their own input.
    own = {id(value.held): value for value in elsewhere}
    return tree_map(lambda v: own.get(id(v), DeviceTensor(v)) if isinstance(v, Tensor) else v, result)
