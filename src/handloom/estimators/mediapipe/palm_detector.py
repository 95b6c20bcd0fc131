"""MediaPipe's palm detector: boxes and seven key points of the palms in a picture of any size."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from handloom.estimators.mediapipe.graph_network import GraphNetwork
from handloom.estimators.mediapipe.landmark_network import network_input
from handloom.estimators.mediapipe.tflite_file import Graph, read_graph
from handloom.estimators.mediapipe.upright_squares import (
    UprightSquares,
    in_image,
    square_crops,
    squares_about_palms,
)
from handloom.runtime.errors import InputError

INPUT_PX = 192
KEYPOINTS = 7
PALM_WRIST, PALM_MIDDLE_BASE = 0, 2
"""Places of the wrist and of the middle finger's base among the key points."""
_CELLS_AND_ANCHORS = ((24, 2), (12, 6))
"""Rows of cells, and anchors in each: strides of 8 pixels, and three times 16, each with two."""
_NUMBERS = 4 + 2 * KEYPOINTS
_LOWEST_SCORE, _OVERLAP = 0.5, 0.3


class Palms(NamedTuple):
    """Palms of one picture in its pixels, the surest first."""

    score: Float[Tensor, " palms"]
    centre_px: Float[Tensor, "palms 2"]
    size_px: Float[Tensor, "palms 2"]
    """Width and height of the upright box."""
    keypoints_px: Float[Tensor, "palms 7 2"]
    """Wrist, bases of index, middle, ring and pinky, and two places at the thumb's base."""

    def squares(self) -> UprightSquares:
        """Where the landmark network should look."""
        wrist, middle = self.keypoints_px[:, PALM_WRIST], self.keypoints_px[:, PALM_MIDDLE_BASE]
        return squares_about_palms(self.centre_px, self.size_px, wrist, middle)


def anchors() -> Float[Tensor, "2016 2"]:
    """Centres (x, y) that the network's answers are relative to, in shares of the picture's side; all of size 1."""
    layers = []
    for cells, count in _CELLS_AND_ANCHORS:
        places = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
        row, column = torch.meshgrid(places, places, indexing="ij")
        layers.append(torch.stack([column, row], -1).reshape(-1, 2).repeat_interleave(count, 0))
    return torch.cat(layers)


class PalmDetector(nn.Module):
    """RGB pictures of 192 pixels to the box, key points and score of each of 2016 anchors."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        count = len(anchors())
        found = [graph.shapes[each] for each in graph.inputs], [graph.shapes[each] for each in graph.outputs]
        if found != ([(1, INPUT_PX, INPUT_PX, 3)], [(1, count, _NUMBERS), (1, count, 1)]):
            raise InputError(
                f"{graph.source}: is no palm detector: it takes {found[0]} and gives {found[1]}, expected one RGB "
                f"image of {INPUT_PX} pixels, {(1, count, _NUMBERS)} and {(1, count, 1)}; MediaPipe's "
                "palm_detection_full.tflite is one"
            )
        self.graph = GraphNetwork(graph)

    @classmethod
    def of(cls, path: Path, device: torch.device | str = "cpu") -> "PalmDetector":
        """The network of a .tflite file; raises InputError as `read_graph` does, and for another network."""
        return cls(read_graph(path)).to(device).eval()

    def forward(
        self, image: Float[Tensor, "batch 3 192 192"]
    ) -> tuple[Float[Tensor, "batch 2016 9 2"], Float[Tensor, "batch 2016"]]:
        """Per anchor the box's centre, its size and seven key points as shares of the picture's side, and the score."""
        numbers, logits = self.graph(image)
        points = numbers.unflatten(2, (_NUMBERS // 2, 2)) / INPUT_PX
        offset = torch.zeros_like(points[0])
        offset[:] = anchors().to(points)[:, None]
        offset[:, 1] = 0.0  # the size is relative to no place
        return points + offset, torch.sigmoid(logits[..., 0].clamp(-100.0, 100.0))

    @torch.no_grad()
    def detect(self, image: UInt8[np.ndarray, "height width 3"], lowest_score: float = _LOWEST_SCORE) -> Palms:
        """The palms of a picture, which is fitted into a black square; overlapping answers become one."""
        height, width = image.shape[:2]
        centre = torch.tensor([[(width - 1) / 2, (height - 1) / 2]], dtype=torch.float64)
        whole = UprightSquares(centre, torch.tensor([float(max(height, width))]).double(), torch.zeros(1).double())
        crop = square_crops(image, whole, INPUT_PX, black_outside=True)
        device = next(self.parameters()).device
        points, scores = (values[0].double().cpu() for values in self(network_input(crop, device)))
        likely = scores >= lowest_score
        points, scores = merged_answers(points[likely], scores[likely])
        pixels = INPUT_PX * torch.cat([points[:, :1], points[:, 2:]], 1)
        placed = in_image(pixels.reshape(1, -1, 2), whole, INPUT_PX).reshape(pixels.shape)
        return Palms(scores, placed[:, 0], points[:, 1] * max(height, width), placed[:, 1:])


def merged_answers(
    points: Float[Tensor, "answers 9 2"], scores: Float[Tensor, " answers"]
) -> tuple[Float[Tensor, "palms 9 2"], Float[Tensor, " palms"]]:
    """The surest answer and those whose boxes overlap it by more than 0.3 become their mean by score; then the rest."""
    order = scores.argsort(descending=True, stable=True)
    points, scores = points[order], scores[order]
    merged, best = [], []
    while len(scores):
        same = overlaps(points[:1], points)[0] > _OVERLAP
        same[0] = True
        weight = scores[same] / scores[same].sum()
        merged.append((weight[:, None, None] * points[same]).sum(0))
        best.append(scores[0])
        points, scores = points[~same], scores[~same]
    return (torch.stack(merged), torch.stack(best)) if merged else (points, scores)


def overlaps(first: Float[Tensor, "a 9 2"], second: Float[Tensor, "b 9 2"]) -> Float[Tensor, "a b"]:
    """Intersection over union of the boxes, whose centres and sizes are the first two points."""
    low = torch.maximum((first[:, 0] - first[:, 1] / 2)[:, None], (second[:, 0] - second[:, 1] / 2)[None])
    high = torch.minimum((first[:, 0] + first[:, 1] / 2)[:, None], (second[:, 0] + second[:, 1] / 2)[None])
    shared = (high - low).clamp_min(0.0).prod(-1)
    union = first[:, 1].prod(-1)[:, None] + second[:, 1].prod(-1)[None] - shared
    return shared / union.clamp_min(1e-12)
