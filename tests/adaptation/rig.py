"""A tiny rig: two cameras, random crops, a network that answers with a hand wherever it looks, and ways to adapt it."""

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import roma
import torch
from torch import nn

from handloom.adaptation.learner import Learner
from handloom.adaptation.method import Surroundings
from handloom.adaptation.pairs import PairCrops
from handloom.datasets.views import HandCrops, HandLabels
from handloom.estimators.detnet.checkpoint import save_checkpoint
from handloom.estimators.detnet.network import DetNet, initialise
from handloom.runtime.config.adaptation import AdaptationSettings
from handloom.runtime.config.base import Settings
from handloom.runtime.config.sources import DetNetSettings
from handloom.runtime.files import write_json

PAIRS, ROOT_JOINT, PX = 24, 0, 32
SETTINGS = AdaptationSettings(
    pairs=20,
    batch_size=8,
    epochs=4,
    learning_rate=1e-2,
    teacher_momentum=0.5,
    teacher_warm_up=False,
    diagnostic_pairs=8,
)


class Rig(NamedTuple):
    """Files that the stage reads: of both cameras, and of the network."""

    folder: Path
    crops: tuple[Path, Path]
    labels: tuple[Path, Path]
    source: Path
    rotations: Path


class Adapted(NamedTuple):
    """Files that the stage writes."""

    network: Path
    predictions: Path
    history: Path

    def contents(self) -> list[bytes]:
        return [path.read_bytes() for path in self]

    @property
    def curves(self) -> list[dict[str, float]]:
        with self.history.open() as file:
            return [{name: float(value or "nan") for name, value in row.items()} for row in csv.DictReader(file)]


def open_hand() -> np.ndarray:
    """Twenty-one joints of a slightly cupped hand in metres, wrist at the origin."""
    joints = np.zeros((21, 3))
    for finger in range(5):
        angle = math.radians(-40 + 20 * finger)
        for segment in range(4):
            reach = 0.09 + 0.025 * segment
            joints[1 + 4 * finger + segment] = [
                reach * math.sin(angle),
                -reach * math.cos(angle),
                0.01 * segment + 0.01 * finger,
            ]
    return joints


