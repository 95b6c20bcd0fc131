"""DetNet on squares of frames."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from handloom.datasets.box_crops import network_image, squares_around, warp_crop
from handloom.estimators.detnet import DetNetHandSettings
from handloom.estimators.detnet.checkpoint import load_checkpoint
from handloom.estimators.detnet.network import DetNet, network_input, read_out
from handloom.estimators.hands.crops import Cut, annotated_crops, found_crops
from handloom.estimators.hands.found import UNKNOWN_SIDE, Answer
from handloom.estimators.hands.search import GREY, HandFrame, HandNetwork, hand_search
from handloom.estimators.hands.squares import (
    FIELD_OF_BOX,
    Picture,
    Squares,
    crops_of,
    in_picture,
    picture_axes_from_crop,
)
from handloom.hand.joints import Side
from handloom.hand.mano import HandModel

_BATCH = 64  # crops at once; answers do not depend on it
_HEAT_REACH_CELLS = 2  # two standard deviations of the heat that DetNet is taught
_LARGEST_TURN_RAD, _ZOOM = math.radians(60.0), 0.1
"""The range that DetNet is trained on."""


class DetNetHands(HandNetwork):
    """DetNet on RGB crops; the mean over turned and zoomed views of a crop steadies its answer.

    What masks show to be no hand is painted grey: it knows rendered hands only, and none with a real object.
    """

    name, field_of_box, mirrors_left, metric, sure_score = "detnet", FIELD_OF_BOX, True, False, 0.15

    def __init__(self, network: DetNet, views: int = 1, device: str = "cpu") -> None:
        self.network, self.views, self.device = network.to(device), views, device
        self.input_px = network.settings.input_px
        # Turns and zooms of the views: evenly over the range that DetNet is trained on, close and wide in turn.
        self.turns_rad = np.linspace(-_LARGEST_TURN_RAD, _LARGEST_TURN_RAD, views) if views > 1 else np.zeros(1)
        self.zooms = 1.0 + _ZOOM * (-1.0) ** np.arange(views) if views > 1 else np.ones(1)

    def answer(self, frames: Sequence[HandFrame], squares: Squares, side: Side) -> Answer:
        """The confidence is the heat of the cells that are read, a hand's presence their mean."""
        views = Squares(
            squares.centre_px.repeat(self.views, 0),
            (squares.side_px[:, None] * self.zooms).ravel(),
            (squares.angle_rad[:, None] - self.turns_rad).ravel(),
        )
        crops = []
        for row, frame in enumerate(frames):
            own, picture = views.at(self.views * row + np.arange(self.views)), frame.picture(hide_others=True)
            border, smooth_px = 0 if frame.mask is None else GREY, float(squares.side_px[row])
            crops.append(crops_of(picture, own, self.input_px, border=border, smooth_for_px=smooth_px))
        joints, shares, confidence = self._predict(self._shown(np.concatenate(crops), side))
        if side == "left":
            shares = torch.stack([1.0 - shares[..., 0], shares[..., 1]], -1)
            joints = joints * joints.new_tensor([-1.0, 1.0, 1.0])
        keypoints = torch.from_numpy(in_picture((self.input_px * shares - 0.5).numpy(), views, self.input_px))
        joints = (joints - joints[:, :1]) @ torch.from_numpy(picture_axes_from_crop(views)).mT
        keypoints, joints, confidence = (
            value.unflatten(0, (len(frames), self.views)) for value in (keypoints, joints, confidence)
        )
        weight = confidence.square()[..., None]
        score = confidence.mean(1).clamp(0.0, 1.0)
        return Answer(
            squares,
            _weighted_mean(keypoints, weight).numpy(),
            _weighted_mean(joints, weight).numpy(),
            score.numpy(),
            presence=score.mean(1).numpy(),
            handedness=np.full(len(frames), UNKNOWN_SIDE),
        )

    def cut(self, picture: Picture, squares: Squares, side: Side) -> UInt8[np.ndarray, "hands px px 3"]:
        """RGB crops, black beyond the picture, left hands mirrored."""
        return self._shown(crops_of(picture, squares, self.input_px, border=0), side)

    def _shown(self, crops: UInt8[np.ndarray, "hands px px 3"], side: Side) -> UInt8[np.ndarray, "hands px px 3"]:
        return np.ascontiguousarray(crops[:, :, ::-1]) if side == "left" else crops

    def _predict(self, images: UInt8[np.ndarray, "n px px 3"]) -> tuple[Tensor, Tensor, Tensor]:
        """Joints, key points as shares of the crop's side, and confidence, of right hands."""
        results = []
        with torch.no_grad():
            for batch in torch.from_numpy(images).split(_BATCH):
                maps = self.network(network_input(batch.to(self.device)))
                found = read_out(maps)
                results.append((found.joints.cpu(), heat_centres(maps.heat).cpu(), found.confidence.cpu()))
        joints, cells, confidence = (torch.cat(values).double() for values in zip(*results, strict=True))
        return joints, cells, confidence


