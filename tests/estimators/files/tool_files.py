"""Hands before a camera, and the files that METRO, HaMeR and WiLoR would leave of them, made with the hand model.

A network sees a square about the hand, so it tells the pose as a camera would see it that looks at the square's centre.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import roma
import torch

from handloom.datasets.frames import Frames
from handloom.estimators.files import FileHandsSettings
from handloom.estimators.files.hands import find_hands
from handloom.estimators.hands import HandSearchSettings
from handloom.estimators.hands.found import FoundHands, camera_turns
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.hand.joints import MANO21_FROM_SNAP, MIRROR
from handloom.hand.mano import skin
from handloom.hand.models import open_hand_anatomy, write_hand_model
from handloom.hand.pose_prior import sample_angles

from ..hands.hand_of_778 import hand_of_778

HAND = replace(hand_of_778(), hands_mean=torch.zeros(45))
COUNT = 8
WIDTH_PX, HEIGHT_PX = 640, 480
INTRINSICS = np.array([[600.0, 0, 310], [0, 600, 245], [0, 0, 1]])
NAMES = tuple(f"{2 * number:06d}" for number in range(COUNT))
"""Every second picture of a video is used."""
_MANO21 = list(MANO21_FROM_SNAP)


class Shown(NamedTuple):
    """Right hands, one a picture, and how a network tells of them."""

    joints_cam_m: np.ndarray
    """The truth: relative to the wrist, along the camera's axes."""
    vertices_cam_m: np.ndarray
    keypoints_px: np.ndarray
    """Where the network sees the joints, in the picture."""
    rotations: np.ndarray
    shape: np.ndarray
    joints_m: np.ndarray
    """Along the crop's axes, at MANO's own place."""
    vertices_m: np.ndarray
    pred_cam: np.ndarray
    box_center: np.ndarray
    box_size: np.ndarray

    @property
    def focal_px(self) -> float:
        return 5000 / 256 * WIDTH_PX

    @property
    def cam_t(self) -> np.ndarray:
        """The place in the whole picture, as the demos carry it over."""
        size = self.box_size * self.pred_cam[:, 0]
        middle = 2 * (self.box_center - [WIDTH_PX / 2, HEIGHT_PX / 2]) / size[:, None]
        return np.hstack([middle + self.pred_cam[:, 1:], 2 * self.focal_px / size[:, None]])

    @property
    def keypoints_full_px(self) -> np.ndarray:
        """Where that camera sees the joints: about a pixel from where the network did."""
        place = self.joints_m + self.cam_t[:, None]
        return self.focal_px * place[..., :2] / place[..., 2:] + [WIDTH_PX / 2, HEIGHT_PX / 2]


