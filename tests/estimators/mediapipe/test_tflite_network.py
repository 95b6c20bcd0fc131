"""Networks from .tflite files: each operator against sums written out, and what is refused with which words."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from handloom.estimators.mediapipe.landmark_network import LandmarkNetwork
from handloom.runtime.errors import InputError

from .small_tflite import SmallGraph, landmark_file, random

IMAGE = ROWS, COLUMNS, CHANNELS = 5, 6, 3
IMAGES = 3 * random(2, *IMAGE, seed=9)
ACTIVATIONS = {0: lambda x: x, 1: lambda x: np.maximum(x, 0), 3: lambda x: np.clip(x, 0, 6)}
STRIDES = {"StrideH": 1, "StrideW": 1}


def answer(graph: SmallGraph, folder: Path, output: int) -> np.ndarray:
    """What the network makes of the two images, with its axes as in the file."""
    found = graph.network(folder, output)(torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy()))[0].detach()
    return (found.permute(0, 2, 3, 1) if found.ndim == 4 else found).numpy()


def windows(size: tuple[int, int], stride: tuple[int, int], same: bool, outside: float) -> np.ndarray:
    """For every output pixel the pixels under the filter: (2, rows, columns, filter rows, filter columns, channels)."""
    outputs, padded = [], IMAGES
    for axis, (extent, reach, step) in enumerate(zip(IMAGE[:2], size, stride, strict=True), start=1):
        count = math.ceil(extent / step) if same else (extent - reach) // step + 1
        total = max((count - 1) * step + reach - extent, 0) if same else 0
        widths = [(0, 0)] * 4
        widths[axis] = (total // 2, total - total // 2)
        padded = np.pad(padded, widths, constant_values=outside)
        outputs.append(count)
    view = np.lib.stride_tricks.sliding_window_view(padded, size, (1, 2))[:, :: stride[0], :: stride[1]]
    return view[:, : outputs[0], : outputs[1]].transpose(0, 1, 2, 4, 5, 3)


@pytest.mark.parametrize(
    ("size", "stride", "same", "activation"),
    [((1, 1), (1, 1), True, 0), ((3, 3), (2, 2), True, 3), ((2, 5), (1, 3), True, 1), ((3, 2), (2, 1), False, 0)],
)
def test_convolutions(
    tmp_path: Path, size: tuple[int, int], stride: tuple[int, int], same: bool, activation: int
) -> None:
    """An odd zero goes after the picture, not before: torch's own padding is symmetric."""
    seen = windows(size, stride, same, 0.0)
    options = {"StrideH": stride[0], "StrideW": stride[1], "Padding": int(not same)}
    options["FusedActivationFunction"] = activation
    for name, weight, formula in (
        ("CONV_2D", random(4, *size, CHANNELS, seed=1), "brcijk,oijk->brco"),
        ("DEPTHWISE_CONV_2D", random(1, *size, CHANNELS, seed=3), "brcijk,oijk->brck"),
    ):
        expected = np.einsum(formula, seen, weight)
        bias = random(expected.shape[-1], seed=2)
        graph = SmallGraph(1, *IMAGE)
        output = graph.add(name, [0, graph.constant(weight), graph.constant(bias)], 1, *expected.shape[1:], **options)
        np.testing.assert_allclose(answer(graph, tmp_path, output), ACTIVATIONS[activation](expected + bias), atol=2e-5)


def test_a_convolution_in_half_precision_without_bias(tmp_path: Path) -> None:
    graph, weight = SmallGraph(1, *IMAGE), random(2, 1, 1, CHANNELS)
    output = graph.add("CONV_2D", [0, graph.half(weight), -1], 1, ROWS, COLUMNS, 2, **STRIDES)
    expected = IMAGES @ weight[:, 0, 0].astype("f2").astype("f4").T
    np.testing.assert_allclose(answer(graph, tmp_path, output), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "stride", "same"), [((2, 2), (2, 2), True), ((3, 2), (2, 1), False), ((3, 3), (1, 1), True)]
)
def test_the_largest_of_a_window(tmp_path: Path, size: tuple[int, int], stride: tuple[int, int], same: bool) -> None:
    """Values below 0 at the edge are not lost to padding."""
    expected = windows(size, stride, same, -np.inf).max((3, 4))
    graph = SmallGraph(1, *IMAGE)
    options = {"StrideH": stride[0], "StrideW": stride[1], "FilterHeight": size[0], "FilterWidth": size[1]}
    output = graph.add("MAX_POOL_2D", [0], 1, *expected.shape[1:], Padding=int(not same), **options)
    np.testing.assert_array_equal(answer(graph, tmp_path, output), expected)