def load(
    weights: Path, detector: Path | None, settings: DetNetHandSettings, hand_model: HandModel, device: str
) -> DetNetHands:
    """The network of a checkpoint; raises InputError as `load_checkpoint` does."""
    return DetNetHands(load_checkpoint(weights), settings.views, device)


def cut_boxes(
    picture: UInt8[np.ndarray, "height width"],
    boxes_px: Float[np.ndarray, "hands 4"],
    is_left: Bool[np.ndarray, " hands"],
    *,
    input_px: int,
) -> Cut:
    """S2DHand's crops of annotated hands (`datasets/box_crops.py`): squares of 1.75 times the boxes, left mirrored."""
    squares = squares_around(boxes_px)
    images = [
        network_image(warp_crop(picture, corner, int(side)), is_left=bool(left), input_px=input_px)
        for corner, side, left in zip(squares.corner_px, squares.side_px, is_left, strict=True)
    ]
    mirror = np.where(is_left[:, None], np.array([-1.0, 1.0, 1.0]), 1.0)
    axes = np.eye(3) * mirror[:, None]
    side_px = squares.side_px.astype(np.float64)
    return Cut(np.stack(images)[..., None], axes, squares.corner_px + side_px[:, None] / 2, side_px)


find_hands = hand_search(load, DetNetHandSettings)
crop_views = annotated_crops("detnet", lambda weights, input_px, device: partial(cut_boxes, input_px=input_px))
crop_pairs = found_crops(lambda weights, device: DetNetHands(load_checkpoint(weights), device=device))


def _weighted_mean(
    values: Float[Tensor, "frames views 21 d"], weight: Float[Tensor, "frames views 21 1"]
) -> Float[Tensor, "frames 21 d"]:
    return (weight * values).sum(1) / weight.sum(1).clamp_min(1e-9)


def heat_centres(heat: Float[Tensor, "batch 21 rows cols"]) -> Float[Tensor, "batch 21 2"]:
    """Key points as shares (x, y) of the map's side: the centre of squared heat in the 5 x 5 cells about its peak.

    The squared heat suppresses the floor. On 240 rendered images the mean error falls from 20.6 px (the peak's own
    cell) to 16.0 px, in crops of 256 px. A target of cell k stands for key points from k to k + 1, hence the half cell.
    """
    rows, columns = heat.shape[-2:]
    peak = heat.flatten(2).argmax(-1)
    row, column = torch.arange(rows, device=heat.device), torch.arange(columns, device=heat.device)
    near_row = ((row - (peak // columns)[..., None]).abs() <= _HEAT_REACH_CELLS)[..., :, None]
    near_column = ((column - (peak % columns)[..., None]).abs() <= _HEAT_REACH_CELLS)[..., None, :]
    mass = heat.square() * near_row * near_column
    total = mass.sum((-1, -2)).clamp_min(1e-12)
    x = (mass.sum(-2) * column).sum(-1) / total
    y = (mass.sum(-1) * row).sum(-1) / total
    return torch.stack([(x + 0.5) / columns, (y + 0.5) / rows], -1)
