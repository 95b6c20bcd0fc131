"""A user's camera pair, small: hands that move as the demo's do, seen nearly exactly, and the files of its stages."""

from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from handloom.adaptation.camera_rotation import own_pair_rotations
from handloom.adaptation.fused_poses import fuse_poses
from handloom.adaptation.joint_learner import adapt
from handloom.adaptation.pairing import pair_views
from handloom.datasets.frames import Frames
from handloom.datasets.views import OWN_PAIR
from handloom.estimators.hands.found import FoundHands
from handloom.estimators.hands.search import nominal_camera
from handloom.estimators.mediapipe.hands import crop_pairs
from handloom.runtime.config.adaptation import AdaptationSettings
from handloom.runtime.config.cameras import KnownCamera
from handloom.runtime.config.footage import OWN_PAIRS, FootagePairingSettings
from rendered_pair import Filmed, Filming, plan

from .estimators.mediapipe.small_tflite import landmark_file

WIDTH_PX, HEIGHT_PX, FIELD_OF_VIEW_DEG = 160, 120, 65.0
FILES = ("frames", "frames.json", "hands.npz")
OFFSET_S = 0.4
"""How far the right clock is ahead."""
ADAPTED = ("network.safetensors", "predictions.npz", "history.csv")
ADAPTATION = OWN_PAIRS.model_copy(update={"pairs": 20, "batch_size": 8, "epochs": 3})


def filmed_pair(*, still: bool = False) -> Filmed:
    """The truth of two videos of 30 and 25 frames a second, or of 30 both with a hand that keeps still."""
    moving = {"seconds": 3.0, "right_fps": 25.0, "offset_s": OFFSET_S}
    size = {"width_px": WIDTH_PX, "height_px": HEIGHT_PX}
    return plan(Filming(**size, seconds=2.0, still=True) if still else Filming(**size, **moving), 5)[0]


def listed(folder: Path, times_s: np.ndarray, view: str) -> Frames:
    names = tuple(f"{row:06d}" for row in range(len(times_s)))
    return Frames(folder, names, tuple(times_s.tolist()), "test", WIDTH_PX, HEIGHT_PX, f"video:{view}.mp4", None)


def seen_hands(joints_m: np.ndarray, keypoints_px: np.ndarray, noise_m: float = 0.0) -> FoundHands:
    """Hands as a perfect network would see them, with noise if wanted."""
    frames = len(joints_m)
    noisy = joints_m + noise_m * np.random.default_rng(1).normal(size=joints_m.shape)
    low, high = keypoints_px.min(1), keypoints_px.max(1)
    return FoundHands(
        found=np.ones(frames, bool),
        centre_px=(low + high) / 2,
        side_px=1.5 * (high - low).max(1),
        angle_rad=np.zeros(frames),
        presence=np.full(frames, 0.9),
        handedness=np.full(frames, 0.9),
        keypoints_px=keypoints_px,
        joints_cam=noisy - noisy[:, :1],
        confidence=np.full((frames, 21), 0.9),
        vertices_cam=None,
        intrinsics=nominal_camera(listed(Path(), np.zeros(1), "any"), FIELD_OF_VIEW_DEG),
        ray_share=1.0,
        side="right",
        network="mediapipe",
    )


class OwnPair(NamedTuple):
    """Files of a camera pair, under the names that the workflow gives them; not all are made at first."""

    folder: Path

    def at(self, *names: str) -> tuple[Path, ...]:
        """Some of its files."""
        return tuple(self.folder / name for name in names)

    def of_views(self, name: str) -> tuple[Path, Path]:
        return self.folder / "left" / name, self.folder / "right" / name

    @property
    def frames(self) -> dict[str, tuple[Path, Path]]:
        """By the stages' names."""
        return {"frames": self.of_views("frames"), "frames_json": self.of_views("frames.json")}

    @property
    def hands(self) -> tuple[Path, Path]:
        return self.of_views("hands.npz")

    def pair(self, offset_s: float | None = OFFSET_S, **settings: Any) -> None:
        """Pair the frames."""
        made, chosen = self.at("pairs.npz", "pairing.json"), FootagePairingSettings.model_validate(settings)
        pair_views(self.hands, *self.frames.values(), *made, rig="rig", settings=chosen, offset_s=offset_s)

    def rotate(self, adaptation: AdaptationSettings = ADAPTATION) -> None:
        """Estimate the first rotation."""
        cameras = (KnownCamera.of(FIELD_OF_VIEW_DEG, None),) * 2
        files = self.at("pairs.npz", "first_rotation.json")
        own_pair_rotations(self.hands, *files, adaptation=adaptation, cameras=cameras)

    def crop(self) -> None:
        """Cut the hands out as the small network is taught with them."""
        pairs, weights = self.at("pairs.npz", "source.tflite")
        landmark_file(weights, small_hand())
        for view in ("left", "right"):
            frames, listed, hands, crops = (self.folder / view / name for name in (*FILES, "crops.npz"))
            crop_pairs(frames, listed, hands, pairs, weights, crops, view=view)

    def adapt(self, checkpoint_seconds: int = 20, **changes: Any) -> None:
        """Adapt the small network, with changed settings."""
        settings = AdaptationSettings.model_validate(ADAPTATION.model_dump() | changes)
        chosen = {"pair": OWN_PAIR, "variant": "s2dhand", "seeds": [1], "fidelity": "fixed", "start": settings.rotation}
        adapt(
            *(self.of_views("crops.npz"), *self.at("source.tflite", "first_rotation.json")),
            *([path] for path in self.at(*ADAPTED)),
            **{"work": self.folder / "work", "adaptation": settings, "ray_share": 1.0, "turned_poses": True, **chosen},
            checkpoint_seconds=checkpoint_seconds,
        )

    def fuse(self) -> None:
        """Fuse the poses."""
        read = self.at("pairs.npz", "predictions.npz", "first_rotation.json")
        made = self.at("poses.npz", "poses.json", "rotation.json")
        fuse_poses(self.hands, *self.frames.values(), *read, *made, adaptation=ADAPTATION)


def small_hand() -> np.ndarray:
    """A hand of 21 joints with all fingers stretched, in metres."""
    hand = np.zeros((21, 3))
    for finger in range(5):
        for place in range(4):
            hand[1 + 4 * finger + place] = 0.02 * (finger - 2), -0.08 - 0.02 * place, 0.01 * place * (finger % 2)
    return hand


def written_pair(folder: Path, filmed: Filmed) -> OwnPair:
    """Frames with a blob where the hand is, and its hands as a noisy network sees them."""
    sides = (
        ("left", filmed.joints_left_m, filmed.keypoints_left_px, filmed.times_left_s),
        ("right", filmed.joints_right_m, filmed.keypoints_right_px, filmed.times_right_s),
    )
    for view, joints, keypoints, times in sides:
        frames = folder / view / "frames"
        frames.mkdir(parents=True)
        for row, points in enumerate(keypoints):
            picture = np.full((HEIGHT_PX, WIDTH_PX, 3), 60, np.uint8)
            hull = cv2.convexHull(points.round().astype(np.int32))
            cv2.fillPoly(picture, [hull], (120 + row, 150, 200 - row))
            cv2.imwrite(str(frames / f"{row:04d}.png"), picture)
        listed(frames, times, view).write_list(folder / view / "frames.json")
        seen_hands(joints, keypoints, 0.003).save(folder / view / "hands.npz")
    return OwnPair(folder)
