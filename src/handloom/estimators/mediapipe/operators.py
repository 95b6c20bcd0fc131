"""The operators of .tflite graphs as torch modules, differentiable, each for a batch.

Tensors with rows and columns are (batch, channels, rows, columns) here; a file says (1, rows, columns, channels).
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

SAME = 0
"""The schema's number for padding that keeps ceil(size / stride); 1 is none."""
NO_ACTIVATION, RELU, RELU6 = 0, 1, 3
AXES = (0, 2, 3, 1)
"""Where the axes of a file's four-dimensional tensor lie in ours."""


def activated(values: Tensor, activation: int) -> Tensor:
    """The activation that is fused into an operator: none, ReLU, or ReLU cut at 6."""
    if activation == NO_ACTIVATION:
        return values
    return functional.relu(values) if activation == RELU else functional.relu6(values)


def same_padding(size: int, filter_size: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis for ceil(size / stride) results; an odd one comes after."""
    total = max((math.ceil(size / stride) - 1) * stride + filter_size - size, 0)
    return total // 2, total - total // 2


def file_order(values: Tensor) -> Tensor:
    """A tensor with its axes as in the file."""
    return values.permute(0, 2, 3, 1) if values.ndim == 4 else values


def our_order(values: Tensor) -> Tensor:
    """A tensor of the file's axes with channels in front of rows."""
    return values.permute(0, 3, 1, 2) if values.ndim == 4 else values


def parameter(values: np.ndarray) -> nn.Parameter:
    """Weights of their own, which training may change."""
    return nn.Parameter(torch.from_numpy(np.array(values, np.float32)))


class Convolution(nn.Module):
    """CONV_2D and DEPTHWISE_CONV_2D with their bias and activation."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray | None, options: Mapping[str, int], *, by_channel: bool):
        super().__init__()
        # The file has (out, rows, columns, in), and (1, rows, columns, channels) where each channel has its filter.
        self.weight = parameter(weight.transpose(3, 0, 1, 2) if by_channel else weight.transpose(0, 3, 1, 2))
        self.bias = None if bias is None else parameter(bias)
        self.stride = options["StrideH"], options["StrideW"]
        self.dilation = options["DilationHFactor"], options["DilationWFactor"]
        self.same, self.activation = options["Padding"] == SAME, options["FusedActivationFunction"]
        self.groups = weight.shape[3] if by_channel else 1

    def forward(self, features: Tensor) -> Tensor:
        padding = (0, 0)
        if self.same:
            reach = [d * (n - 1) + 1 for d, n in zip(self.dilation, self.weight.shape[2:], strict=True)]
            sizes = features.shape[2:]
            (top, bottom), (left, right) = (same_padding(*each) for each in zip(sizes, reach, self.stride, strict=True))
            if top == bottom and left == right:
                padding = top, left
            else:
                features = functional.pad(features, (left, right, top, bottom))
        result = functional.conv2d(
            features, self.weight, self.bias, self.stride, padding, self.dilation, groups=self.groups
        )
        return activated(result, self.activation)


class FullyConnected(nn.Module):
    """FULLY_CONNECTED: every number of an image to every output."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray | None, activation: int) -> None:
        super().__init__()
        self.weight, self.bias = parameter(weight), None if bias is None else parameter(bias)
        self.activation = activation

    def forward(self, features: Tensor) -> Tensor:
        flat = file_order(features).flatten(1)
        return activated(functional.linear(flat, self.weight, self.bias), self.activation)


class Prelu(nn.Module):
    """PRELU: negative values times a factor of their channel."""

    def __init__(self, slope: np.ndarray) -> None:
        super().__init__()
        self.weight = parameter(slope.reshape(-1))

    def forward(self, features: Tensor) -> Tensor:
        return functional.prelu(features, self.weight)


class Sum(nn.Module):
    """ADD of two tensors of one shape."""

    def __init__(self, activation: int) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return activated(first + second, self.activation)


class Logistic(nn.Module):
    """LOGISTIC."""

    def forward(self, values: Tensor) -> Tensor:
        return torch.sigmoid(values)


class Mean(nn.Module):
    """MEAN over some axes, given as the file counts them."""

    def __init__(self, axes: Sequence[int], rank: int, *, keep: bool) -> None:
        super().__init__()
        self.axes, self.keep = [axis % rank for axis in axes], keep

    def forward(self, features: Tensor) -> Tensor:
        return our_order(file_order(features).mean(self.axes, keepdim=self.keep))


class MaxPool(nn.Module):
    """MAX_POOL_2D."""

    def __init__(self, options: Mapping[str, int]) -> None:
        super().__init__()
        self.size = options["FilterHeight"], options["FilterWidth"]
        self.stride = options["StrideH"], options["StrideW"]
        self.same, self.activation = options["Padding"] == SAME, options["FusedActivationFunction"]

    def forward(self, features: Tensor) -> Tensor:
        if self.same:
            (top, bottom), (left, right) = (
                same_padding(*each) for each in zip(features.shape[2:], self.size, self.stride, strict=True)
            )
            if top or bottom or left or right:
                features = functional.pad(features, (left, right, top, bottom), value=-math.inf)
        return activated(functional.max_pool2d(features, self.size, self.stride), self.activation)


class Pad(nn.Module):
    """PAD with zeros; amounts before and after each axis, in the file's order."""

    def __init__(self, amounts: np.ndarray) -> None:
        super().__init__()
        # torch counts from the last axis.
        self.amounts = [int(side) for axis in (3, 2, 1, 0) for side in amounts[AXES.index(axis)]]

    def forward(self, features: Tensor) -> Tensor:
        return functional.pad(features, self.amounts)


class ResizeBilinear(nn.Module):
    """RESIZE_BILINEAR between pixel centres, or between the corner pixels."""

    def __init__(self, size: tuple[int, int], *, align_corners: bool) -> None:
        super().__init__()
        self.size, self.align_corners = size, align_corners

    def forward(self, features: Tensor) -> Tensor:
        return functional.interpolate(features, self.size, mode="bilinear", align_corners=self.align_corners)


class Reshape(nn.Module):
    """RESHAPE of each image, in the file's order of axes."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, values: Tensor) -> Tensor:
        return our_order(file_order(values).reshape(len(values), *self.shape))


class Concatenation(nn.Module):
    """CONCATENATION along an axis, given as the file counts it."""

    def __init__(self, axis: int, rank: int, activation: int) -> None:
        super().__init__()
        axis %= rank
        self.axis = AXES[axis] if rank == 4 else axis
        self.activation = activation

    def forward(self, *values: Tensor) -> Tensor:
        return activated(torch.cat(values, self.axis), self.activation)
