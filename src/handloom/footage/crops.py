"""Squares of frames as the networks see them, one hand a frame."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from handloom.estimators.mediapipe.upright_squares import UprightSquares, square_crops
from handloom.footage.hands_file import FootageHands
from handloom.runtime.config.footage import FootageSettings
from handloom.runtime.images import read_rgb

MEDIAPIPE_PX = 224


def crop_px(settings: FootageSettings) -> int:
    """Side of the configured network's input."""
    return MEDIAPIPE_PX if settings.backend == "mediapipe" else settings.detnet.input_px


def squares_of(hands: FootageHands, rows: np.ndarray) -> UprightSquares:
    """The squares of some frames."""
    return UprightSquares(*(torch.from_numpy(each[rows]) for each in (hands.centre_px, hands.side_px, hands.angle_rad)))


def cut_crops(
    images: Sequence[Path],
    squares: UprightSquares,
    size_px: int,
    *,
    mirrored: bool = False,
    black_outside: bool = False,
) -> UInt8[np.ndarray, "hands size size 3"]:
    """RGB crops, the i-th square of the i-th picture; beyond a picture its edge goes on, or all is black."""
    crops = np.empty((len(images), size_px, size_px, 3), np.uint8)
    for row, path in enumerate(images):
        here = squares.chosen(torch.tensor([row]))
        crops[row] = square_crops(read_rgb(path), here, size_px, black_outside=black_outside)[0]
    return np.ascontiguousarray(crops[:, :, ::-1]) if mirrored else crops
