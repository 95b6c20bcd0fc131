"""A .tflite file with the operators of MediaPipe's hand networks, as a torch module that can be trained further.

MediaPipe's own two files are checked where they are fetched (`package_weights`); of a user's file, a network that this
module does not know is refused by name. The parser (packages `tflite` and `flatbuffers`) verifies nothing itself, so
whatever it stumbles over becomes an InputError. Tensors with rows and columns are (batch, channels, rows, columns)
here; a file says (1, rows, columns, channels).
"""

import copy
import math
import struct
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import tflite
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from handloom.runtime.artifacts import require_finite
from handloom.runtime.errors import InputError
from handloom.runtime.reading import reading

_DAMAGE = (struct.error, ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)
"""What the parser, NumPy and torch raise for numbers that make no sense together."""
_DTYPES = {tflite.TensorType.FLOAT32: "<f4", tflite.TensorType.FLOAT16: "<f2", tflite.TensorType.INT32: "<i4"}
_OPERATORS, _TABLES = (
    {value: name for name, value in vars(numbers).items() if isinstance(value, int)}
    for numbers in (tflite.BuiltinOperator, tflite.BuiltinOptions)
)
_SAME = 0
"""The schema's number for padding that keeps ceil(size / stride); 1 is none."""
_ACTIVATIONS: dict[int, Callable[[Tensor], Tensor]] = {0: nn.Identity(), 1: functional.relu, 3: functional.relu6}
"""By the schema's numbers."""
_OPTIONS: dict[str, Collection[int]] = {
    **dict.fromkeys(("StrideH", "StrideW", "FilterHeight", "FilterWidth"), range(1, 65)),
    **dict.fromkeys(("DilationHFactor", "DilationWFactor", "HalfPixelCenters"), (1,)),
    **dict.fromkeys(("AlignCorners", "KeepDims", "KeepNumDims", "WeightsFormat"), (0,)),
    "Axis": range(-3, 4),
    "FusedActivationFunction": tuple(_ACTIVATIONS),
    "Padding": (0, 1),
}
"""Options that matter, by their names in the schema, and what is known of them here."""
_WEIGHT_AXES = {"CONV_2D": (0, 3, 1, 2), "DEPTHWISE_CONV_2D": (3, 0, 1, 2)}
"""Where torch's axes of filters (outputs, inputs, rows, columns) lie in a file."""

Shapes = dict[int, tuple[int, ...]]
"""Of tensors, by their numbers."""


class TfliteNetwork(nn.Module):
    """The operators of a file, one after the other; the weights of operator k are `layers.k.weight` and `.bias`.

    The network must take one image of a shape and give tensors of others; `kind` says in words which one that is, and
    `example` where it is found. Raises InputError for another one, for a missing or damaged file, for one that is no
    .tflite file, and for operators, options and types that the hand networks do not have.
    """

    def __init__(
        self, path: Path, kind: str, example: str, takes: tuple[int, ...], gives: Sequence[tuple[int, ...]]
    ) -> None:
        super().__init__()
        inputs, outputs, layers = _read(path)
        if (list(inputs.values()), list(outputs.values())) != ([takes], [*gives]):
            raise InputError(
                f"{path}: is no {kind}: it takes {[*inputs.values()]} and gives {[*outputs.values()]}, expected one "
                f"image {takes}, and {[*gives]}; MediaPipe's {example} is one"
            )
        self._input, self._outputs = next(iter(inputs)), list(outputs)
        self.layers = nn.ModuleList(layers)
        self._last_use = {each: place for place, layer in enumerate(layers) for each in layer.inputs}
        self._last_use |= dict.fromkeys(outputs, len(layers))
        known = {self._input: _our_axes(torch.empty(takes, device="meta"))}  # shapes only: nothing is computed
        for place, layer in enumerate(layers):
            try:
                for option, value in layer.options.items():
                    if value not in _OPTIONS[option]:
                        raise ValueError(f"has {option} {value}, expected {_OPTIONS[option]}")
                result = copy.deepcopy(layer).to("meta")(*(known[each] for each in layer.inputs))
                if (made := tuple(_file_axes(result).shape)) != layer.shape:
                    raise ValueError(f"makes {made}, expected {layer.shape}")
            except _DAMAGE as error:
                raise InputError(
                    f"{path}: operator {place}, {layer.name}, cannot be rebuilt ({type(error).__name__}: {error}); "
                    f"expected a {kind} like MediaPipe's {example}"
                ) from error
            known[layer.output] = result

    def forward(self, image: Tensor) -> list[Tensor]:
        """The file's outputs, in its order, for images (batch, channels, rows, columns)."""
        known = {self._input: image}
        for place, layer in enumerate(cast("Iterable[Layer]", self.layers)):
            known[layer.output] = layer(*(known[each] for each in layer.inputs))
            for each in set(layer.inputs):
                if self._last_use[each] == place:
                    del known[each]
        return [known[each] for each in self._outputs]


