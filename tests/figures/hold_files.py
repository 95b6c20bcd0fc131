"""A small reconstructed sequence: a red and green block beside a hand, photographed by the renderer of the figures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import trimesh
from PIL import Image
from scipy.spatial.transform import Rotation

from handloom.datasets.frames import Frames
from handloom.datasets.hand_and_object import HoldPredictions
from handloom.figures.mesh_picture import PaintedMesh, one_colour, take_picture
from handloom.hand.mano import skin
from handloom.hand.models import open_hand

HEIGHT_PX, WIDTH_PX, FRAMES = 90, 120, 5
INTRINSICS = np.array([[150.0, 0, 59.5], [0, 150, 44.5], [0, 0, 1]])
FAILED = 3
RED, GREEN = (220, 40, 40), (40, 200, 60)


@dataclass(frozen=True)
class HoldFiles:
    """The inputs of the figures' stages."""

    predictions: Path
    frames: Path
    frames_json: Path

    @property
    def inputs(self) -> tuple[Path, Path, Path]:
        """In the order in which the stages take them."""
        return self.predictions, self.frames, self.frames_json


def block() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, faces and colours: red where x < 0, green elsewhere."""
    mesh = trimesh.creation.box((0.08, 0.06, 0.06)).subdivide_to_size(0.012)
    vertices = np.asarray(mesh.vertices)
    colours = np.where(vertices[:, :1] < 0, RED, GREEN).astype(np.uint8)
    return vertices, np.asarray(mesh.faces), colours


def write_sequence(folder: Path) -> HoldFiles:
    """Write predictions, frames and camera of five frames, the fourth of which failed."""
    hand = open_hand()
    vertices, faces, colours = block()
    posed = skin(
        hand,
        pose_rotvec=torch.zeros(FRAMES, 16, 3),
        shape=torch.zeros(FRAMES, hand.shape_count),
        translation_m=torch.tensor([0.14, 0.07, 0.45]).expand(FRAMES, 3),
    )
    hands = posed.vertices_m.numpy().astype(np.float64)
    motion = np.tile(np.eye(4), (FRAMES, 1, 1))
    turns = np.linspace(0, 2 * np.pi, FRAMES, endpoint=False)
    motion[:, :3, :3] = Rotation.from_rotvec(turns[:, None] * [0, 1, 0]).as_matrix()
    motion[:, :3, 3] = [-0.03, 0.0, 0.4]
    for frame in range(FRAMES):
        placed = vertices @ motion[frame, :3, :3].T + motion[frame, :3, 3]
        meshes = [PaintedMesh(placed, faces, colours), one_colour(hands[frame], hand.faces.numpy(), (200, 160, 130))]
        image = take_picture(meshes, INTRINSICS, HEIGHT_PX, WIDTH_PX, background=(120, 120, 200)).rgb_u8
        (folder / "frames").mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / "frames" / f"{frame:04d}.png")
    motion[FAILED] = np.nan
    names = tuple(f"shot{frame}" for frame in range(FRAMES))
    arrays = {
        "names": np.array(names),
        "object_vertices_m": vertices.astype(np.float32),
        "object_faces": faces.astype(np.int32),
        "cam_from_object": motion,
        "intrinsics": INTRINSICS,
        "hand_vertices_cam_m": hands.astype(np.float32),
        "hand_joints_cam_m": posed.keypoints_m.numpy(),
        "hand_faces": hand.faces.numpy().astype(np.int32),
    }
    files = HoldFiles(folder / "predictions.npz", folder / "frames", folder / "frames.json")
    HoldPredictions(**arrays).save(files.predictions)
    times = tuple(0.1 * f for f in range(FRAMES))
    frames = Frames(files.frames, names, times, "nominal", WIDTH_PX, HEIGHT_PX, "test", None)
    frames.write_list(files.frames_json)
    return files
