"""Each operator of .tflite graphs against sums written out, in the file's own order of axes."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from .small_tflite import SmallGraph, network, random

ROWS, COLUMNS, CHANNELS = 5, 6, 3
IMAGES = random(2, ROWS, COLUMNS, CHANNELS, seed=9, scale=3.0)
INPUT = torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy())
ACTIVATIONS = {0: lambda x: x, 1: lambda x: np.maximum(x, 0), 3: lambda x: np.clip(x, 0, 6)}


def image_graph() -> tuple[SmallGraph, int]:
    graph = SmallGraph()
    return graph, graph.computed(1, ROWS, COLUMNS, CHANNELS)


def answer(graph: SmallGraph, folder: Path, image: int, output: int) -> np.ndarray:
    """What the network makes of the two images, with its axes as in the file."""
    found: Tensor = network(graph, folder, [image], [output])(INPUT)[0].detach()
    return (found.permute(0, 2, 3, 1) if found.ndim == 4 else found).numpy()


def windows(size: tuple[int, int], stride: tuple[int, int], same: bool, outside: float) -> np.ndarray:
    """For every output pixel the pixels under the filter: (2, rows, columns, filter rows, filter columns, channels)."""
    outputs, padded = [], IMAGES
    for axis, (extent, reach, step) in enumerate(zip((ROWS, COLUMNS), size, stride, strict=True), start=1):
        count = math.ceil(extent / step) if same else (extent - reach) // step + 1
        total = max((count - 1) * step + reach - extent, 0) if same else 0
        widths = [(0, 0)] * 4
        widths[axis] = (total // 2, total - total // 2)
        padded = np.pad(padded, widths, constant_values=outside)
        outputs.append(count)
    return np.array(
        [
            [
                [
                    image[r * stride[0] : r * stride[0] + size[0], c * stride[1] : c * stride[1] + size[1]]
                    for c in range(outputs[1])
                ]
                for r in range(outputs[0])
            ]
            for image in padded
        ]
    )


@pytest.mark.parametrize(
    ("size", "stride", "same", "activation"),
    [((1, 1), (1, 1), True, 0), ((3, 3), (2, 2), True, 3), ((2, 5), (1, 3), True, 1), ((3, 2), (2, 1), False, 0)],
)
def test_convolutions(
    tmp_path: Path, size: tuple[int, int], stride: tuple[int, int], same: bool, activation: int
) -> None:
    """An odd zero goes after the picture, not before: torch's own padding is symmetric."""
    seen = windows(size, stride, same, 0.0)
    options = {
        "StrideH": stride[0],
        "StrideW": stride[1],
        "Padding": 0 if same else 1,
        "FusedActivationFunction": activation,
    }
    weight, bias = random(4, *size, CHANNELS, seed=1), random(4, seed=2)
    graph, image = image_graph()
    output = graph.add(
        "CONV_2D", [image, graph.constant(weight), graph.constant(bias)], 1, *seen.shape[1:3], 4, **options
    )
    expected = ACTIVATIONS[activation](np.einsum("brcijk,oijk->brco", seen, weight) + bias)
    np.testing.assert_allclose(answer(graph, tmp_path, image, output), expected, atol=2e-5)

    weight, bias = random(1, *size, CHANNELS, seed=3), random(CHANNELS, seed=4)
    graph, image = image_graph()
    output = graph.add(
        *("DEPTHWISE_CONV_2D", [image, graph.constant(weight), graph.constant(bias)]),
        *(1, *seen.shape[1:3], CHANNELS),
        **options,
        DepthMultiplier=1,
    )
    expected = ACTIVATIONS[activation](np.einsum("brcijk,ijk->brck", seen, weight[0]) + bias)
    np.testing.assert_allclose(answer(graph, tmp_path, image, output), expected, atol=2e-5)


def test_a_convolution_in_half_precision_without_bias(tmp_path: Path) -> None:
    graph, image = image_graph()
    weight = random(2, 1, 1, CHANNELS)
    output = graph.add("CONV_2D", [image, graph.half(weight), -1], 1, ROWS, COLUMNS, 2, StrideH=1, StrideW=1)
    expected = IMAGES @ weight[:, 0, 0].astype("f2").astype("f4").T
    np.testing.assert_allclose(answer(graph, tmp_path, image, output), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "stride", "same"), [((2, 2), (2, 2), True), ((3, 2), (2, 1), False), ((3, 3), (1, 1), True)]
)
def test_the_largest_of_a_window(tmp_path: Path, size: tuple[int, int], stride: tuple[int, int], same: bool) -> None:
    """Values below 0 at the edge are not lost to padding."""
    seen = windows(size, stride, same, -np.inf)
    graph, image = image_graph()
    options = {"StrideH": stride[0], "StrideW": stride[1], "FilterHeight": size[0], "FilterWidth": size[1]}
    output = graph.add("MAX_POOL_2D", [image], 1, *seen.shape[1:3], CHANNELS, Padding=0 if same else 1, **options)
    np.testing.assert_array_equal(answer(graph, tmp_path, image, output), seen.max((3, 4)))