def network_input(images_u8: UInt8[Tensor, "batch px px 3"]) -> Float[Tensor, "batch 3 px px"]:
    """RGB pictures as the networks take them: channels first, from 0 to 1."""
    return images_u8.permute(0, 3, 1, 2).contiguous().float() / 255.0


def _read(path: Path) -> tuple[Shapes, Shapes, list["Layer"]]:
    """A file's inputs and outputs, and the operators between them."""
    absent = "the rule fetch_mediapipe fetches two"
    with reading(path, "a .tflite network of hands", "fetch it again", absent=absent) as file:
        content = file.read()
        if content[4:8] != b"TFL3":
            raise ValueError(f"its bytes 4 to 8 are {content[4:8]!r}, expected b'TFL3'")
        model = tflite.Model.GetRootAs(content, 0)
        graph = model.Subgraphs(0)
        shapes = {place: tuple(_entries(tensor, "Shape")) for place, tensor in enumerate(_entries(graph, "Tensors"))}
        inputs, outputs = ({each: shapes[each] for each in _entries(graph, name)} for name in ("Inputs", "Outputs"))
        layers = _layers(model, graph, shapes)
    require_finite(path, nn.ModuleList(layers).state_dict())
    return inputs, outputs, layers


def _entries(table: Any, name: str) -> list[Any]:
    """A list in the file."""
    return [getattr(table, name)(place) for place in range(getattr(table, f"{name}Length")())]


def _layers(model: Any, graph: Any, shapes: Shapes) -> list["Layer"]:
    constants = {}
    for place, tensor in enumerate(_entries(graph, "Tensors")):
        buffer = model.Buffers(tensor.Buffer())
        if buffer.DataLength():
            if tensor.Type() not in _DTYPES:
                raise ValueError(f"tensor {place} is of type {tensor.Type()}, expected float32, float16 or int32")
            constants[place] = buffer.DataAsNumpy().view(_DTYPES[tensor.Type()]).reshape(shapes[place])
    layers = []
    for entry in _entries(graph, "Operators"):
        name = _OPERATORS[model.OperatorCodes(entry.OpcodeIndex()).BuiltinCode()]
        taken, (made,) = [each for each in _entries(entry, "Inputs") if each >= 0], _entries(entry, "Outputs")
        if name == "DEQUANTIZE" and taken[0] in constants:
            constants[made] = constants[taken[0]]  # layers widen half precision
            continue
        options = {}
        if entry.BuiltinOptions() is not None:
            view = getattr(tflite, _TABLES[entry.BuiltinOptionsType()])()
            view.Init(entry.BuiltinOptions().Bytes, entry.BuiltinOptions().Pos)
            options = {option: int(getattr(view, option)()) for option in _OPTIONS if hasattr(view, option)}
        inputs = [each for each in taken if each not in constants]
        fixed = [constants[each] for each in taken if each in constants]
        layers.append(Layer(name, inputs, fixed, options, made, shapes[made]))
    return layers


