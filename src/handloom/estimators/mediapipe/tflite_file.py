"""A .tflite file as plain values: shapes, constants and operators of its one graph, all checked.

The parser (packages `tflite` and `flatbuffers`) follows the file's offsets without a verifier, so whatever it stumbles
over becomes an InputError, and nothing is allocated that the file does not hold.
"""

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tflite

from handloom.runtime.errors import InputError

LARGEST_FILE_BYTES = 64 * 2**20
LARGEST_TENSOR = 2**24
"""Elements of the largest tensor that a graph may declare, for one image; the networks of hands need 2**20."""
_IDENTIFIER = b"TFL3"
_DAMAGE = (struct.error, ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError)
"""What the parser raises for bytes that are no flat buffer, or one that was cut off."""
_CONVOLUTION = ("StrideH", "StrideW", "DilationHFactor", "DilationWFactor", "Padding", "FusedActivationFunction")
_OPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "ADD": ("AddOptions", ("FusedActivationFunction",)),
    "CONCATENATION": ("ConcatenationOptions", ("Axis", "FusedActivationFunction")),
    "CONV_2D": ("Conv2DOptions", _CONVOLUTION),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", _CONVOLUTION),
    "FULLY_CONNECTED": ("FullyConnectedOptions", ("FusedActivationFunction", "WeightsFormat", "KeepNumDims")),
    "MAX_POOL_2D": (
        "Pool2DOptions",
        ("StrideH", "StrideW", "FilterHeight", "FilterWidth", "Padding", "FusedActivationFunction"),
    ),
    "MEAN": ("ReducerOptions", ("KeepDims",)),
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", ("AlignCorners", "HalfPixelCenters")),
    **dict.fromkeys(("DEQUANTIZE", "LOGISTIC", "PAD", "PRELU", "RESHAPE"), ("", ())),
}
_DTYPES = {tflite.TensorType.FLOAT32: "<f4", tflite.TensorType.FLOAT16: "<f2", tflite.TensorType.INT32: "<i4"}
_NAMES = {value: name for name, value in vars(tflite.BuiltinOperator).items() if isinstance(value, int)}


@dataclass(frozen=True)
class Operator:
    """One step of a graph; `options` are the file's own, named as its schema names them."""

    name: str
    inputs: tuple[int, ...]
    """Numbers of the tensors it takes; -1 for one that is left out."""
    output: int
    options: Mapping[str, int]


