"""Hands in pictures: the landmark network on upright squares, whose direction is known or found by trying."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from handloom.estimators.mediapipe.landmark_network import INPUT_PX, HandLandmarks, LandmarkNetwork, network_input
from handloom.estimators.mediapipe.upright_squares import (
    TURNS,
    UprightSquares,
    in_image,
    in_image_axes,
    square_crops,
    squares_about_keypoints,
    turned,
)

Picture = UInt8[np.ndarray, "height width 3"]


class UprightHands(NamedTuple):
    """One hand per square, in its whole picture; differentiable where the network is."""

    keypoints_px: Float[Tensor, "hands 21 2"]
    """SNAP; pixel centres at whole numbers."""
    joints_m: Float[Tensor, "hands 21 3"]
    """SNAP, metres, about the hand's centre, along the axes of a camera that looks at the square's centre and is not
    turned: x right, y down, z forward as in the picture."""
    presence: Float[Tensor, " hands"]
    handedness: Float[Tensor, " hands"]
    """Probability of a right hand."""
    squares: UprightSquares

    def chosen(self, rows: Tensor) -> "UprightHands":
        """Those that an index or a mask picks."""
        values = [value[rows] for value in self[:4]]
        return UprightHands(values[0], values[1], values[2], values[3], self.squares.chosen(rows))


def placed(landmarks: HandLandmarks, squares: UprightSquares) -> UprightHands:
    """The network's answers for crops of these squares, brought into their pictures."""
    return UprightHands(
        in_image(landmarks.keypoints_crop_px[..., :2], squares, INPUT_PX),
        in_image_axes(landmarks.joints_m, squares),
        landmarks.presence,
        landmarks.handedness,
        squares,
    )


@torch.no_grad()
def landmarks_in_crops(
    network: LandmarkNetwork, crops_u8: UInt8[np.ndarray, "hands 224 224 3"], batch_size: int = 16
) -> HandLandmarks:
    """The network's answers in the crops' own axes, on the CPU in double precision."""
    device = next(network.parameters()).device
    answers = []
    for start in range(0, len(crops_u8), batch_size):
        answer = network(network_input(crops_u8[start : start + batch_size], device))
        answers.append([value.cpu().double() for value in answer])
    if not answers:
        empty = torch.zeros(0, dtype=torch.float64)
        return HandLandmarks(empty.new_zeros(0, 21, 3), empty, empty, empty.new_zeros(0, 21, 3))
    return HandLandmarks(*(torch.cat(values) for values in zip(*answers, strict=True)))


def hands_in_crops(
    network: LandmarkNetwork,
    crops_u8: UInt8[np.ndarray, "hands 224 224 3"],
    squares: UprightSquares,
    batch_size: int = 16,
) -> UprightHands:
    """The hands of crops that `square_crops` cut out."""
    return placed(landmarks_in_crops(network, crops_u8, batch_size), squares)


def hands_in_squares(
    network: LandmarkNetwork, pictures: Sequence[Picture], squares: UprightSquares, batch_size: int = 16
) -> UprightHands:
    """One hand in each picture, whose square has the right direction already."""
    crops = [
        square_crops(picture, squares.chosen(torch.tensor([row])), INPUT_PX) for row, picture in enumerate(pictures)
    ]
    return hands_in_crops(network, np.concatenate(crops), squares, batch_size)


def hands_in_boxes(
    network: LandmarkNetwork,
    pictures: Sequence[Picture],
    squares: UprightSquares,
    refinements: int = 1,
    batch_size: int = 16,
) -> UprightHands:
    """One hand in each picture, in a square of unknown direction.

    Four directions are tried and the one with the highest presence is kept; then the network looks again, `refinements`
    times, at the square about the key points just found.
    """
    tried = turned(squares)
    crops = [
        square_crops(picture, tried.chosen(torch.arange(row * TURNS, (row + 1) * TURNS)), INPUT_PX)
        for row, picture in enumerate(pictures)
    ]
    hands = hands_in_crops(network, np.concatenate(crops), tried, batch_size)
    best = hands.presence.unflatten(0, (-1, TURNS)).argmax(1) + TURNS * torch.arange(len(pictures))
    return refined(network, pictures, hands.chosen(best), refinements, batch_size)


def refined(
    network: LandmarkNetwork, pictures: Sequence[Picture], hands: UprightHands, refinements: int, batch_size: int = 16
) -> UprightHands:
    """The hands seen again in the squares about their own key points.

    Where presence falls below half of what it was, the hand stays as it was.
    """
    for _ in range(refinements):
        again = hands_in_squares(network, pictures, squares_about_keypoints(hands.keypoints_px), batch_size)
        hands = _better(hands, again)
    return hands


def _better(before: UprightHands, after: UprightHands) -> UprightHands:
    worse = after.presence < 0.5 * before.presence

    def pick(old: Tensor, new: Tensor) -> Tensor:
        return torch.where(worse.reshape(-1, *[1] * (new.ndim - 1)), old, new)

    values = [pick(old, new) for old, new in zip(before[:4], after[:4], strict=True)]
    squares = UprightSquares(*(pick(old, new) for old, new in zip(before.squares, after.squares, strict=True)))
    return UprightHands(values[0], values[1], values[2], values[3], squares)