class Layer(nn.Module):
    """An operator of a file, with weights of its own even where the file shares a constant.

    It makes the tensor of number `output` out of those of the numbers `inputs`; `shape` is its shape for one image.
    `constants` are its weights, or integers for axes, sizes and amounts of padding.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self,
        name: str,
        inputs: list[int],
        constants: list[np.ndarray],
        options: Mapping[str, int],
        output: int,
        shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.name, self.inputs, self.options, self.output, self.shape = name, inputs, options, output, shape
        self.integers = [each.tolist() for each in constants if each.dtype.kind == "i"]
        floats = [each for each in constants if each.dtype.kind == "f"]
        if floats and name in _WEIGHT_AXES:
            floats[0] = floats[0].transpose(_WEIGHT_AXES[name])
        for part, values in zip(("weight", "bias"), (*floats, None, None), strict=False):
            own = None if values is None else nn.Parameter(torch.from_numpy(np.array(values, np.float32)))
            self.register_parameter(part, own)

    def forward(self, *values: Tensor) -> Tensor:
        return _ACTIVATIONS[self.options.get("FusedActivationFunction", 0)](self._result(*values))

    def _result(self, first: Tensor, *others: Tensor) -> Tensor:
        match self.name:
            case "ADD":
                (second,) = others
                return first + second
            case "CONCATENATION":
                values = [_file_axes(each) for each in (first, *others)]
                return _our_axes(torch.cat(values, self.options["Axis"]))
            case "CONV_2D" | "DEPTHWISE_CONV_2D":
                return self._convolution(first)
            case "FULLY_CONNECTED":
                return functional.linear(_file_axes(first).flatten(1), self.weight, self.bias)
            case "LOGISTIC":
                return torch.sigmoid(first)
            case "MAX_POOL_2D":
                size = self.options["FilterHeight"], self.options["FilterWidth"]
                padded = functional.pad(first, self._margins(size, first), value=-math.inf)
                return functional.max_pool2d(padded, size, self._stride())
            case "MEAN" if self.integers == [[1, 2]]:
                return first.mean((2, 3))
            case "PAD":
                _, rows, columns, channels = self.integers[0]
                return functional.pad(first, [*columns, *rows, *channels])
            case "PRELU":
                return functional.prelu(first, self.weight.flatten())
            case "RESHAPE":
                return _our_axes(_file_axes(first).reshape(len(first), *self.shape[1:]))
            case "RESIZE_BILINEAR":
                return functional.interpolate(first, self.integers[0], mode="bilinear", align_corners=False)
        raise ValueError("is no operator of the hand networks")

    def _convolution(self, image: Tensor) -> Tensor:
        left, right, above, below = margins = self._margins(self.weight.shape[2:], image)
        padding = above, left
        if above != below or left != right:
            image, padding = functional.pad(image, margins), (0, 0)
        groups = len(self.weight) if self.name == "DEPTHWISE_CONV_2D" else 1
        return functional.conv2d(image, self.weight, self.bias, self._stride(), padding, groups=groups)

    def _stride(self) -> tuple[int, int]:
        return self.options["StrideH"], self.options["StrideW"]

    def _margins(self, size: Sequence[int], image: Tensor) -> list[int]:
        """Pixels that a filter needs left, right, above and below; an odd one comes right or below."""
        margins = []
        for reach, stride, extent in zip(size, self._stride(), image.shape[2:], strict=True):
            total = max((math.ceil(extent / stride) - 1) * stride + reach - extent, 0)
            margins.append((total // 2, total - total // 2) if self.options["Padding"] == _SAME else (0, 0))
        return [*margins[1], *margins[0]]


def _file_axes(values: Tensor) -> Tensor:
    return values.permute(0, 2, 3, 1) if values.ndim == 4 else values


def _our_axes(values: Tensor) -> Tensor:
    return values.permute(0, 3, 1, 2) if values.ndim == 4 else values
