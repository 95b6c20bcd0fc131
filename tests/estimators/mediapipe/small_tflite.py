"""Small .tflite files, written for tests with the schema's own builder, and small networks in MediaPipe's places."""

from collections.abc import Sequence
from pathlib import Path

import flatbuffers
import numpy as np
import tflite

from handloom.estimators.mediapipe.graph_network import GraphNetwork
from handloom.estimators.mediapipe.tflite_file import read_graph

KINDS = {np.dtype("f4"): 0, np.dtype("f2"): 1, np.dtype("i4"): 2, np.dtype("i1"): 9}
OPTIONS = {
    "ADD": "AddOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "SOFTMAX": "SoftmaxOptions",
}


class SmallGraph:
    """A graph that grows operator by operator, and its file."""

    def __init__(self, version: int = 3) -> None:
        self.version = version
        self.tensors: list[tuple[tuple[int, ...], int, int]] = []
        self.buffers: list[bytes] = [b""]
        self.operators: list[tuple[str, list[int], int, dict[str, int]]] = []

    def computed(self, *shape: int, kind: str = "f4") -> int:
        """A tensor without values; its number."""
        self.tensors.append((shape, KINDS[np.dtype(kind)], 0))
        return len(self.tensors) - 1

    def constant(self, values: np.ndarray, shape: tuple[int, ...] | None = None) -> int:
        """A tensor whose values the file holds; `shape` may lie about them."""
        self.buffers.append(values.tobytes())
        self.tensors.append((values.shape if shape is None else shape, KINDS[values.dtype], len(self.buffers) - 1))
        return len(self.tensors) - 1

    def add(self, name: str, inputs: Sequence[int], *shape: int, **options: int) -> int:
        """An operator and the tensor it makes; that tensor's number."""
        output = self.computed(*shape)
        self.operators.append((name, list(inputs), output, options))
        return output

    def half(self, values: np.ndarray) -> int:
        """A constant in half precision and the DEQUANTIZE that widens it; the wide tensor's number."""
        return self.add("DEQUANTIZE", [self.constant(values.astype("f2"))], *values.shape)

    def content(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The bytes of the file."""
        builder = flatbuffers.Builder(1024)
        names = sorted({name for name, *_ in self.operators})
        numbers = [getattr(tflite.BuiltinOperator, name) for name in names]

        def vector(values: Sequence[int], start: object) -> int:
            start(builder, len(values))  # type: ignore[operator]
            for value in reversed(values):
                builder.PrependUOffsetTRelative(value)
            return int(builder.EndVector())

        def table(start: str, **fields: int) -> int:
            getattr(tflite, f"{start}Start")(builder)
            for field, value in fields.items():
                getattr(tflite, f"{start}Add{field}")(builder, value)
            return int(getattr(tflite, f"{start}End")(builder))

        def integers(values: Sequence[int]) -> int:
            return int(builder.CreateNumpyVector(np.array(values, np.int32)))

        buffers = []
        for data in self.buffers:
            filled = {"Data": builder.CreateNumpyVector(np.frombuffer(data, np.uint8))} if data else {}
            buffers.append(table("Buffer", **filled))
        tensors = [
            table("Tensor", Shape=integers(shape), Type=kind, Buffer=buffer) for shape, kind, buffer in self.tensors
        ]
        operators = []
        for name, taken, made, options in self.operators:
            fields = {"OpcodeIndex": names.index(name), "Inputs": integers(taken), "Outputs": integers([made])}
            if name in OPTIONS:
                fields["BuiltinOptions"] = table(OPTIONS[name], **options)
                fields["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, OPTIONS[name])
            operators.append(table("Operator", **fields))
        codes = [table("OperatorCode", BuiltinCode=number, DeprecatedBuiltinCode=number) for number in numbers]
        graph = table(
            "SubGraph",
            Tensors=vector(tensors, tflite.SubGraphStartTensorsVector),
            Inputs=integers(inputs),
            Outputs=integers(outputs),
            Operators=vector(operators, tflite.SubGraphStartOperatorsVector),
        )
        model = table(
            "Model",
            Version=self.version,
            OperatorCodes=vector(codes, tflite.ModelStartOperatorCodesVector),
            Subgraphs=vector([graph], tflite.ModelStartSubgraphsVector),
            Buffers=vector(buffers, tflite.ModelStartBuffersVector),
        )
        builder.Finish(model, file_identifier=b"TFL3")
        return bytes(builder.Output())

    def write(self, path: Path, inputs: Sequence[int], outputs: Sequence[int]) -> Path:
        """The file at `path`."""
        path.write_bytes(self.content(inputs, outputs))
        return path


def network(graph: SmallGraph, folder: Path, inputs: Sequence[int], outputs: Sequence[int]) -> GraphNetwork:
    """The graph written, read and rebuilt."""
    return GraphNetwork(read_graph(graph.write(folder / "small.tflite", inputs, outputs)))


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Normal values in single precision."""
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype("f4")


def landmark_file(path: Path, seed: int = 0) -> Path:
    """A file with the inputs, outputs and kinds of operators of hand_landmark_full.tflite, and 4 channels."""
    graph = SmallGraph()
    image = graph.computed(1, 224, 224, 3)
    first = graph.add(
        "CONV_2D",
        [image, graph.half(random(4, 3, 3, 3, seed=seed)), graph.half(random(4, seed=seed + 1))],
        *(1, 14, 14, 4),
        **{"StrideH": 16, "StrideW": 16, "Padding": 0, "FusedActivationFunction": 3},
    )
    second = graph.add(
        "DEPTHWISE_CONV_2D",
        [first, graph.half(random(1, 3, 3, 4, seed=seed + 2)), graph.half(random(4, seed=seed + 3))],
        *(1, 14, 14, 4),
        **{"StrideH": 1, "StrideW": 1, "Padding": 0, "DepthMultiplier": 1},
    )
    both = graph.add("ADD", [first, second], 1, 14, 14, 4)
    mean = graph.add("MEAN", [both, graph.constant(np.array([1, 2], "i4"))], 1, 4)

    def numbers(count: int, seed: int) -> int:
        return graph.add(
            "FULLY_CONNECTED", [mean, graph.half(random(count, 4, seed=seed)), graph.half(random(count))], 1, count
        )

    outputs = [
        numbers(63, seed + 4),
        graph.add("LOGISTIC", [numbers(1, seed + 5)], 1, 1),
        graph.add("LOGISTIC", [numbers(1, seed + 6)], 1, 1),
        numbers(63, seed + 7),
    ]
    return graph.write(path, [image], outputs)


def palm_file(path: Path, *, numbers: np.ndarray | None = None, logits: np.ndarray | None = None) -> Path:
    """A palm detector whose answer does not depend on the picture: 2016 x 18 numbers and logits (zeros and -9)."""
    graph = SmallGraph()
    image = graph.computed(1, 192, 192, 3)
    values = {
        18: np.zeros((2016, 18)) if numbers is None else numbers,
        1: np.full((2016, 1), -9.0) if logits is None else logits,
    }
    mean = graph.add("MEAN", [image, graph.constant(np.array([1, 2], "i4"))], 1, 3)
    outputs = []
    for width, answer in values.items():
        weight, bias = np.zeros((answer.size, 3), "f4"), answer.reshape(-1).astype("f4")
        flat = graph.add("FULLY_CONNECTED", [mean, graph.constant(weight), graph.constant(bias)], 1, answer.size)
        shape = graph.constant(np.array([1, 2016, width], "i4"))
        outputs.append(graph.add("RESHAPE", [flat, shape], 1, 2016, width))
    return graph.write(path, [image], outputs)