@dataclass(frozen=True)
class Graph:
    """A network for one image: shapes are (1, rows, columns, channels) where there are rows and columns."""

    source: str
    shapes: tuple[tuple[int, ...], ...]
    constants: Mapping[int, np.ndarray]
    """float32, or int32 for axes, sizes and paddings; read-only."""
    operators: tuple[Operator, ...]
    """In an order in which each finds its inputs; half-precision constants are widened already."""
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_graph(path: Path) -> Graph:
    """The graph of a .tflite file.

    Raises InputError for a missing, truncated or damaged file, for one that is no .tflite file, and for graphs with
    operators, types or sizes that the hand networks do not have; those are named.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a .tflite network. Run the rule that fetches it")
    size = path.stat().st_size
    if size > LARGEST_FILE_BYTES:
        raise InputError(f"{path}: has {size} bytes, but networks of at most {LARGEST_FILE_BYTES} bytes are read")
    content = path.read_bytes()
    if content[4:8] != _IDENTIFIER:
        raise InputError(
            f"{path}: is no .tflite file (its bytes 4 to 8 are {content[4:8]!r}, expected {_IDENTIFIER!r})"
        )
    try:
        return _parsed(content, str(path))
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(
            f"{path}: is damaged or cut off ({type(error).__name__}: {error}); delete it and fetch it again"
        ) from error


def _parsed(content: bytes, source: str) -> Graph:
    model = tflite.Model.GetRootAs(content, 0)
    if model.Version() != 3 or model.SubgraphsLength() != 1:
        raise InputError(
            f"{source}: is of version {model.Version()} with {model.SubgraphsLength()} graphs; expected version 3, one "
            "graph"
        )
    graph = model.Subgraphs(0)
    # An entry of any list takes at least four bytes of the file, whatever the file says.
    count = _counted(content, source)
    tensors = [graph.Tensors(index) for index in range(count(graph.TensorsLength(), "tensors"))]
    shapes = tuple(_shape(tensor, index, source) for index, tensor in enumerate(tensors))
    constants: dict[int, np.ndarray] = {}
    used = _Sum(source)
    for index, tensor in enumerate(tensors):
        value = _constant(model, tensor, shapes[index], index, source)
        if value is not None:
            constants[index] = value
            used.add(value)
    inputs = tuple(int(graph.Inputs(index)) for index in range(count(graph.InputsLength(), "inputs")))
    outputs = tuple(int(graph.Outputs(index)) for index in range(count(graph.OutputsLength(), "outputs")))
    operators = []
    known = {-1, *inputs, *constants}
    for index in range(count(graph.OperatorsLength(), "operators")):
        operator = _operator(model, graph.Operators(index), index, source)
        unknown = [each for each in operator.inputs if each not in known]
        if unknown or operator.output in known or not 0 <= operator.output < len(tensors):
            raise InputError(
                f"{source}: operator {index} ({operator.name}) takes tensors {unknown or operator.inputs} and makes "
                f"{operator.output}; expected tensors that are there already, and a new one"
            )
        known.add(operator.output)
        if operator.name == "DEQUANTIZE":
            constants[operator.output] = _widened(constants, operator, index, source)
            used.add(constants[operator.output])
        else:
            operators.append(operator)
            for each in operator.inputs:
                used.add(constants.get(each))
    if not inputs or not outputs or not set(inputs + outputs) <= known - {-1}:
        raise InputError(f"{source}: its inputs {inputs} and outputs {outputs} are not all tensors of the graph")
    return Graph(source, shapes, constants, tuple(operators), inputs, outputs)


class _Sum:
    """A limit for files whose tensors or operators share one large constant a thousand times."""

    def __init__(self, source: str) -> None:
        self.source, self.used_bytes = source, 0

    def add(self, values: np.ndarray | None) -> None:
        self.used_bytes += 0 if values is None else values.nbytes
        if self.used_bytes > 4 * LARGEST_FILE_BYTES:
            raise InputError(
                f"{self.source}: its constants take more than {4 * LARGEST_FILE_BYTES} bytes when unpacked"
            )


def _counted(content: bytes, source: str) -> Callable[[int, str], int]:
    """A check that a list is no longer than the file could hold."""

    def count(length: int, what: str) -> int:
        if not 0 <= length <= len(content) // 4:
            raise InputError(f"{source}: says that it has {length} {what}, more than its {len(content)} bytes can hold")
        return length

    return count


def _shape(tensor: Any, index: int, source: str) -> tuple[int, ...]:
    rank = tensor.ShapeLength()
    if rank > 4:
        raise InputError(f"{source}: tensor {index} has {rank} axes, expected at most 4")
    shape = tuple(int(tensor.Shape(axis)) for axis in range(rank))
    if any(extent < 1 for extent in shape) or math.prod(shape) > LARGEST_TENSOR:
        raise InputError(
            f"{source}: tensor {index} is of shape {shape}; expected positive extents and at most {LARGEST_TENSOR} "
            "elements"
        )
    return shape


def _constant(model: Any, tensor: Any, shape: tuple[int, ...], index: int, source: str) -> np.ndarray | None:
    """The values that the file holds for a tensor; None for one that is computed."""
    kind = tensor.Type()
    if kind not in _DTYPES:
        raise InputError(f"{source}: tensor {index} is of type {kind}; expected float32, float16 or int32, no others")
    buffer = model.Buffers(tensor.Buffer())
    length = buffer.DataLength()
    if length == 0:
        return None
    dtype = np.dtype(_DTYPES[kind])
    if tensor.Sparsity() is not None or length != math.prod(shape) * dtype.itemsize:
        raise InputError(
            f"{source}: tensor {index} of shape {shape} and type {dtype} has {length} bytes, expected "
            f"{math.prod(shape) * dtype.itemsize}, not sparse"
        )
    values: np.ndarray = np.frombuffer(buffer.DataAsNumpy().tobytes(), dtype).reshape(shape)
    if dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError(f"{source}: tensor {index} holds NaN or infinite weights; delete the file and fetch it again")
    return values


def _operator(model: Any, operator: Any, index: int, source: str) -> Operator:
    code = model.OperatorCodes(operator.OpcodeIndex())
    number = code.BuiltinCode()
    name = _NAMES.get(number, str(number))
    if name not in _OPTIONS:
        raise InputError(
            f"{source}: operator {index} is {name}, which is not supported; expected {', '.join(sorted(_OPTIONS))}"
        )
    if operator.OutputsLength() != 1 or not 1 <= operator.InputsLength() <= 8:
        raise InputError(
            f"{source}: operator {index} ({name}) has {operator.InputsLength()} inputs and {operator.OutputsLength()} "
            "outputs; expected 1 to 8, and 1"
        )
    kind, fields = _OPTIONS[name]
    options = {}
    if fields:
        table, view = operator.BuiltinOptions(), getattr(tflite, kind)()
        if operator.BuiltinOptionsType() != getattr(tflite.BuiltinOptions, kind) or table is None:
            raise InputError(f"{source}: operator {index} ({name}) lacks its {kind}")
        view.Init(table.Bytes, table.Pos)
        options = {field: int(getattr(view, field)()) for field in fields}
    inputs = tuple(int(operator.Inputs(place)) for place in range(operator.InputsLength()))
    return Operator(name, inputs, int(operator.Outputs(0)), options)


def _widened(constants: Mapping[int, np.ndarray], operator: Operator, index: int, source: str) -> np.ndarray:
    """A half-precision constant in single precision."""
    half = constants.get(operator.inputs[0])
    if half is None or half.dtype.kind != "f":
        raise InputError(
            f"{source}: operator {index} (DEQUANTIZE) widens no float16 constant; others are not supported"
        )
    return half.astype(np.float32)