def make_view(camera: str, rotation: np.ndarray, seed: int) -> tuple[HandCrops, HandLabels]:
    """The same hands in front of a camera with the given world-to-camera rotation; crops are smooth noise.

    Every second hand is a left one, and DetNet's crops show it mirrored; all crops lie in the picture's middle.
    """
    generator = np.random.default_rng(seed)
    world = open_hand() + generator.normal(0, 0.004, (PAIRS, 21, 3))
    coarse = generator.integers(0, 255, (PAIRS, PX // 8, PX // 8), dtype=np.uint8)
    is_left = np.arange(PAIRS) % 2 == 1
    named: dict[str, Any] = {"camera": camera, "rank": np.arange(PAIRS), "sequence": np.array(["sequence"] * PAIRS)}
    named |= {"frame": np.arange(PAIRS), "is_left": is_left}
    crops = HandCrops(
        **named,
        image_u8=coarse.repeat(8, 1).repeat(8, 2)[..., None],
        picture_axes_from_crop=np.eye(3) * np.where(is_left[:, None, None], [-1.0, 1, 1], 1.0),
        rays=np.tile([0.0, 0, 1], (PAIRS, 1)),
        network="detnet",
        side_slope=np.full(PAIRS, 0.5),
    )
    labels = HandLabels(
        **named,
        joints_cam_m=world @ rotation.T + [0.0, 0.0, 0.4],
        joint_valid=(generator.random((PAIRS, 21)) < 0.9).astype(float),
        keypoints_256px=generator.uniform(0, 256, (PAIRS, 21, 2)),
        focal_px=np.full((PAIRS, 2), 300.0),
        principal_point_px=np.full((PAIRS, 2), 128.0),
        cam_from_world_rotation=np.repeat(rotation[None], PAIRS, 0),
        cam_from_world_translation_mm=np.zeros((PAIRS, 3)),
    )
    return crops, labels


def small_detnet() -> DetNet:
    """A network that answers with the open hand, give or take, wherever it looks."""
    network = DetNet(DetNetSettings(input_px=PX, map_cells=8, width=4, blocks=(1, 1, 1), head_width=8), ROOT_JOINT)
    initialise(network, torch.Generator().manual_seed(0))
    hand = torch.from_numpy(open_hand() / np.linalg.norm(open_hand()[9])).float()
    with torch.no_grad():
        network.lmap_0.prediction.weight.mul_(0.05)
        network.lmap_0.prediction.bias.copy_(hand.flatten())
    return network.eval()


def written_rig(folder: Path) -> Rig:
    """Two cameras 20 degrees apart, a source network and a first rotation that is 6 degrees off."""
    save_checkpoint(folder / "source.safetensors", small_detnet())
    rotation = roma.rotvec_to_rotmat(torch.tensor([0.1, 0.3, 0.15], dtype=torch.float64)).numpy()
    crops, labels = [], []
    for number, pose in enumerate((np.eye(3), rotation), start=1):
        view = make_view(f"camera{number}", pose, number)
        crops.append(folder / f"camera{number}.npz")
        labels.append(folder / f"camera{number}.labels.npz")
        view[0].save(crops[-1])
        view[1].save(labels[-1])
    first = roma.rotvec_to_rotmat(torch.tensor([0.0, -0.3, -0.15], dtype=torch.float64))
    estimate = {"single": first.tolist()}
    write_json(folder / "rotations.json", {"estimates": {"1-2": estimate}})
    return Rig(
        folder, (crops[0], crops[1]), (labels[0], labels[1]), folder / "source.safetensors", folder / "rotations.json"
    )


def adapted(
    rig: Rig, adapt: Callable[..., None], name: str, settings: AdaptationSettings = SETTINGS, **changes: Any
) -> Adapted:
    """Run a method's stage on the rig."""
    outputs = Adapted(
        *(rig.folder / f"{name}{suffix}" for suffix in (".safetensors", ".predictions.npz", ".history.csv"))
    )
    choices = {"pair": "1-2", "variant": "s2dhand", "seeds": [1], "work": rig.folder / "work", "fidelity": "fixed"}
    choices |= {"ray_share": 0.0, "labels": rig.labels, **changes}
    adapt(rig.crops, rig.source, rig.rotations, *([path] for path in outputs), adaptation=settings, **choices)
    return outputs


def other_labels(paths: Sequence[Path]) -> None:
    """Other annotations and calibrations of the same images, in place of theirs."""
    for path in paths:
        labels = HandLabels.load(path)
        replace(
            labels,
            joints_cam_m=labels.joints_cam_m[:, ::-1] + 1,
            joint_valid=1 - labels.joint_valid,
            keypoints_256px=labels.keypoints_256px * 0,
            focal_px=labels.focal_px * 2,
            principal_point_px=labels.principal_point_px + 30,
            cam_from_world_rotation=labels.cam_from_world_rotation.transpose(0, 2, 1).copy(),
            cam_from_world_translation_mm=labels.cam_from_world_translation_mm + 100,
        ).save(path)


def surroundings(network: nn.Module, learner: Learner, pairs: PairCrops, **changes: Any) -> Surroundings:
    """What a method is made of, with the given changes."""
    choices: dict[str, Any] = {
        "settings": SETTINGS,
        "options": Settings(),
        "start_12": torch.eye(3, dtype=torch.float64),
    }
    choices |= {"updates_per_epoch": 3, "fidelity": "fixed", "budget": "standard", "seed": 3, "device": "cpu"}
    choices["generator"] = torch.Generator().manual_seed(3)
    return Surroundings(network=network, learner=learner, pairs=pairs, **choices | changes)


def pair_crops(rig: Rig, count: int = PAIRS, *, ray_share: float = 0.0, turned: bool = False) -> PairCrops:
    """The first pairs of the rig."""
    views, rows = (HandCrops.load(rig.crops[0]), HandCrops.load(rig.crops[1])), np.arange(count)
    return PairCrops.of(views, (rows, rows), ray_share, turned=turned)
