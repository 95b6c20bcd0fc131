"""What a network answers to a hand on average over several draws of its crop: the teacher of S2DHand+.

A draw is the crop turned by a known angle and zoomed. The answers, turned back, differ by what the network gets wrong
by chance; their mean is better than the answer to the crop itself, and it is free: no label enters.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from handloom.adaptation.pair_predictions import DrawnAnswers
from handloom.adaptation.student_augmentation import (
    StudentAugmentation,
    augment_joints,
    augment_keypoints,
    augment_maps,
)
from handloom.datasets.assembly_hands import camera_numbers
from handloom.datasets.views import HandCrops
from handloom.estimators.detnet.checkpoint import load_checkpoint
from handloom.estimators.detnet.hands import heat_centres
from handloom.estimators.detnet.network import DetNet, network_input, read_out
from handloom.geometry.camera import turns_to_rays
from handloom.runtime.devices import computing_on
from handloom.runtime.errors import InputError

ZOOM = 0.1
_AT_ONCE = 64


class DrawnPairs(NamedTuple):
    """The mean answers to both views of some pairs, along the cameras' axes."""

    poses: Float[Tensor, "2 pairs 21 3"]
    poses_of_rotation: Float[Tensor, "2 pairs 21 3"]
    """With the turns that rotations are estimated with."""
    slopes: Float[Tensor, "2 pairs 21 2"]
    confidence: Float[Tensor, "2 pairs 21"]

    @classmethod
    def of(cls, path: Path, pair: str, rows: Sequence[Int[np.ndarray, " pairs"]]) -> "DrawnPairs":
        """The hands of two cameras whose rows are given; raises InputError for answers to other crops."""
        answers = DrawnAnswers.load(path)
        of_hands = (answers.joints, answers.joints_of_rotation, answers.slopes, answers.confidence)
        of_views = [[values[answers.camera == camera] for values in of_hands] for camera in camera_numbers(pair)]
        if any(index.max() >= len(views[0]) for index, views in zip(rows, of_views, strict=True)):
            raise InputError(f"{path}: answers other crops than those of pair {pair}; run the rule that makes it again")
        chosen = [[values[index] for values in view] for index, view in zip(rows, of_views, strict=True)]
        return cls(*(torch.from_numpy(np.stack(values)).double() for values in zip(*chosen, strict=True)))

    def at(self, rows: Int[np.ndarray, " some"] | slice) -> "DrawnPairs":
        """Some of the pairs."""
        return DrawnPairs(*(values[:, rows] for values in self))


class MeanAnswer(NamedTuple):
    """Of right hands, along the crops' axes."""

    joints: Float[Tensor, "crops 21 3"]
    """From the root joint on, in bones 0-9."""
    keypoints: Float[Tensor, "crops 21 2"]
    """Shares of the crop's side, from its corner."""
    confidence: Float[Tensor, "crops 21"]


def draws_of(count: int, turn_deg: float) -> list[tuple[float, float]]:
    """Angle (degrees) and zoom of the crop itself and of `count` draws: evenly turned, close and wide in turn."""
    angles = np.linspace(-turn_deg, turn_deg, count) if count > 1 else np.full(count, turn_deg)
    return [(0.0, 1.0), *((float(angle), 1 + ZOOM * (-1) ** number) for number, angle in enumerate(angles))]


@torch.no_grad()
def mean_answer(
    network: DetNet, image_u8: UInt8[Tensor, "crops px px channels"], draws: Sequence[tuple[float, float]]
) -> MeanAnswer:
    """The mean of the network's answers to draws of each crop (`draws_of`), turned and zoomed back."""
    images = network_input(image_u8) + 0.5
    count, root = len(images), network.root_joint
    found = []
    for angle_deg, zoom in draws:
        there, back = _drawn(count, angle_deg, zoom), _drawn(count, -angle_deg, 1 / zoom)
        shown = images if (angle_deg, zoom) == (0.0, 1.0) else augment_maps(images, there)
        maps = network((shown - 0.5).contiguous(memory_format=torch.channels_last))
        read = read_out(maps)
        joints = augment_joints(read.joints, back)
        keypoints = augment_keypoints(heat_centres(maps.heat), back, 1)
        found.append((joints - joints[:, root, None], keypoints, read.confidence))
    return MeanAnswer(*(torch.stack(values).mean(0) for values in zip(*found, strict=True)))


def _drawn(count: int, angle_deg: float, zoom: float) -> StudentAugmentation:
    one, none = torch.ones(count), torch.zeros(count)
    return StudentAugmentation(math.radians(angle_deg) * one, zoom * one, one, none, none)


def predict_draws(
    crops: Sequence[Path],
    source: Path,
    answers: Path,
    *,
    ray_share: float,
    plus_share: float,
    draws: int,
    draw_turn_deg: float,
    device: str = "cpu",
    threads: int | None = None,
    code: str = "",
) -> None:
    """Stage: the source network's mean answers to every hand crop of a headset, for all pairs and seeds of S2DHand+.

    Poses are turned by `plus_share` of their viewing rays, those that rotations are estimated from by `ray_share`.
    Raises InputError for crops that do not tell their side.
    """
    with computing_on(device, threads):
        network = load_checkpoint(source).to(device)
        found = [
            _of_camera(network, path, (plus_share, ray_share), draws_of(draws, draw_turn_deg), device) for path in crops
        ]
    of_hands = (np.concatenate(values) for values in zip(*found, strict=True))
    cameras = np.concatenate([np.full(len(each), number) for number, (each, *_) in enumerate(found)])
    DrawnAnswers(cameras, *of_hands).save(answers, code=code)


def _of_camera(
    network: DetNet, path: Path, shares: tuple[float, float], draws: Sequence[tuple[float, float]], device: str
) -> list[np.ndarray]:
    view = HandCrops.load(path)
    if view.side_slope is None:
        raise InputError(f"{path}: does not tell its crops' sides; delete it and crop again")
    images = torch.from_numpy(view.image_u8)
    each = [mean_answer(network, some.to(device), draws) for some in images.split(_AT_ONCE)]
    mean = MeanAnswer(*(torch.cat(values).cpu().double() for values in zip(*each, strict=True)))
    axes, rays = torch.from_numpy(view.picture_axes_from_crop).double(), torch.from_numpy(view.rays).double()
    side = torch.from_numpy(view.side_slope).double()[:, None, None]
    offsets = torch.nn.functional.pad(mean.keypoints - 0.5, (0, 1)) @ axes.mT
    slopes = (rays[:, :2] / rays[:, 2:])[:, None] + side * offsets[..., :2]
    turned = [mean.joints @ (turns_to_rays(rays, share) @ axes).mT for share in shares]
    return [value.float().numpy() for value in (*turned, mean.confidence, slopes)]