def shown_hands(count: int = COUNT, seed: int = 0) -> Shown:
    """Random poses that a camera sees off its axis."""
    generator = torch.Generator().manual_seed(seed)
    random = np.random.default_rng(seed)
    true_turn = roma.random_rotmat(count).double().numpy()
    centre = random.uniform([150, 140], [480, 330], (count, 2))
    turns = camera_turns(centre, INTRINSICS)
    fingers = roma.rotvec_to_rotmat(open_hand_anatomy().pose_from_angles(sample_angles(generator, count))).numpy()
    shape = random.normal(size=(count, 10)) * 0.5

    def posed(wrist: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rotations = np.concatenate([wrist[:, None], fingers], 1)
        hand = skin(
            HAND.to(dtype=torch.float64),
            pose_rotvec=roma.rotmat_to_rotvec(torch.from_numpy(rotations)),
            shape=torch.from_numpy(shape),
            translation_m=torch.zeros(count, 3, dtype=torch.float64),
        )
        return rotations, hand.keypoints_m.numpy(), hand.vertices_m.numpy()

    _, joints_cam, vertices_cam = posed(true_turn)
    rotations, joints, vertices = posed(turns.swapaxes(1, 2) @ true_turn)
    scale, size = random.uniform(6, 9, (count, 1)), random.uniform(150, 250, count)
    pred_cam = np.hstack([scale, np.zeros((count, 2))])
    for _ in range(9):  # the square is about the hand
        shown = Shown(joints_cam, vertices_cam, joints, rotations, shape, joints, vertices, pred_cam, centre, size)
        seen = shown.keypoints_full_px
        pred_cam[:, 1:] -= ((seen.min(1) + seen.max(1)) / 2 - centre) / (size[:, None] * scale / 2)
    place = joints + np.hstack([pred_cam[:, 1:], 2 * 5000 / (256 * scale)])[:, None]
    in_crop = 5000 / 256 * place[..., :2] / place[..., 2:]  # shares of its side, from its middle
    keypoints = centre[:, None] + size[:, None, None] * in_crop
    wrist = joints_cam[:, :1]
    return Shown(
        joints_cam - wrist, vertices_cam - wrist, keypoints, rotations, shape, joints, vertices, pred_cam, centre, size
    )


SHOWN = shown_hands()


def parameters(row: int, shown: Shown = SHOWN, *, is_right: float = 1.0) -> dict[str, Any]:
    """What the demos have of one hand; of a left one the mirrored crop shows a right one, and t_x is turned back."""
    pred_cam = shown.pred_cam[row] * [1, 1 if is_right else -1, 1]
    return {
        "global_orient": shown.rotations[row, :1].tolist(),
        "hand_pose": shown.rotations[row, 1:].tolist(),
        "betas": shown.shape[row].tolist(),
        "pred_cam": pred_cam.tolist(),
        "is_right": is_right,
        "box_center": shown.box_center[row].tolist(),
        "box_size": float(shown.box_size[row]),
        "img_size": [WIDTH_PX, HEIGHT_PX],
    }


def one_file_a_picture(folder: Path, suffix: str = ".npz", names: Sequence[str] = NAMES, **changed: Any) -> Path:
    """One file of each picture's hands, named as the picture."""
    folder.mkdir(exist_ok=True)
    for row, name in enumerate(names):
        hand = {**parameters(row % COUNT), **changed}
        if suffix == ".npz":
            np.savez(folder / f"{name}.npz", **{key: np.array([value]) for key, value in hand.items()})
        else:
            (folder / f"{name}.json").write_text(json.dumps([hand]))
    return folder


def hold_folder(folder: Path, tool: str, names: Sequence[str] = NAMES, side: str = "right") -> Path:
    """HOLD's `processed/` by METRO or HaMeR."""
    folder.mkdir(parents=True, exist_ok=True)
    wrist = SHOWN.joints_m[:, :1]
    rows = np.arange(len(names)) % COUNT
    if tool == "metro":
        low = SHOWN.box_center - SHOWN.box_size[:, None] / 2 + 0.5
        boxes = np.hstack([low, low + SHOWN.box_size[:, None]])
        in_crop = (SHOWN.keypoints_px + 0.5 - low[:, None]) / SHOWN.box_size[:, None, None] * 224
        _save(folder / "v3d.npy", {"v3d.right": (SHOWN.vertices_m - wrist)[rows].astype(np.float32)})
        np.save(folder / "boxes.npy", boxes[rows])
        np.save(folder / "j2d.crop.npy", in_crop[rows].astype(np.float32))
        return folder
    place = SHOWN.cam_t[:, None]
    intrinsics = np.array([[SHOWN.focal_px, 0, WIDTH_PX / 2], [0, SHOWN.focal_px, HEIGHT_PX / 2], [0, 0, 1]])
    paths = [f"./data/mug/images/{name}.png" for name in names]
    space = {
        f"v3d.{side}": torch.from_numpy((SHOWN.vertices_m + place)[rows]).float(),
        f"j3d.{side}": torch.from_numpy((SHOWN.joints_m + place)[rows][:, _MANO21]).float(),
    }
    flat = {f"j2d.{side}": SHOWN.keypoints_full_px[rows][:, _MANO21].astype(np.float32)}
    _save(folder / "v3d.npy", {**space, "im_paths": paths, "K": intrinsics})
    _save(folder / "j2d.full.npy", {**flat, "im_paths": paths})
    return folder


def _save(path: Path, content: dict[str, Any]) -> None:
    np.save(path, np.array(content, dtype=object), allow_pickle=True)


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a dictionary in an npy file."""
    content = np.load(path, allow_pickle=True).item()
    change(content)
    _save(path, content)


class Sequence8(NamedTuple):
    """Eight frames with masks of the hands, as a sequence's earlier stages leave them."""

    frames: Path
    frames_json: Path
    masks: Path | None
    object_poses: Path
    hand: Path


def sequence(folder: Path, names: Sequence[str] = NAMES, shown: Shown = SHOWN) -> Sequence8:
    folder.mkdir(exist_ok=True)
    for name in ("frames", "masks"):
        (folder / name).mkdir()
    for row in range(len(names)):
        mask = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
        cv2.fillConvexPoly(mask, cv2.convexHull(shown.keypoints_px[row].round().astype(np.int32)), 150)
        cv2.imwrite(str(folder / "masks" / f"{row:04d}.png"), mask)
        cv2.imwrite(str(folder / "frames" / f"{row:04d}.png"), np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8))
    times = tuple(float(row) for row in range(len(names)))
    listed = Frames(folder / "frames", tuple(names), times, "test", WIDTH_PX, HEIGHT_PX, "video:a.mp4", None)
    listed.write_list(folder / "frames.json")
    poses, seen = np.tile(np.eye(4), (len(names), 1, 1)), np.ones(len(names), bool)
    ObjectPoses(INTRINSICS, 0.0, poses, seen, np.zeros((3, 3)), 0.5, "known").save(folder / "object_poses.npz")
    write_hand_model(folder / "mano_right.npz", HAND, {}, {})
    places = (folder / name for name in ("frames", "frames.json", "masks", "object_poses.npz", "mano_right.npz"))
    return Sequence8(*places)


def taken(place: Sequence8, given: Path, *, match: str = "name", **changed: Any) -> FoundHands:
    """What HOLD's stage makes of the files."""
    hands = place.frames.with_name("hand_estimates.npz")
    settings: dict[str, Any] = {
        "network": FileHandsSettings.model_validate({"match": match}),
        "search": HandSearchSettings(least_hands=0.5),
        "side": "right",
        "where": "hold.sequences.mug",
    }
    find_hands(**place._asdict(), given=given, hands=hands, **{**settings, **changed})
    return FoundHands.load(hands)


def mirrored_picture(shown: Shown = SHOWN) -> Shown:
    """The same pictures mirrored, in which the hands are left ones, as a network tells of them."""
    flip = np.array(MIRROR)

    def across(points: np.ndarray) -> np.ndarray:
        return points * [-1, 1] + [WIDTH_PX - 1, 0]

    return shown._replace(
        joints_cam_m=shown.joints_cam_m * flip,
        vertices_cam_m=shown.vertices_cam_m * flip,
        keypoints_px=across(shown.keypoints_px),
        box_center=across(shown.box_center),
    )
