"""Small .tflite files, written for tests with the schema's own builder, and small networks in MediaPipe's places."""

from collections.abc import Sequence
from pathlib import Path

import flatbuffers
import numpy as np
import tflite

from handloom.estimators.mediapipe.tflite_network import TfliteNetwork

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
    """A graph that grows operator by operator from one input, and its file."""

    def __init__(self, *takes: int) -> None:
        self.tensors: list[tuple[tuple[int, ...], int, int]] = [(takes, 0, 0)]
        self.buffers: list[bytes] = [b""]
        self.operators: list[tuple[str, list[int], int, dict[str, int]]] = []

    def constant(self, values: np.ndarray, shape: tuple[int, ...] | None = None) -> int:
        """A tensor whose values the file holds, and its number; `shape` may lie about them."""
        self.buffers.append(values.tobytes())
        self.tensors.append((values.shape if shape is None else shape, KINDS[values.dtype], len(self.buffers) - 1))
        return len(self.tensors) - 1

    def add(self, name: str, inputs: Sequence[int], *shape: int, **options: int) -> int:
        """An operator and the tensor it makes; that tensor's number."""
        self.tensors.append((shape, 0, 0))
        self.operators.append((name, list(inputs), len(self.tensors) - 1, options))
        return len(self.tensors) - 1

    def half(self, values: np.ndarray) -> int:
        """A constant in half precision and the DEQUANTIZE that widens it; the wide tensor's number."""
        return self.add("DEQUANTIZE", [self.constant(values.astype("f2"))], *values.shape)

    def write(self, path: Path, *outputs: int) -> Path:
        """The file at `path`."""
        builder = flatbuffers.Builder(1024)
        names = sorted({name for name, *_ in self.operators})
        numbers = [getattr(tflite.BuiltinOperator, name) for name in names]

        def vector(values: Sequence[int]) -> int:
            builder.StartVector(4, len(values), 4)
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
            Tensors=vector(tensors),
            Inputs=integers([0]),
            Outputs=integers(outputs),
            Operators=vector(operators),
        )
        model = table(
            "Model",
            Version=3,
            OperatorCodes=vector(codes),
            Subgraphs=vector([graph]),
            Buffers=vector(buffers),
        )
        builder.Finish(model, file_identifier=b"TFL3")
        path.write_bytes(bytes(builder.Output()))
        return path

    def network(self, folder: Path, *outputs: int) -> TfliteNetwork:
        """The graph written, read and rebuilt."""
        gives = [self.tensors[each][0] for each in outputs]
        path = self.write(folder / "small.tflite", *outputs)
        return TfliteNetwork(path, "small one", "none", self.tensors[0][0], gives)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal values in single precision."""
    return np.random.default_rng(seed).normal(size=shape).astype("f4")


def landmark_file(path: Path, hand_m: np.ndarray | None = None) -> Path:
    """A file with the inputs, outputs and kinds of operators of hand_landmark_full.tflite, and 4 channels.

    With `hand_m` it answers every crop with that hand (21 joints, metres), which bends a little with the crop.
    """
    graph = SmallGraph(1, 224, 224, 3)
    first = graph.add(
        "CONV_2D",
        [0, graph.half(random(4, 3, 3, 3)), graph.half(random(4, seed=1))],
        *(1, 14, 14, 4),
        **{"StrideH": 16, "StrideW": 16, "Padding": 0, "FusedActivationFunction": 3},
    )
    second = graph.add(
        "DEPTHWISE_CONV_2D",
        [first, graph.half(random(1, 3, 3, 4, seed=2)), graph.half(random(4, seed=3))],
        *(1, 14, 14, 4),
        **{"StrideH": 1, "StrideW": 1, "Padding": 0, "DepthMultiplier": 1},
    )
    both = graph.add("ADD", [first, second], 1, 14, 14, 4)
    mean = graph.add("MEAN", [both, graph.constant(np.array([1, 2], "i4"))], 1, 4)

    def numbers(count: int, seed: int, bend: float = 1.0, about: np.ndarray | None = None) -> int:
        weight, bias = bend * random(count, 4, seed=seed), random(count) if about is None else about.ravel()
        return graph.add("FULLY_CONNECTED", [mean, graph.half(weight), graph.half(bias)], 1, count)

    outputs = [
        numbers(63, 4),
        graph.add("LOGISTIC", [numbers(1, 5)], 1, 1),
        graph.add("LOGISTIC", [numbers(1, 6)], 1, 1),
        numbers(63, 7) if hand_m is None else numbers(63, 7, 0.002, hand_m),
    ]
    return graph.write(path, *outputs)


def palm_file(path: Path, *, numbers: np.ndarray | None = None, logits: np.ndarray | None = None) -> Path:
    """A palm detector whose answer does not depend on the picture: 2016 x 18 numbers and logits (zeros and -9)."""
    graph = SmallGraph(1, 192, 192, 3)
    values = {
        18: np.zeros((2016, 18)) if numbers is None else numbers,
        1: np.full((2016, 1), -9.0) if logits is None else logits,
    }
    mean = graph.add("MEAN", [0, graph.constant(np.array([1, 2], "i4"))], 1, 3)
    outputs = []
    for width, answer in values.items():
        weight, bias = np.zeros((answer.size, 3), "f4"), answer.reshape(-1).astype("f4")
        flat = graph.add("FULLY_CONNECTED", [mean, graph.constant(weight), graph.constant(bias)], 1, answer.size)
        shape = graph.constant(np.array([1, 2016, width], "i4"))
        outputs.append(graph.add("RESHAPE", [flat, shape], 1, 2016, width))
    return graph.write(path, *outputs)
