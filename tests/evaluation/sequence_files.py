"""A small scored sequence: a hand in MANO's format that holds a block, as prediction and as ground truth."""

from pathlib import Path

import numpy as np
import torch
import trimesh
from scipy.spatial.transform import Rotation

from handloom.datasets.hand_and_object import HoldPredictions, HoldTruth
from handloom.hand.mano import skin
from handloom.hand.models import open_hand

FRAMES = 4


def block() -> trimesh.Trimesh:
    """About 8 cm, without symmetry; neighbouring vertices are 1 cm apart."""
    step = trimesh.creation.box((0.03, 0.03, 0.03)).apply_translation([0.025, 0.02, 0.04])
    return trimesh.util.concatenate([trimesh.creation.box((0.08, 0.07, 0.05)), step]).subdivide_to_size(0.012)


def sequence_arrays(frames: int = FRAMES) -> dict[str, np.ndarray]:
    """What predictions.npz and, with `valid`, truth.npz hold."""
    hand = open_hand()
    pose = torch.zeros(frames, 16, 3)
    pose[:, 0, 1] = torch.linspace(0, 0.8, frames)
    pose[:, 4, 2] = 0.3
    posed = skin(
        hand,
        pose_rotvec=pose,
        shape=torch.zeros(frames, hand.shape_count),
        translation_m=torch.tensor([0.05, 0.02, 0.5]).expand(frames, 3),
    )
    motion = np.tile(np.eye(4), (frames, 1, 1))
    motion[:, :3, :3] = Rotation.from_rotvec(np.linspace(0, 0.9, frames)[:, None] * [0, 1, 0]).as_matrix()
    motion[:, :3, 3] = [0.0, 0.05, 0.5]
    mesh = block()
    return {
        "names": np.array([f"{frame:04d}" for frame in range(frames)]),
        "object_vertices_m": np.asarray(mesh.vertices, np.float32),
        "object_faces": np.asarray(mesh.faces, np.int32),
        "cam_from_object": motion,
        "hand_vertices_cam_m": posed.vertices_m.numpy(),
        "hand_joints_cam_m": posed.keypoints_m.numpy(),
        "hand_faces": hand.faces.numpy().astype(np.int32),
        "valid": np.ones(frames, dtype=bool),
    }


def write_predictions(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Write predictions.npz."""
    kept = {name: array for name, array in arrays.items() if name != "valid"}
    HoldPredictions(**kept, intrinsics=np.eye(3)).save(path)
    return path


def write_truth(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Write truth.npz."""
    HoldTruth(**arrays).save(path)
    return path
