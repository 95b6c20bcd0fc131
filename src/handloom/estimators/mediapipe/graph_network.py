"""A .tflite graph as a torch module whose weights can be trained further."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from handloom.estimators.mediapipe.operators import (
    NO_ACTIVATION,
    RELU,
    RELU6,
    Concatenation,
    Convolution,
    FullyConnected,
    Logistic,
    MaxPool,
    Mean,
    Pad,
    Prelu,
    Reshape,
    ResizeBilinear,
    Sum,
)
from handloom.estimators.mediapipe.tflite_file import Graph, Operator
from handloom.runtime.errors import InputError

_LARGEST_STEP = 64


class GraphNetwork(nn.Module):
    """The operators of a graph, one after the other; the weights of operator k are `layers.k.weight` and `.bias`.

    Each operator has weights of its own, even where the file shares a constant. Raises InputError for operators whose
    constants or options do not fit together; no result of a graph's run is larger than the file declares.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        if len(graph.inputs) != 1 or graph.shapes[graph.inputs[0]][:1] != (1,):
            raise InputError(f"{graph.source}: has {len(graph.inputs)} inputs; expected one, of one image")
        self._input, self._outputs = graph.inputs[0], graph.outputs
        self._shapes = [_our_shape(shape) for shape in graph.shapes]
        constants = set(graph.constants)
        self._steps = [
            (operator.name, [each for each in operator.inputs if each not in constants and each >= 0], operator.output)
            for operator in graph.operators
        ]
        uses = [(each, place) for place, (_, taken, _) in enumerate(self._steps) for each in taken]
        last = dict(uses)
        self._done = [
            [each for each in set(taken) if last[each] == place and each not in graph.outputs]
            for place, (_, taken, _) in enumerate(self._steps)
        ]
        layers = []
        for index, operator in enumerate(graph.operators):
            try:
                layers.append(_BUILDERS[operator.name](graph, operator))
            except _Unfit as error:
                raise InputError(f"{graph.source}: operator {index} ({operator.name}) {error}") from error
        self.layers = nn.ModuleList(layers)
        self._try_without_memory(graph.source)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The graph's outputs, in its order, for images (batch, channels, rows, columns)."""
        known = {self._input: image}
        for (name, taken, made), layer, done in zip(self._steps, self.layers, self._done, strict=True):
            result = layer(*(known[each] for each in taken))
            if tuple(result.shape[1:]) != self._shapes[made][1:]:
                found, expected = tuple(result.shape[1:]), self._shapes[made][1:]
                raise RuntimeError(f"{name} makes {found} of an image where {expected} is declared")
            known[made] = result
            for each in done:
                del known[each]
        return [known[each] for each in self._outputs]

    def _try_without_memory(self, source: str) -> None:
        """Run once with shapes only, so that a file's sizes are checked before anything of such a size exists."""
        shapes_only = {name: value.detach().to("meta") for name, value in self.named_parameters()}
        try:
            torch.func.functional_call(self, shapes_only, torch.empty(self._shapes[self._input], device="meta"))
        except (RuntimeError, ValueError, IndexError, TypeError, KeyError) as error:
            raise InputError(f"{source}: its operators do not fit together ({error})") from error


class _Unfit(ValueError):
    """What is wrong with an operator, as the end of a sentence that names it."""


def _our_shape(shape: Sequence[int]) -> tuple[int, ...]:
    return (shape[0], shape[3], shape[1], shape[2]) if len(shape) == 4 else tuple(shape)


def _constant(graph: Graph, operator: Operator, place: int, kind: str, rank: int | None = None) -> np.ndarray:
    """A constant among the operator's inputs: "f" for weights, "i" for sizes and axes."""
    values = graph.constants.get(operator.inputs[place]) if place < len(operator.inputs) else None
    if values is None or values.dtype.kind != kind or (rank is not None and values.ndim != rank):
        raise _Unfit(
            f"needs a constant of {'numbers' if kind == 'f' else 'integers'} as input {place}, of fitting rank"
        )
    return values


def _bias(graph: Graph, operator: Operator, outputs: int) -> np.ndarray | None:
    if len(operator.inputs) < 3 or operator.inputs[2] < 0:
        return None
    bias = _constant(graph, operator, 2, "f", 1)
    if len(bias) != outputs:
        raise _Unfit(f"has {outputs} outputs, but a bias of {len(bias)}")
    return bias


def _computed(graph: Graph, operator: Operator, count: int) -> tuple[int, ...]:
    """The shape of the first input; the first `count` inputs must be no constants."""
    if len(operator.inputs) < count or any(each < 0 or each in graph.constants for each in operator.inputs[:count]):
        raise _Unfit(f"needs {count} inputs that are computed")
    return graph.shapes[operator.inputs[0]]


def _image(graph: Graph, operator: Operator) -> tuple[int, ...]:
    shape = _computed(graph, operator, 1)
    if len(shape) != 4:
        raise _Unfit(f"takes a tensor of shape {shape}; expected rows, columns and channels")
    return shape


def _activation(operator: Operator) -> int:
    number = operator.options["FusedActivationFunction"]
    if number not in (NO_ACTIVATION, RELU, RELU6):
        raise _Unfit(f"has the activation {number}; expected none, ReLU or ReLU6")
    return number


