"""A textured (or plain) box that turns before a static camera, rendered in a second or two."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from handloom.datasets.frames import Frames, read_frames
from handloom.datasets.masks import read_masks
from handloom.demo.renderer import Environment, Mesh, Scene, Topology

WIDTH, HEIGHT = 320, 240
INTRINSICS = np.array([[420.0, 0, 163.0], [0, 420.0, 117.0], [0, 0, 1]])
HALF_M = np.array([0.05, 0.035, 0.06])


class Footage(NamedTuple):
    """Where the frames, their list and the masks are, and the true poses."""

    frames: Path
    frames_json: Path
    masks: Path
    cam_from_object: np.ndarray

    @property
    def taken(self) -> Frames:
        """The frames."""
        return read_frames(self.frames, self.frames_json)

    def labels(self) -> np.ndarray:
        """The true masks."""
        return read_masks(self.masks, self.taken)


def box_mesh(texture: np.ndarray, rotation: np.ndarray, centre: np.ndarray) -> Mesh:
    """A box of 6 x 64 squares, each side with its own sixth of the texture."""
    grid = np.linspace(-1, 1, 9)
    first, second = (axis.reshape(-1) for axis in np.meshgrid(grid, grid, indexing="ij"))
    cell = (np.arange(8)[:, None] * 9 + np.arange(8)[None]).reshape(-1)
    square = np.concatenate([np.stack([cell, cell + 9, cell + 10], -1), np.stack([cell, cell + 10, cell + 1], -1)])
    vertices, faces, uvs = [], [], []
    for side in range(6):
        axis, sign = side // 2, 1 - 2 * (side % 2)
        corner = np.zeros((81, 3))
        corner[:, axis], corner[:, (axis + 1) % 3], corner[:, (axis + 2) % 3] = sign, first, second
        faces.append((square if sign > 0 else square[:, ::-1]) + 81 * side)
        vertices.append(corner * HALF_M)
        tile = np.stack([side % 3 + (first + 1) / 2, 1.5 * (side // 3) + 1.5 * (second + 1) / 2], -1) / 3
        uvs.append(np.clip(tile, 0, 0.9999)[square if sign > 0 else square[:, ::-1]])
    topology = Topology(np.concatenate(faces), 6 * 81)
    placed = np.concatenate(vertices) @ rotation.T + centre
    labels = np.zeros(len(topology.faces), int)
    return Mesh(topology, placed, np.ones((len(placed), 3), np.float32), labels, 0.0, texture, np.concatenate(uvs))


def painted(generator: np.random.Generator) -> np.ndarray:
    """A texture of random blocks at two sizes, full of corners."""
    coarse = cv2.resize(generator.random((24, 24, 3)), (384, 384), interpolation=cv2.INTER_NEAREST)
    fine = cv2.resize(generator.random((96, 96, 3)), (384, 384), interpolation=cv2.INTER_NEAREST)
    return (0.7 * coarse + 0.3 * fine).astype(np.float32)


def finger_pixels(frame: int, sway_px: float) -> np.ndarray:
    """Where a hand of two thick fingers and a forearm lies, which sways over the box's right edge."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    sway = sway_px * np.array([0.2 * np.sin(frame / 1.5), np.cos(frame / 3)])
    for row in (100, 140):
        ends = (np.array([[190, row], [260, 120]]) + sway).astype(int).tolist()
        cv2.line(mask, ends[0], ends[1], 1, 22, cv2.LINE_8)
    ends = (np.array([[255, 120], [330, 190]]) + sway).astype(int).tolist()
    cv2.line(mask, ends[0], ends[1], 1, 40, cv2.LINE_8)
    return mask.astype(bool)


def turning_box(
    folder: Path,
    *,
    frames: int = 14,
    step_deg: float = 9.0,
    plain: bool = False,
    hand: bool = False,
    sway_px: float = 45.0,
) -> Footage:
    """Write frames/, frames.json and masks/ of a box that turns about a tilted axis and wanders a little."""
    generator = np.random.default_rng(3)
    texture = np.full((384, 384, 3), 0.6, np.float32) if plain else painted(generator)
    backdrop = cv2.resize(generator.random((30, 40, 3)), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    backdrop = (60 + 120 * np.clip(backdrop.mean(-1, keepdims=True).repeat(3, -1) * [1, 0.95, 0.8], 0, 1)).astype(
        np.uint8
    )
    axis = np.array([0.25, 1.0, 0.2]) / np.linalg.norm([0.25, 1.0, 0.2])
    light = Environment(np.array([[0.3, -0.5, -0.81], [-0.6, -0.4, -0.69]]), np.full((2, 3), 0.55))
    poses = np.tile(np.eye(4), (frames, 1, 1))
    (folder / "frames").mkdir(parents=True)
    (folder / "masks").mkdir()
    for frame in range(frames):
        rotation = Rotation.from_rotvec(np.radians(step_deg * frame) * axis).as_matrix()
        rotation = rotation @ Rotation.from_rotvec([0.5, 0.3, 0]).as_matrix()
        centre = np.array([0.01 * np.sin(frame / 3), 0.008 * np.cos(frame / 2), 0.45 + 0.01 * np.sin(frame / 4)])
        poses[frame, :3, :3], poses[frame, :3, 3] = rotation, centre
        view = Scene([box_mesh(texture, rotation, centre)], light).view(np.eye(4)[:3], INTRINSICS, WIDTH, HEIGHT)
        image, mask = backdrop.copy(), np.zeros((HEIGHT, WIDTH), np.uint8)
        window = image[view.rows, view.columns]
        window[view.mask] = (255 * np.clip(view.radiance[view.mask], 0, 1)).astype(np.uint8)
        mask[view.rows, view.columns][view.mask] = 50
        if hand:
            blob = finger_pixels(frame, sway_px)
            noise = generator.normal(0, 6, (HEIGHT, WIDTH, 1))
            image[blob] = np.clip(np.array([205, 150, 125]) + noise, 0, 255).astype(np.uint8)[blob]
            mask[blob] = 150
        cv2.imwrite(str(folder / "frames" / f"{frame:04d}.png"), image[..., ::-1])
        cv2.imwrite(str(folder / "masks" / f"{frame:04d}.png"), mask)
    return listed(folder, frames, poses, INTRINSICS)


def listed(folder: Path, count: int, poses: np.ndarray, intrinsics: np.ndarray | None) -> Footage:
    """The footage in a folder, whose frames are listed with that camera."""
    names, times_s = tuple(f"shot{frame}.jpg" for frame in range(count)), tuple(frame / 30 for frame in range(count))
    frames = Frames(folder / "frames", names, times_s, "test", WIDTH, HEIGHT, "test", intrinsics)
    frames.write_list(folder / "frames.json")
    return Footage(folder / "frames", folder / "frames.json", folder / "masks", poses)
