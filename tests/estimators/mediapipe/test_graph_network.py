"""Graphs rebuilt as modules: whose weights they are, that they can be trained, and graphs that do not fit together."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from handloom.estimators.mediapipe.graph_network import GraphNetwork
from handloom.runtime.errors import InputError

from .small_tflite import SmallGraph, network, random

STRIDES = {"StrideH": 1, "StrideW": 1}


def one(
    folder: Path, name: str, shape: tuple[int, ...], *constants: np.ndarray, made: Any = None, **options: int
) -> GraphNetwork:
    """A graph of one operator on a tensor of a shape; `made` is the shape it says that it makes."""
    graph = SmallGraph()
    image = graph.computed(*shape)
    output = graph.add(name, [image, *map(graph.constant, constants)], *(made or shape), **options)
    return network(graph, folder, [image], [output])


def test_operators_that_share_a_constant_have_weights_of_their_own(tmp_path: Path) -> None:
    """MediaPipe's palm detector shares one bias of zeros among all of its filters by channel."""
    graph = SmallGraph()
    image = graph.computed(1, 2, 2, 1)
    weight, bias = graph.constant(np.ones((1, 1, 1, 1), "f4")), graph.constant(np.zeros(1, "f4"))
    first = graph.add("CONV_2D", [image, weight, bias], 1, 2, 2, 1, **STRIDES)
    second = graph.add("CONV_2D", [first, weight, bias], 1, 2, 2, 1, **STRIDES)
    built = network(graph, tmp_path, [image], [first, second])
    assert list(built.state_dict()) == ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"]
    with torch.no_grad():
        built.layers[0].bias += 1.0
    before, after = built(torch.zeros(3, 1, 2, 2))
    assert before.unique().tolist() == [1.0]
    assert after.unique().tolist() == [1.0]
    assert built.layers[1].bias.tolist() == [0.0]


def test_gradients_reach_every_weight_and_agree_with_differences(tmp_path: Path) -> None:
    graph = SmallGraph()
    image = graph.computed(1, 6, 6, 2)
    depth = graph.add(
        *("DEPTHWISE_CONV_2D", [image, graph.constant(random(1, 3, 3, 2)), graph.constant(random(2))], 1, 3, 3, 2),
        **{"StrideH": 2, "StrideW": 2, "DepthMultiplier": 1},
    )
    bent = graph.add("PRELU", [depth, graph.constant(random(1, 1, 2))], 1, 3, 3, 2)
    mean = graph.add("MEAN", [bent, graph.constant(np.array([1, 2], "i4"))], 1, 2)
    output = graph.add("FULLY_CONNECTED", [mean, graph.constant(random(3, 2)), graph.constant(random(3))], 1, 3)
    built = network(graph, tmp_path, [image], [output]).double()
    images = torch.from_numpy(random(2, 2, 6, 6, seed=5)).double().requires_grad_()
    assert all(weight.requires_grad for weight in built.parameters())
    names, weights = zip(*built.named_parameters(), strict=True)

    def run(picture: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(built, dict(zip(names, values, strict=True)), picture)[0]

    assert torch.autograd.gradcheck(run, (images, *weights))
    built(images)[0].sum().backward()
    assert all(weight.grad is not None and bool((weight.grad != 0).any()) for weight in built.parameters())


@pytest.mark.parametrize(
    ("name", "shape", "constants", "options", "words"),
    [
        ("CONV_2D", (1, 2, 2, 3), [random(4, 1, 1, 2)], STRIDES, r"has filters \(4, 1, 1, 2\) for 3 channels"),
        ("CONV_2D", (1, 2, 2, 3), [random(4, 1, 1, 3), random(5)], STRIDES, "has 4 outputs, but a bias of 5"),
        ("CONV_2D", (1, 2, 2, 3), [random(4, 1, 1, 3)], {"StrideH": 0, "StrideW": 1}, "expected 1 to 64"),
        ("CONV_2D", (1, 2, 2, 3), [random(4, 1, 1, 3)], {**STRIDES, "FusedActivationFunction": 4}, "activation 4"),
        ("CONV_2D", (1, 2, 2, 3), [], STRIDES, "needs a constant of numbers as input 1"),
        ("DEPTHWISE_CONV_2D", (1, 2, 2, 3), [random(1, 1, 1, 6)], STRIDES, "expected one for each"),
        ("FULLY_CONNECTED", (1, 6), [random(2, 5)], {}, "one column for each number"),
        ("PRELU", (1, 2, 2, 3), [random(1, 2, 3)], {}, r"has slopes \(1, 2, 3\) for 3 channels"),
        ("ADD", (1, 6), [random(1, 6)], {}, "needs 2 inputs that are computed"),
        ("MEAN", (1, 2, 2, 3), [np.array([0], "i4")], {}, "expected axes of an image"),
        ("MEAN", (1, 2, 2, 3), [np.array([4], "i4")], {}, "expected axes of an image"),
        ("PAD", (1, 2, 2, 3), [np.full((4, 2), -1, "i4")], {}, "expected none below 0"),
        ("RESIZE_BILINEAR", (1, 2, 2, 3), [np.array([4, 4], "i4")], {}, "AlignCorners 0, HalfPixelCenters 0"),
        ("CONCATENATION", (1, 2, 2, 3), [], {"Axis": 0}, "expected an axis of an image"),
        ("MAX_POOL_2D", (1, 6), [], {**STRIDES, "FilterHeight": 2, "FilterWidth": 2}, "expected rows, columns"),
        ("MAX_POOL_2D", (1, 2, 2, 3), [], {**STRIDES, "FilterHeight": 2**30, "FilterWidth": 2}, "expected 1 to 64"),
    ],
)
def test_an_operator_that_does_not_fit_is_named(
    tmp_path: Path, name: str, shape: tuple[int, ...], constants: list[np.ndarray], options: dict[str, int], words: str
) -> None:
    with pytest.raises(InputError, match=rf"small\.tflite: operator 0 \({name}\) .*{words}"):
        one(tmp_path, name, shape, *constants, **options)


@pytest.mark.parametrize(
    ("name", "constant", "options"),
    [
        ("PAD", np.array([[0, 0], [0, 2**30], [0, 2**30], [0, 2**30]], "i4"), {}),
        ("RESIZE_BILINEAR", np.array([2**30, 2**30], "i4"), {"HalfPixelCenters": 1}),
    ],
)
def test_sizes_are_checked_before_anything_is_so_large(
    tmp_path: Path, name: str, constant: np.ndarray, options: dict[str, int]
) -> None:
    """These graphs ask for exabytes, which they do not declare."""
    with pytest.raises(InputError, match=r"small\.tflite: its operators do not fit together"):
        one(tmp_path, name, (1, 2, 2, 3), constant, **options)


def test_a_graph_of_several_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected one, of one image"):
        one(tmp_path, "LOGISTIC", (2, 4))
