"""MediaPipe's palm detector: boxes and seven key points of the palms in a picture of any size.

Its numbers are those of mediapipe/modules/palm_detection/palm_detection_cpu.pbtxt in MediaPipe's public repository.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, UInt8
from torch import Tensor, nn

from handloom.estimators.hands.squares import Squares, crops_of, in_picture
from handloom.estimators.mediapipe.regions import angle_from_up, widened
from handloom.estimators.mediapipe.tflite_network import TfliteNetwork, network_input

INPUT_PX = 192
_WRIST, _MIDDLE_BASE = 0, 2
"""Places of the wrist and of the middle finger's base among the seven key points."""
_CELLS_AND_ANCHORS = ((24, 2), (12, 6))
"""Rows of cells, and anchors in each: strides of 8 pixels, and three times 16, each with two."""
_SQUARE_SCALE, _SQUARE_SHIFT = 2.6, 0.5
"""Of mediapipe/modules/hand_landmark/palm_detection_detection_to_roi.pbtxt."""
_NUMBERS = 4 + 2 * 7
"""Of an answer: the box's centre and size, and the key points."""
_LARGEST_LOGIT, _SURE_SCORE, _OVERLAP = 100.0, 0.5, 0.3
"""Logits are clamped to it; answers below the score are faint; those that overlap by more are of one palm."""
_LOWEST_SCORE = 0.3
"""Faint answers below this are dropped: real hands were missed whose palm had 0.4."""


class Palms(NamedTuple):
    """Palms of one picture in its pixels, the surest first. Faint ones are for the landmark network to decide."""

    score: Float64[np.ndarray, " palms"]
    centre_px: Float64[np.ndarray, "palms 2"]
    size_px: Float64[np.ndarray, "palms 2"]
    """Width and height of the upright box."""
    keypoints_px: Float64[np.ndarray, "palms 7 2"]
    """Wrist, bases of index, middle, ring and pinky, and two places at the thumb's base."""

    @property
    def faint(self) -> Bool[np.ndarray, " palms"]:
        """Whether MediaPipe itself would leave a palm out."""
        return np.asarray(self.score < _SURE_SCORE)

    def squares(self) -> Squares:
        """Where the landmark network should look: up is from wrist to middle finger, the box moved half its height."""
        angle = angle_from_up(self.keypoints_px[:, _MIDDLE_BASE] - self.keypoints_px[:, _WRIST])
        return widened(self.centre_px, self.size_px, angle, _SQUARE_SCALE, _SQUARE_SHIFT)


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

    def __init__(self, path: Path) -> None:
        super().__init__()
        takes, gives = (1, INPUT_PX, INPUT_PX, 3), [(1, len(anchors()), _NUMBERS), (1, len(anchors()), 1)]
        self.graph = TfliteNetwork(path, "palm detector", "palm_detection_full.tflite", takes, gives)

    @classmethod
    def of(cls, path: Path, device: torch.device | str = "cpu") -> "PalmDetector":
        """The network of a .tflite file, to predict with; raises InputError as `TfliteNetwork` does."""
        return cls(path).to(device).eval()

    def forward(
        self, image: Float[Tensor, "batch 3 192 192"]
    ) -> tuple[Float[Tensor, "batch 2016 9 2"], Float[Tensor, "batch 2016"]]:
        """Per anchor the box's centre, its size and seven key points as shares of the picture's side, and the score."""
        numbers, logits = self.graph(image)
        points = numbers.unflatten(2, (_NUMBERS // 2, 2)) / INPUT_PX
        offset = anchors().to(points)[:, None].repeat(1, _NUMBERS // 2, 1)
        offset[:, 1] = 0.0  # the size is relative to no place
        return points + offset, torch.sigmoid(logits[..., 0].clamp(-_LARGEST_LOGIT, _LARGEST_LOGIT))

    @torch.no_grad()
    def detect(self, image: UInt8[np.ndarray, "height width 3"]) -> Palms:
        """The palms of a picture, which is fitted into a black square; overlapping answers become one."""
        height, width = image.shape[:2]
        centre = np.array([[(width - 1) / 2, (height - 1) / 2]])
        whole = Squares(centre, np.array([float(max(height, width))]), np.zeros(1))
        crop = torch.from_numpy(crops_of(image, whole, INPUT_PX, border=0))
        device = next(self.parameters()).device
        points, scores = (values[0].double().cpu() for values in self(network_input(crop.to(device))))
        sure = scores >= _SURE_SCORE
        merged, best = merged_answers(points[sure], scores[sure])
        # Faint answers never move a sure one.
        apart = (overlaps(points, merged) <= _OVERLAP).all(1) & (scores >= _LOWEST_SCORE) & ~sure
        points, scores = (
            torch.cat(parts) for parts in zip((merged, best), merged_answers(points[apart], scores[apart]), strict=True)
        )
        pixels = INPUT_PX * torch.cat([points[:, :1], points[:, 2:]], 1)
        in_crop = pixels.reshape(1, -1, 2).numpy() - 0.5  # pixel centres at whole numbers
        placed = in_picture(in_crop, whole, INPUT_PX).reshape(pixels.shape)
        return Palms(scores.numpy(), placed[:, 0], points[:, 1].numpy() * max(height, width), placed[:, 1:])


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
