"""A tiny rig: two cameras, random crops, and a network that answers with a hand wherever it looks."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import roma
import torch

from handloom.datasets.views import ViewSamples, save_views
from handloom.estimators.detnet.checkpoint import save_checkpoint
from handloom.estimators.detnet.network import DetNet, initialise
from handloom.runtime.config.detnet import DetNetSettings
from handloom.runtime.files import write_json

PAIRS = 24
ROOT_JOINT = 0


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads on a busy machine wait for each other most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Rig(NamedTuple):
    """Files that the adaptation stage reads."""

    folder: Path
    detnet: DetNetSettings
    views: tuple[Path, ...]
    source: Path
    rotations: Path


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


def make_view(camera: str, rotation: np.ndarray, generator: np.random.Generator, px: int) -> ViewSamples:
    """The same hands in front of a camera with the given world-to-camera rotation; crops are smooth noise."""
    world = open_hand() + generator.normal(0, 0.004, (PAIRS, 21, 3))
    coarse = generator.integers(0, 255, (PAIRS, px // 8, px // 8), dtype=np.uint8)
    return ViewSamples(
        camera=camera,
        rank=np.arange(PAIRS),
        file_name=np.array([f"{camera}/{i:06d}.jpg" for i in range(PAIRS)]),
        sequence=np.array(["sequence"] * PAIRS),
        frame=np.arange(PAIRS),
        is_left=np.arange(PAIRS) % 2 == 1,
        image_u8=coarse.repeat(8, 1).repeat(8, 2),
        joints_cam_m=world @ rotation.T + [0.0, 0.0, 0.4],
        joint_valid=(generator.random((PAIRS, 21)) < 0.9).astype(float),
        keypoints_256px=generator.uniform(0, 256, (PAIRS, 21, 2)),
        focal_px=np.full((PAIRS, 2), 300.0),
        principal_point_px=np.full((PAIRS, 2), 128.0),
        crop_offset_half_widths=np.zeros((PAIRS, 2)),
        cam_from_world_rotation=np.repeat(rotation[None], PAIRS, 0),
        cam_from_world_translation_mm=np.zeros((PAIRS, 3)),
        unreadable_image=np.array([], dtype=str),
        unreadable_reason=np.array([], dtype=str),
    )


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Two cameras 20 degrees apart, a source network and a first rotation that is 6 degrees off."""
    detnet = DetNetSettings(input_px=32, map_cells=8, width=4, blocks=(1, 1, 1), head_width=8)
    network = DetNet(detnet)
    initialise(network, torch.Generator().manual_seed(0))
    hand = torch.from_numpy(open_hand() / np.linalg.norm(open_hand()[9])).float()
    with torch.no_grad():
        network.lmap_0.prediction.weight.mul_(0.05)
        network.lmap_0.prediction.bias.copy_(hand.flatten())
    save_checkpoint(tmp_path / "source.safetensors", network, ROOT_JOINT)

    rotation = roma.rotvec_to_rotmat(torch.tensor([0.1, 0.3, 0.15], dtype=torch.float64)).numpy()
    views = []
    for number, pose in enumerate((np.eye(3), rotation), start=1):
        views.append(tmp_path / f"camera{number}.npz")
        save_views(views[-1], make_view(f"camera{number}", pose, np.random.default_rng(number), detnet.input_px))
    first = roma.rotvec_to_rotmat(torch.tensor([0.0, -0.3, -0.15], dtype=torch.float64))
    estimate = {"single": first.tolist(), "synchronised": first.tolist()}
    write_json(tmp_path / "rotations.json", {"estimates": {"1-2": estimate}})
    return Rig(tmp_path, detnet, tuple(views), tmp_path / "source.safetensors", tmp_path / "rotations.json")
