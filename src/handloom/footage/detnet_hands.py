"""The hand of each frame by DetNet, which is told where the hand is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from handloom.estimators.detnet.checkpoint import load_checkpoint
from handloom.estimators.detnet.network import DetNet
from handloom.estimators.detnet.prediction import network_input
from handloom.estimators.detnet.readout import read_out
from handloom.estimators.mediapipe.upright_squares import UprightSquares, in_image
from handloom.footage.crops import cut_crops
from handloom.footage.seen_hands import SeenHands
from handloom.hand.joints import Side
from handloom.reconstruction.detnet_hands import heat_centres
from handloom.reconstruction.hand_squares import box_squares
from handloom.runtime.config.footage import FootageSettings
from handloom.runtime.errors import InputError

_BATCH = 64


@dataclass(frozen=True)
class DetNetFinder:
    """DetNet on squares of twice the boxes; a hand counts where the mean confidence of its joints is enough."""

    network: DetNet
    least_confidence: float
    device: str

    @classmethod
    def of(cls, settings: FootageSettings, checkpoint: Path, device: str) -> "DetNetFinder":
        """The configured network; raises InputError as `load_checkpoint` does."""
        network = load_checkpoint(checkpoint, settings.detnet, settings.root_joint).to(device)
        return cls(network, settings.least_confidence, device)

    def __call__(self, images: Sequence[Path], boxes_px: Float[np.ndarray, "frames 4"] | None, side: Side) -> SeenHands:
        """The hands in the boxes; raises InputError without any."""
        if boxes_px is None:
            raise InputError("footage: DetNet needs boxes of the hand (left_boxes, right_boxes); it cannot find one")
        seen = SeenHands.none(len(images))
        rows = np.flatnonzero(np.isfinite(boxes_px).all(1))
        boxes = box_squares(boxes_px[rows])
        straight = torch.zeros(len(rows), dtype=torch.float64)
        squares = UprightSquares(torch.from_numpy(boxes.centre_px), torch.from_numpy(boxes.side_px), straight)
        size, mirrored = self.network.settings.input_px, side == "left"
        crops = cut_crops([images[row] for row in rows.tolist()], squares, size, mirrored=mirrored, black_outside=True)
        answers = []
        with torch.no_grad():
            for some in torch.from_numpy(crops).split(_BATCH):
                maps = self.network(network_input(some.to(self.device)))
                found = read_out(maps)
                answers.append(
                    [each.cpu().double() for each in (found.joints, found.confidence, heat_centres(maps.heat))]
                )
        if not answers:
            return seen
        joints, confidence, places = (torch.cat(parts) for parts in zip(*answers, strict=True))
        if mirrored:
            places = torch.stack([1 - places[..., 0], places[..., 1]], -1)
        keypoints = in_image(size * places, squares, size)
        score = confidence.mean(1).clamp(0, 1)
        sure = (score >= self.least_confidence).numpy()
        seen.fill(
            rows[sure],
            squares.chosen(torch.from_numpy(sure)),
            **{
                name: value[torch.from_numpy(sure)].numpy()
                for name, value in (
                    ("presence", score),
                    ("keypoints_px", keypoints),
                    ("joints", joints),
                    ("confidence", confidence.clamp(0, 1)),
                )
            },
        )
        return seen