def test_sum_slopes_padding_and_mean(tmp_path: Path) -> None:
    graph, slope = SmallGraph(1, *IMAGE), random(1, 1, CHANNELS)
    bent = graph.add("PRELU", [0, graph.constant(slope)], 1, *IMAGE)
    both = graph.add("ADD", [0, bent], 1, *IMAGE, FusedActivationFunction=1)
    amounts = np.array([[0, 0], [1, 2], [0, 3], [4, 0]], "i4")
    wider = graph.add("PAD", [both, graph.constant(amounts)], 1, ROWS + 3, COLUMNS + 3, CHANNELS + 4)
    expected = np.pad(np.maximum(IMAGES + np.where(IMAGES > 0, IMAGES, slope * IMAGES), 0), amounts)
    np.testing.assert_allclose(answer(graph, tmp_path, wider), expected, atol=1e-6)
    mean = graph.add("MEAN", [wider, graph.constant(np.array([1, 2], "i4"))], 1, CHANNELS + 4)
    np.testing.assert_allclose(answer(graph, tmp_path, mean), expected.mean((1, 2)), atol=1e-6)


def test_every_number_to_every_output_in_the_files_order(tmp_path: Path) -> None:
    graph, weight, bias = SmallGraph(1, *IMAGE), random(4, ROWS * COLUMNS * CHANNELS), random(4)
    inputs = [0, graph.constant(weight), graph.constant(bias)]
    output = graph.add("FULLY_CONNECTED", inputs, 1, 4, FusedActivationFunction=3)
    likely = graph.add("LOGISTIC", [output], 1, 4)
    expected = np.clip(IMAGES.reshape(2, -1) @ weight.T + bias, 0, 6)
    np.testing.assert_allclose(answer(graph, tmp_path, output), expected, atol=1e-4)
    np.testing.assert_allclose(answer(graph, tmp_path, likely), 1 / (1 + np.exp(-expected)), atol=1e-5)


def test_shapes_and_joins_keep_the_files_order(tmp_path: Path) -> None:
    graph = SmallGraph(1, *IMAGE)
    other = graph.add("RESHAPE", [0], 1, COLUMNS, ROWS, CHANNELS)
    flat = graph.add("RESHAPE", [other], 1, ROWS * COLUMNS, CHANNELS)
    twice = graph.add("CONCATENATION", [flat, flat], 1, 2 * ROWS * COLUMNS, CHANNELS, Axis=1)
    wide = graph.add("CONCATENATION", [0, 0], 1, ROWS, COLUMNS, 2 * CHANNELS, Axis=-1)
    np.testing.assert_array_equal(answer(graph, tmp_path, other), IMAGES.reshape(2, COLUMNS, ROWS, CHANNELS))
    rows = IMAGES.reshape(2, -1, CHANNELS)
    np.testing.assert_array_equal(answer(graph, tmp_path, twice), np.concatenate([rows, rows], 1))
    np.testing.assert_array_equal(answer(graph, tmp_path, wide), np.concatenate([IMAGES, IMAGES], 3))


def test_bilinear_resizing_between_pixel_centres(tmp_path: Path) -> None:
    graph = SmallGraph(1, *IMAGE)
    size = 2 * ROWS, 3 * COLUMNS
    sizes = graph.constant(np.array(size, "i4"))
    output = graph.add("RESIZE_BILINEAR", [0, sizes], 1, *size, CHANNELS, HalfPixelCenters=1)

    def weights(old: int, new: int) -> np.ndarray:
        """Row i: the shares of the old pixels in new pixel i."""
        at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(old)))

    expected = np.einsum("ir,jc,brck->bijk", weights(ROWS, size[0]), weights(COLUMNS, size[1]), IMAGES)
    np.testing.assert_allclose(answer(graph, tmp_path, output), expected, atol=1e-5)


def test_operators_that_share_a_constant_have_weights_of_their_own(tmp_path: Path) -> None:
    """MediaPipe's palm detector shares one bias of zeros among all of its filters by channel."""
    graph = SmallGraph(1, 2, 2, 1)
    weight, bias = graph.constant(np.ones((1, 1, 1, 1), "f4")), graph.constant(np.zeros(1, "f4"))
    first = graph.add("CONV_2D", [0, weight, bias], 1, 2, 2, 1, **STRIDES)
    second = graph.add("CONV_2D", [first, weight, bias], 1, 2, 2, 1, **STRIDES)
    network = graph.network(tmp_path, first, second)
    assert list(network.state_dict()) == ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"]
    with torch.no_grad():
        network.layers[0].bias += 1.0
    assert [each.unique().tolist() for each in network(torch.zeros(3, 1, 2, 2))] == [[1.0], [1.0]]
    assert network.layers[1].bias.tolist() == [0.0]


