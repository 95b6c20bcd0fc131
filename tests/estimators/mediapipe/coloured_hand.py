"""A network that sees coloured spots for a hand, so that where it finds it is known exactly; palms at given places."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from handloom.estimators.mediapipe.landmark_network import HandLandmarks, LandmarkNetwork
from handloom.estimators.mediapipe.palm_detector import PalmDetector

from .small_tflite import landmark_file, palm_file


class SpotNetwork(LandmarkNetwork):
    """A red spot is the wrist and a green one the middle finger's tip; other joints lie evenly between them.

    Presence is 0.9 for a hand that is upright to within 60 degrees, and 0.3 otherwise. Joints are the key points over
    1000, with a depth that grows with the joint's number. A blue spot makes it a left hand.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(landmark_file(folder / "spots.tflite"))
        self.seen = 0

    def forward(self, image: Tensor) -> HandLandmarks:
        self.seen += len(image)
        wrist, tip = (_centre(image[:, channel]) for channel in (0, 1))
        share = torch.linspace(0, 1, 21, device=image.device)[:, None]
        points = wrist[:, None] * (1 - share) + tip[:, None] * share
        along = tip - wrist
        upright = -along[:, 1] > 0.5 * along.norm(dim=1)
        lit = (image[:, :2].amax((-1, -2)) > 0.3).all(1)
        presence = torch.where(lit, torch.where(upright, 0.9, 0.3), 0.0)
        depth = torch.arange(21, device=image.device).expand(len(image), -1)[..., None] / 1000
        handedness = torch.where(image[:, 2].amax((-1, -2)) > 0.5, 0.1, 0.9)
        return HandLandmarks(
            torch.cat([points, depth], -1), presence, handedness, torch.cat([points / 1000, depth], -1)
        )


def _centre(light: Tensor) -> Tensor:
    """The centre of light, in pixels from the corner."""
    cells = torch.arange(light.shape[-1], device=light.device) + 0.5
    weight = light.square()
    total = weight.sum((-1, -2)).clamp_min(1e-9)
    return torch.stack([(weight.sum(-2) * cells).sum(-1) / total, (weight.sum(-1) * cells).sum(-1) / total], -1)


def spots_picture(wrist: tuple[float, float], tip: tuple[float, float], *, left: bool = False) -> np.ndarray:
    """A dark picture of 160 x 120 pixels with the two spots, blurred by 2 pixels."""
    y, x = np.mgrid[:120, :160]
    picture = np.zeros((120, 160, 3))
    for channel, spot in enumerate((wrist, tip, tip if left else None)):
        if spot is not None:
            picture[..., channel] = 255 * np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / 8)
    return picture.astype(np.uint8)


def palms_at(folder: Path, *places: tuple[float, float], surest: float = 3.0) -> PalmDetector:
    """Finds upright palms of 30 pixels at these places of every picture of 160 x 120; the first is the surest."""
    numbers, logits = np.zeros((2016, 18)), np.full((2016, 1), -9.0)
    scale = 192 / 160
    for row, (x, y) in enumerate(places):
        anchor = 2 * 24 * row
        origin = np.array([0.5 / 24, (row + 0.5) / 24]) * 192
        centre = (np.array([x, y]) + 0.5 + [0, 20]) * scale - origin
        points = np.tile(centre, (7, 1))
        points[0] += [0, 15 * scale]
        points[2] -= [0, 15 * scale]
        numbers[anchor] = np.concatenate([centre, [30 * scale, 30 * scale], points.reshape(-1)])
        logits[anchor] = surest - row
    return PalmDetector.of(palm_file(folder / "palms.tflite", numbers=numbers, logits=logits))
