"""Reading .tflite files: what is read, and what is refused with which words, whatever the bytes are."""

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from handloom.estimators.mediapipe.graph_network import GraphNetwork
from handloom.estimators.mediapipe.tflite_file import LARGEST_FILE_BYTES, LARGEST_TENSOR, read_graph
from handloom.runtime.errors import InputError

from .small_tflite import SmallGraph, landmark_file, random


def sum_of_two(**changed: int) -> tuple[SmallGraph, int, int]:
    graph = SmallGraph(**changed)
    image = graph.computed(1, 2, 3, 4)
    return graph, image, graph.add("ADD", [image, image], 1, 2, 3, 4, FusedActivationFunction=1)


def test_shapes_constants_and_options_are_read(tmp_path: Path) -> None:
    graph = read_graph(landmark_file(tmp_path / "small.tflite"))
    assert [graph.shapes[each] for each in graph.inputs] == [(1, 224, 224, 3)]
    assert [graph.shapes[each] for each in graph.outputs] == [(1, 63), (1, 1), (1, 1), (1, 63)]
    names = [operator.name for operator in graph.operators]
    assert names[:4] == ["CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MEAN"]
    assert "DEQUANTIZE" not in names
    assert graph.operators[0].options["StrideH"] == 16
    assert graph.operators[0].options["DilationHFactor"] == 1
    weight = graph.constants[graph.operators[0].inputs[1]]
    np.testing.assert_array_equal(weight, random(4, 3, 3, 3).astype("f2").astype("f4"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        (b"", "is no .tflite file"),
        (b"PK\x03\x04 a zip archive, say", "is no .tflite file"),
        (b"\x10\x00\x00\x00TFL3", "damaged or cut off"),
        (b"\xff\xff\xff\x7fTFL3" + bytes(100), "damaged or cut off"),
        (b"\x08\x00\x00\x00TFL3" + b"\xff" * 100, "damaged or cut off"),
    ],
)
def test_other_bytes_are_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "network.tflite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"network\.tflite: .*{words}"):
        read_graph(path)


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    """The table of contents of such a file may lie at its end or at its beginning."""
    content = landmark_file(tmp_path / "whole.tflite").read_bytes()
    path = tmp_path / "cut.tflite"
    for length in np.linspace(8, len(content) - 5, 60).astype(int):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"cut\.tflite: "):
            read_graph(path)


def test_changed_bytes_give_an_input_error_or_a_network_and_no_large_allocation(tmp_path: Path) -> None:
    """Offsets, counts, shapes and types of a hostile file are all among the bytes that are changed here."""
    content = landmark_file(tmp_path / "whole.tflite").read_bytes()
    generator = np.random.default_rng(0)
    path = tmp_path / "changed.tflite"
    told: list[str] = []
    GraphNetwork(read_graph(tmp_path / "whole.tflite"))  # what torch loads for its first shapes does not count
    tracemalloc.start()
    for _ in range(100):
        changed = bytearray(content)
        for _ in range(generator.integers(1, 4)):
            place = 4 * int(generator.integers(2, len(content) // 4 - 1))
            value = int(generator.choice([0, 1, -1, 2**31 - 1, -(2**31), int(generator.integers(0, 2000)), 1 << 20]))
            struct.pack_into("<i", changed, place, value)
        path.write_bytes(bytes(changed))
        try:
            GraphNetwork(read_graph(path))
        except InputError as error:
            told.append(str(error))
    largest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(told) > 40
    assert all("changed.tflite" in words for words in told)
    assert largest < 5e6


def test_what_the_networks_do_not_have_is_named(tmp_path: Path) -> None:
    graph = SmallGraph()
    image = graph.computed(1, 4)
    output = graph.add("SOFTMAX", [image], 1, 4, Beta=1)
    with pytest.raises(InputError, match=r"operator 0 is SOFTMAX, which is not supported; expected ADD, CONCATENATION"):
        read_graph(graph.write(tmp_path / "a.tflite", [image], [output]))
    graph, image, output = sum_of_two()
    graph.constant(np.zeros(3, "i1"))
    with pytest.raises(InputError, match=r"tensor 2 is of type 9; expected float32, float16 or int32"):
        read_graph(graph.write(tmp_path / "b.tflite", [image], [output]))
    graph, image, output = sum_of_two(version=2)
    with pytest.raises(InputError, match="is of version 2 with 1 graphs"):
        read_graph(graph.write(tmp_path / "c.tflite", [image], [output]))
    graph = SmallGraph()
    image = graph.computed(1, 4)
    output = graph.add("DEQUANTIZE", [image], 1, 4)
    with pytest.raises(InputError, match=r"\(DEQUANTIZE\) widens no float16 constant"):
        read_graph(graph.write(tmp_path / "d.tflite", [image], [output]))


def test_tensors_that_are_not_what_they_say(tmp_path: Path) -> None:
    for shape, words in (
        ((1, LARGEST_TENSOR + 1), "at most"),
        ((1, -4), "positive extents"),
        ((1, 2, 1, 1, 2), "has 5 axes"),
        ((1, 5), "has 16 bytes, expected 20"),
    ):
        graph, image, output = sum_of_two()
        graph.constant(np.zeros((1, 4), "f4"), shape)
        with pytest.raises(InputError, match=f"tensor 2 .*{words}"):
            read_graph(graph.write(tmp_path / "a.tflite", [image], [output]))
    for value in (np.nan, np.inf):
        graph, image, output = sum_of_two()
        graph.constant(np.array([0.0, value], "f2"))
        with pytest.raises(InputError, match="tensor 2 holds NaN or infinite weights"):
            read_graph(graph.write(tmp_path / "b.tflite", [image], [output]))


def test_an_operator_that_takes_what_is_not_there_yet(tmp_path: Path) -> None:
    graph = SmallGraph()
    image, later = graph.computed(1, 4), graph.computed(1, 4)
    output = graph.add("ADD", [image, later], 1, 4)
    with pytest.raises(InputError, match=r"operator 0 \(ADD\) takes tensors \[1\]"):
        read_graph(graph.write(tmp_path / "a.tflite", [image], [output]))
    graph = SmallGraph()
    graph.constant(np.zeros((1, 4), "f4"))
    with pytest.raises(InputError, match=r"its inputs \(\) and outputs"):
        read_graph(graph.write(tmp_path / "b.tflite", [], [0]))
    graph, image, _ = sum_of_two()
    with pytest.raises(InputError, match=r"outputs \(7,\) are not all tensors"):
        read_graph(graph.write(tmp_path / "c.tflite", [image], [7]))


def test_one_large_constant_that_is_used_a_thousand_times(tmp_path: Path) -> None:
    """Four megabytes in the file would become gigabytes of weights."""
    graph = SmallGraph()
    image = graph.computed(1, 1)
    large = graph.constant(np.zeros((10**6, 1), "f4"))
    outputs = [graph.add("FULLY_CONNECTED", [image, large], 1, 10**6) for _ in range(1000)]
    with pytest.raises(InputError, match=r"a\.tflite: its constants take more than"):
        read_graph(graph.write(tmp_path / "a.tflite", [image], outputs[:1]))


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.tflite"
    with path.open("wb") as file:
        file.truncate(LARGEST_FILE_BYTES + 1)
    with pytest.raises(InputError, match=r"huge\.tflite: has \d+ bytes"):
        read_graph(path)