@pytest.mark.parametrize(
    ("name", "constants", "options", "words"),
    [
        ("SOFTMAX", [], {}, "is no operator of the hand networks"),
        ("CONV_2D", [random(4, 1, 1, 2)], STRIDES, "channel"),
        ("CONV_2D", [random(4, 1, 1, 3)], {"StrideW": 1}, r"has StrideH 0, expected range\(1, 65\)"),
        ("CONV_2D", [random(4, 1, 1, 3)], {**STRIDES, "FusedActivationFunction": 4}, "has FusedActivationFunction 4"),
        ("CONV_2D", [random(4, 1, 1, 3)], {**STRIDES, "DilationWFactor": 2}, "has DilationWFactor 2"),
        ("CONV_2D", [], STRIDES, "NoneType"),
        ("ADD", [random(1, 2, 2, 3)], {}, "not enough values"),
        ("MEAN", [np.array([0], "i4")], {}, "is no operator"),
        ("RESIZE_BILINEAR", [np.array([2, 2], "i4")], {}, "has HalfPixelCenters 0"),
        ("MAX_POOL_2D", [], {**STRIDES, "FilterHeight": 2**30, "FilterWidth": 2}, "has FilterHeight 1073741824"),
        ("PAD", [np.array([[0, 0], [0, 1], [0, 0], [0, 0]], "i4")], {}, r"makes \(1, 3, 2, 3\), expected"),
        ("RESIZE_BILINEAR", [np.array([2**20, 2**20], "i4")], {"HalfPixelCenters": 1}, r"makes \(1, 1048576, "),
        ("PRELU", [random(1, 2, 3)], {}, "RuntimeError"),
    ],
)
def test_an_operator_that_does_not_fit_is_named(
    tmp_path: Path, name: str, constants: list[np.ndarray], options: dict[str, int], words: str
) -> None:
    graph = SmallGraph(1, 2, 2, 3)
    inputs = [0, *map(graph.constant, constants)]
    with pytest.raises(
        InputError, match=rf"small\.tflite: operator 0, {name}, cannot be rebuilt .*({words}).*small one"
    ):
        graph.network(tmp_path, graph.add(name, inputs, 1, 2, 2, 3, **options))


def test_tensors_that_are_not_what_they_say(tmp_path: Path) -> None:
    for values, shape, words in (
        (np.zeros((1, 4), "f4"), (1, 5), "cannot reshape"),
        (np.zeros(3, "i1"), (3,), "tensor 2 is of type 9, expected float32"),
    ):
        graph = SmallGraph(1, 4)
        output = graph.add("LOGISTIC", [0], 1, 4)
        graph.constant(values, shape)
        with pytest.raises(InputError, match=rf"small\.tflite: cannot be read.*{words}"):
            graph.network(tmp_path, output)


def test_a_tensor_that_nothing_makes(tmp_path: Path) -> None:
    graph = SmallGraph(1, 4)
    later = graph.add("LOGISTIC", [0], 1, 4)
    graph.operators.insert(0, ("ADD", [0, later], graph.add("LOGISTIC", [0], 1, 4), {}))
    with pytest.raises(InputError, match=f"operator 0, ADD, cannot be rebuilt .KeyError: {later}"):
        graph.network(tmp_path, later)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        (b"", "is empty"),
        (b"PK\x03\x04 a zip archive, say", "cannot be read as a .tflite network"),
        (b"\x10\x00\x00\x00TFL3", "cannot be read as a .tflite network"),
        (b"\xff\xff\xff\x7fTFL3" + bytes(100), "cannot be read as a .tflite network"),
        (b"\x08\x00\x00\x00TFL3" + b"\xff" * 100, "cannot be read as a .tflite network"),
    ],
)
def test_other_bytes_are_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "network.tflite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"network\.tflite: .*{words}"):
        LandmarkNetwork(path)


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    """The table of contents of such a file may lie at its end or at its beginning."""
    content = landmark_file(tmp_path / "whole.tflite").read_bytes()
    path = tmp_path / "cut.tflite"
    for length in np.linspace(8, len(content) - 5, 60).astype(int):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"cut\.tflite: "):
            LandmarkNetwork(path)