def test_sum_slopes_padding_and_mean(tmp_path: Path) -> None:
    graph, image = image_graph()
    slope = random(1, 1, CHANNELS)
    bent = graph.add("PRELU", [image, graph.constant(slope)], 1, ROWS, COLUMNS, CHANNELS)
    both = graph.add("ADD", [image, bent], 1, ROWS, COLUMNS, CHANNELS, FusedActivationFunction=1)
    amounts = np.array([[0, 0], [1, 2], [0, 3], [4, 0]], "i4")
    wider = graph.add("PAD", [both, graph.constant(amounts)], 1, ROWS + 3, COLUMNS + 3, CHANNELS + 4)
    expected = np.pad(np.maximum(IMAGES + np.where(IMAGES > 0, IMAGES, slope * IMAGES), 0), amounts)
    np.testing.assert_allclose(answer(graph, tmp_path, image, wider), expected, atol=1e-6)
    rows = graph.add("MEAN", [wider, graph.constant(np.array([-2], "i4"))], 1, ROWS + 3, CHANNELS + 4)
    np.testing.assert_allclose(answer(graph, tmp_path, image, rows), expected.mean(2), atol=1e-6)
    kept = graph.add("MEAN", [wider, graph.constant(np.array([1, 2], "i4"))], 1, 1, 1, CHANNELS + 4, KeepDims=1)
    np.testing.assert_allclose(answer(graph, tmp_path, image, kept), expected.mean((1, 2), keepdims=True), atol=1e-6)


def test_every_number_to_every_output_in_the_files_order(tmp_path: Path) -> None:
    graph, image = image_graph()
    weight, bias = random(4, ROWS * COLUMNS * CHANNELS), random(4)
    inputs = [image, graph.constant(weight), graph.constant(bias)]
    output = graph.add("FULLY_CONNECTED", inputs, 1, 4, FusedActivationFunction=3)
    likely = graph.add("LOGISTIC", [output], 1, 4)
    expected = np.clip(IMAGES.reshape(2, -1) @ weight.T + bias, 0, 6)
    np.testing.assert_allclose(answer(graph, tmp_path, image, output), expected, atol=1e-4)
    np.testing.assert_allclose(answer(graph, tmp_path, image, likely), 1 / (1 + np.exp(-expected)), atol=1e-5)


def test_shapes_and_joins_keep_the_files_order(tmp_path: Path) -> None:
    graph, image = image_graph()
    shape = graph.constant(np.array([1, COLUMNS, ROWS, CHANNELS], "i4"))
    other = graph.add("RESHAPE", [image, shape], 1, COLUMNS, ROWS, CHANNELS)
    flat = graph.add("RESHAPE", [other, shape], 1, ROWS * COLUMNS, CHANNELS)
    twice = graph.add("CONCATENATION", [flat, flat], 1, 2 * ROWS * COLUMNS, CHANNELS, Axis=1)
    wide = graph.add("CONCATENATION", [image, image], 1, ROWS, COLUMNS, 2 * CHANNELS, Axis=-1)
    reordered = IMAGES.reshape(2, COLUMNS, ROWS, CHANNELS)
    np.testing.assert_array_equal(answer(graph, tmp_path, image, other), reordered)
    rows = IMAGES.reshape(2, -1, CHANNELS)
    np.testing.assert_array_equal(answer(graph, tmp_path, image, twice), np.concatenate([rows, rows], 1))
    np.testing.assert_array_equal(answer(graph, tmp_path, image, wide), np.concatenate([IMAGES, IMAGES], 3))


@pytest.mark.parametrize("centres", [True, False])
def test_bilinear_resizing_between_pixel_centres_or_corners(tmp_path: Path, centres: bool) -> None:
    graph, image = image_graph()
    size = graph.constant(np.array([2 * ROWS, 3 * COLUMNS], "i4"))
    output = graph.add(
        *("RESIZE_BILINEAR", [image, size], 1, 2 * ROWS, 3 * COLUMNS, CHANNELS),
        **({"HalfPixelCenters": 1} if centres else {"AlignCorners": 1}),
    )

    def weights(old: int, new: int) -> np.ndarray:
        """Row i: the shares of the old pixels in new pixel i."""
        at = (np.arange(new) + 0.5) * old / new - 0.5 if centres else np.arange(new) * (old - 1) / (new - 1)
        at = np.clip(at, 0, old - 1)
        return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(old)))

    expected = np.einsum("ir,jc,brck->bijk", weights(ROWS, 2 * ROWS), weights(COLUMNS, 3 * COLUMNS), IMAGES)
    np.testing.assert_allclose(answer(graph, tmp_path, image, output), expected, atol=1e-5)
