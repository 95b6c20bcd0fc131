"""A small camera pair: hands that move as the demo's do, seen exactly, and a tiny network that answers with a hand."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from handloom.datasets.frames_file import FramesFile, write_frames_file
from handloom.demo.camera_pair import Filmed, Filming, plan
from handloom.footage.hands_file import FootageHands, pixel_rays, write_hands
from handloom.runtime.config.footage import FootagePairSettings, FootageSettings

SIZE = 224


@dataclass(frozen=True)
class Answer:
    """What the landmark network answers with."""

    keypoints_crop_px: Tensor
    presence: Tensor
    joints_m: Tensor


class TinyNetwork(nn.Module):
    """A few numbers of the crop, and a hand that bends with them."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.features = nn.Linear(3 * 8 * 8, 8)
        self.joints = nn.Linear(8, 63)
        self.keypoints = nn.Linear(8, 42)
        for value in self.parameters():
            value.data = 0.05 * torch.randn(value.shape, generator=generator)
        hand = torch.zeros(21, 3)
        for finger in range(5):
            for place in range(4):
                hand[1 + 4 * finger + place] = torch.tensor(
                    [0.02 * (finger - 2), -0.08 - 0.02 * place, 0.01 * place * (finger % 2)]
                )
        self.joints.bias.data += hand.flatten()

    def forward(self, images: Tensor) -> Answer:
        features = self.features(nn.functional.adaptive_avg_pool2d(images, 8).flatten(1)).tanh()
        presence = torch.sigmoid(2 + features[:, 0])
        return Answer(
            self.keypoints(features).unflatten(1, (21, 2)) * SIZE, presence, self.joints(features).unflatten(1, (21, 3))
        )


@pytest.fixture(scope="session")
def filmed() -> Filmed:
    """The truth of two videos of 30 and 25 frames a second; the right clock is 0.4 s ahead."""
    return plan(Filming(seconds=3.0, right_fps=25.0, offset_s=0.4, width_px=160, height_px=120), 5)[0]


@pytest.fixture(scope="session")
def still() -> Filmed:
    """A hand that keeps still."""
    return plan(Filming(seconds=2.0, width_px=160, height_px=120, still=True), 5)[0]


def seen_hands(joints_m: np.ndarray, keypoints_px: np.ndarray, noise_m: float = 0.0) -> FootageHands:
    """Hands as a perfect network would see them, with noise if wanted."""
    frames = len(joints_m)
    generator = np.random.default_rng(1)
    joints = joints_m - joints_m[:, :1] + noise_m * generator.normal(size=joints_m.shape)
    low, high = keypoints_px.min(1), keypoints_px.max(1)
    return FootageHands(
        found=np.ones(frames, bool),
        centre_px=(low + high) / 2,
        side_px=1.5 * (high - low).max(1),
        angle_rad=np.zeros(frames),
        presence=np.full(frames, 0.9),
        handedness=np.full(frames, 0.8),
        keypoints_px=keypoints_px,
        joints_cam=joints - joints[:, :1],
        confidence=np.full((frames, 21), 0.9),
        rays=pixel_rays(keypoints_px, (160, 120), 65.0),
        cam_from_crop=np.tile(np.eye(3), (frames, 1, 1)),
    )


@dataclass(frozen=True)
class Rig:
    """Files of a camera pair that the stages from the pairing on read."""

    folder: Path
    frames: tuple[Path, Path]
    lists: tuple[Path, Path]
    hands: tuple[Path, Path]
    settings: FootageSettings
    pair: FootagePairSettings


@pytest.fixture
def rig(tmp_path: Path, filmed: Filmed) -> Rig:
    """Frames with a blob where the hand is, and its hands as a noisy network sees them."""
    sides = (
        ("left", filmed.joints_left_m, filmed.keypoints_left_px, filmed.times_left_s),
        ("right", filmed.joints_right_m, filmed.keypoints_right_px, filmed.times_right_s),
    )
    for view, joints, keypoints, times in sides:
        (tmp_path / view / "frames").mkdir(parents=True)
        for row, points in enumerate(keypoints):
            picture = np.full((120, 160, 3), 60, np.uint8)
            hull = cv2.convexHull(points.round().astype(np.int32))
            cv2.fillPoly(picture, [hull], (120 + row, 150, 200 - row))
            cv2.imwrite(str(tmp_path / view / f"frames/{row:04d}.png"), picture)
        names = tuple(f"{row:06d}" for row in range(len(times)))
        listed = FramesFile(names, tuple(times.tolist()), "test", 160, 120, f"video:{view}.mp4", None)
        write_frames_file(tmp_path / view / "frames.json", listed)
        write_hands(
            tmp_path / view / "hands.npz", seen_hands(joints, keypoints, 0.003), side="right", backend="mediapipe"
        )
    pair = FootagePairSettings(left="left.mp4", right="right.mp4")
    adaptation = {"pairs": 20, "batch_size": 8, "epochs": 3, "checkpoint_seconds": 0.0}
    return Rig(
        tmp_path,
        (tmp_path / "left/frames", tmp_path / "right/frames"),
        (tmp_path / "left/frames.json", tmp_path / "right/frames.json"),
        (tmp_path / "left/hands.npz", tmp_path / "right/hands.npz"),
        FootageSettings.model_validate({"pairs": {"rig": pair}, "adaptation": adaptation}),
        pair,
    )