def _check_steps(operator: Operator) -> None:
    steps = {name: value for name, value in operator.options.items() if name[:3] in ("Str", "Dil", "Fil")}
    wrong = {name: value for name, value in steps.items() if not 1 <= value <= _LARGEST_STEP}
    if wrong or operator.options["Padding"] not in (0, 1):
        raise _Unfit(f"has {wrong or operator.options['Padding']}; expected 1 to {_LARGEST_STEP}, padding 0 or 1")


def _convolution(graph: Graph, operator: Operator) -> nn.Module:
    channels, weight = _image(graph, operator)[3], _constant(graph, operator, 1, "f", 4)
    _activation(operator)
    _check_steps(operator)
    if weight.shape[3] != channels:
        raise _Unfit(f"has filters {weight.shape} for {channels} channels")
    return Convolution(weight, _bias(graph, operator, weight.shape[0]), operator.options, by_channel=False)


def _convolution_by_channel(graph: Graph, operator: Operator) -> nn.Module:
    channels, weight = _image(graph, operator)[3], _constant(graph, operator, 1, "f", 4)
    _activation(operator)
    _check_steps(operator)
    if weight.shape[0] != 1 or weight.shape[3] != channels:
        raise _Unfit(f"has filters {weight.shape} for {channels} channels; expected one for each")
    return Convolution(weight, _bias(graph, operator, channels), operator.options, by_channel=True)


def _fully_connected(graph: Graph, operator: Operator) -> nn.Module:
    shape, weight = _computed(graph, operator, 1), _constant(graph, operator, 1, "f", 2)
    if operator.options["WeightsFormat"] or operator.options["KeepNumDims"] or math.prod(shape[1:]) != weight.shape[1]:
        raise _Unfit(f"has weights {weight.shape} for {shape}; expected one column for each number, and plain weights")
    return FullyConnected(weight, _bias(graph, operator, len(weight)), _activation(operator))


def _prelu(graph: Graph, operator: Operator) -> nn.Module:
    channels, slope = _image(graph, operator)[3], _constant(graph, operator, 1, "f", 3)
    if slope.shape != (1, 1, channels):
        raise _Unfit(f"has slopes {slope.shape} for {channels} channels; expected one for each")
    return Prelu(slope)


def _sum(graph: Graph, operator: Operator) -> nn.Module:
    first = _computed(graph, operator, 2)
    if graph.shapes[operator.inputs[1]] != first:
        raise _Unfit(f"adds {graph.shapes[operator.inputs[1]]} to {first}; expected equal shapes")
    return Sum(_activation(operator))


def _mean(graph: Graph, operator: Operator) -> nn.Module:
    rank, axes = len(_computed(graph, operator, 1)), _constant(graph, operator, 1, "i")
    places = [int(axis) for axis in axes.reshape(-1)]
    if not places or any(not -rank <= axis < rank or axis % rank == 0 for axis in places):
        raise _Unfit(f"is over the axes {places} of {rank}; expected axes of an image")
    return Mean(places, rank, keep=bool(operator.options["KeepDims"]))


def _max_pool(graph: Graph, operator: Operator) -> nn.Module:
    _image(graph, operator)
    _activation(operator)
    _check_steps(operator)
    return MaxPool(operator.options)


def _pad(graph: Graph, operator: Operator) -> nn.Module:
    _image(graph, operator)
    amounts = _constant(graph, operator, 1, "i", 2)
    if amounts.shape != (4, 2) or (amounts < 0).any() or amounts[0].any():
        raise _Unfit(f"has the amounts {amounts.tolist()}; expected none below 0, and none of the batch")
    return Pad(amounts)


def _resize(graph: Graph, operator: Operator) -> nn.Module:
    _image(graph, operator)
    size = _constant(graph, operator, 1, "i", 1)
    align, centres = operator.options["AlignCorners"], operator.options["HalfPixelCenters"]
    if size.shape != (2,) or (size < 1).any() or bool(align) == bool(centres):
        raise _Unfit(
            f"has size {size.tolist()}, AlignCorners {align}, HalfPixelCenters {centres}; expected one of both"
        )
    return ResizeBilinear((int(size[0]), int(size[1])), align_corners=bool(align))


def _reshape(graph: Graph, operator: Operator) -> nn.Module:
    _computed(graph, operator, 1)
    return Reshape(graph.shapes[operator.output][1:])


def _concatenation(graph: Graph, operator: Operator) -> nn.Module:
    rank, axis = len(_computed(graph, operator, len(operator.inputs))), operator.options["Axis"]
    if not -rank <= axis < rank or axis % rank == 0:
        raise _Unfit(f"is along axis {axis} of {rank}; expected an axis of an image")
    return Concatenation(axis, rank, _activation(operator))


def _logistic(graph: Graph, operator: Operator) -> nn.Module:
    _computed(graph, operator, 1)
    return Logistic()


_BUILDERS: dict[str, Callable[[Graph, Operator], nn.Module]] = {
    "ADD": _sum,
    "CONCATENATION": _concatenation,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution_by_channel,
    "FULLY_CONNECTED": _fully_connected,
    "LOGISTIC": _logistic,
    "MAX_POOL_2D": _max_pool,
    "MEAN": _mean,
    "PAD": _pad,
    "PRELU": _prelu,
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize,
}
