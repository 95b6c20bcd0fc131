"""DetNet as a hand estimator."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from scipy.spatial.transform import Rotation
from torch import Tensor

from handloom.estimators.detnet.checkpoint import load_checkpoint
from handloom.estimators.detnet.network import DetNet
from handloom.estimators.detnet.prediction import network_input
from handloom.estimators.detnet.readout import read_out
from handloom.hand.joints import Side
from handloom.reconstruction.found_hands import FoundHands
from handloom.reconstruction.hand_squares import GREY, Blank, HandFrame, HandSquares, turned_crops
from handloom.runtime.assets import checkpoint_path
from handloom.runtime.config.hand_tracking import HandEstimationSettings

_HEAT_REACH_CELLS = 2
_LARGEST_TURN_RAD, _ZOOM = math.radians(60.0), 0.1


@dataclass(frozen=True)
class DetNetEstimator:
    """DetNet on RGB crops; the mean over turned and zoomed views of a crop steadies its answer."""

    network: DetNet
    views: int
    blank: Blank
    batch_size: int
    device: str = "cpu"

    @classmethod
    def of(
        cls, settings: HandEstimationSettings, checkpoint: Path | None = None, device: str = "cpu"
    ) -> "DetNetEstimator":
        """The configured network, filled from its checkpoint; raises InputError as `load_checkpoint` does."""
        path = checkpoint or checkpoint_path(settings.checkpoint)
        network = load_checkpoint(path, settings.detnet, settings.root_joint).to(device)
        return cls(network, settings.views, settings.blank, settings.batch_size, device)

    def __call__(self, frames: Sequence[HandFrame], squares: HandSquares, side: Side) -> FoundHands:
        size = self.network.settings.input_px
        turns, zooms = _view_turns(self.views)
        border = 0 if self.blank == "nothing" else GREY
        views = [
            turned_crops(frame.picture(self.blank), centre, float(extent), size, turns, zooms, border)
            for frame, centre, extent in zip(frames, squares.centre_px, squares.side_px, strict=True)
        ]
        images = np.concatenate([crops for crops, _ in views])
        is_left = side == "left"
        shape = (len(frames), self.views)
        joints, shares, confidence = (
            value.unflatten(0, shape) for value in self._predict(images[:, :, ::-1] if is_left else images)
        )
        if is_left:
            shares = torch.stack([1.0 - shares[..., 0], shares[..., 1]], -1)
            joints = joints * joints.new_tensor([-1.0, 1.0, 1.0])
        maps = torch.from_numpy(np.stack([matrices for _, matrices in views]))
        in_crop = size * shares - 0.5
        keypoints = (in_crop - maps[..., None, :, 2]) @ torch.linalg.inv(maps[..., :2]).mT
        turn = torch.from_numpy(Rotation.from_euler("z", turns[:, None]).as_matrix())
        # Row vectors: x @ R turns by the inverse of R, back to the image's axes.
        weight = confidence.square()[..., None]
        mean_joints = _weighted_mean((joints - joints[..., :1, :]) @ turn, weight)
        return FoundHands(mean_joints, _weighted_mean(keypoints, weight), confidence.mean(1).clamp(0.0, 1.0))

    def _predict(self, images: UInt8[np.ndarray, "n px px 3"]) -> tuple[Tensor, Tensor, Tensor]:
        """Joints, key points as shares of the crop's side, and confidence, of right hands."""
        results = []
        with torch.no_grad():
            for batch in torch.from_numpy(np.ascontiguousarray(images)).split(self.batch_size):
                maps = self.network(network_input(batch.to(self.device)))
                found = read_out(maps)
                results.append((found.joints.cpu(), heat_centres(maps.heat).cpu(), found.confidence.cpu()))
        joints, cells, confidence = (torch.cat(values).double() for values in zip(*results, strict=True))
        return joints, cells, confidence


def _weighted_mean(
    values: Float[Tensor, "frames views 21 d"], weight: Float[Tensor, "frames views 21 1"]
) -> Float[Tensor, "frames 21 d"]:
    return (weight * values).sum(1) / weight.sum(1).clamp_min(1e-9)


def _view_turns(views: int) -> tuple[Float64[np.ndarray, " views"], Float64[np.ndarray, " views"]]:
    """Turn (radians) and zoom of each view: evenly over the range that DetNet is trained on, close and wide in turn."""
    if views == 1:
        return np.zeros(1), np.ones(1)
    return np.linspace(-_LARGEST_TURN_RAD, _LARGEST_TURN_RAD, views), 1.0 + _ZOOM * (-1.0) ** np.arange(views)


def heat_centres(heat: Float[Tensor, "batch 21 rows cols"]) -> Float[Tensor, "batch 21 2"]:
    """Key points as shares (x, y) of the map's side: the centre of squared heat in the 5 x 5 cells about its peak.

    The squared heat suppresses the floor. On 240 rendered images the mean error falls from 20.6 px (the peak's own
    cell) to 16.0 px, in crops of 256 px. A target of
    cell k stands for key points from k to k + 1, hence the half cell.
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
