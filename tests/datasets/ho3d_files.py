"""A small HO3D-v3 sequence on disk, written independently of the demo."""

import pickle
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from handloom.hand.joints import MANO21_FROM_SNAP
from handloom.hand.mano import skin
from handloom.hand.models import open_hand

SIZE = (64, 48)
FRAMES = 4
CAMERA = np.array([[70.0, 0.0, 31.0], [0.0, 71.0, 24.5], [0.0, 0.0, 1.0]])
FLIP = np.diag([1.0, -1.0, -1.0])


class SequenceWriter:
    """Poses in OpenGL axes, as the data set has them; `write` puts them on disk below `root`/train/SM1."""

    def __init__(self, root: Path) -> None:
        generator = np.random.default_rng(2)
        self.root, self.folder = root, root / "train" / "SM1"
        self.pose = generator.normal(0, 0.4, (FRAMES, 16, 3))
        self.shape = np.broadcast_to(generator.normal(0, 1, 10), (FRAMES, 10))
        self.translation = np.array([0.05, 0.02, -0.5]) + generator.normal(0, 0.02, (FRAMES, 3))
        self.object_rotvec = generator.normal(0, 1, (FRAMES, 3))
        self.object_translation = np.array([0.0, 0.0, -0.5]) + generator.normal(0, 0.02, (FRAMES, 3))
        hand = skin(
            open_hand(),
            pose_rotvec=torch.from_numpy(self.pose).float(),
            shape=torch.from_numpy(self.shape.copy()).float(),
            translation_m=torch.from_numpy(self.translation).float(),
        )
        self.vertices = hand.vertices_m.double().numpy()
        self.keypoints = hand.keypoints_m.double().numpy()
        self.corners = generator.uniform(-0.05, 0.05, (4, 3))

    def meta(self, frame: int) -> dict:
        return {
            "handPose": self.pose[frame].reshape(48),
            "handBeta": self.shape[frame].copy(),
            "handTrans": self.translation[frame],
            "handJoints3D": self.keypoints[frame][list(MANO21_FROM_SNAP)],
            "objRot": self.object_rotvec[frame][:, None],
            "objTrans": self.object_translation[frame],
            "objName": "025_mug",
            "objLabel": 14,
            "camMat": CAMERA,
        }

    def object_points_gl(self, frame: int) -> np.ndarray:
        return Rotation.from_rotvec(self.object_rotvec[frame]).apply(self.corners) + self.object_translation[frame]

    def write(self) -> Path:
        for part in ("rgb", "seg", "meta"):
            (self.folder / part).mkdir(parents=True)
        for frame in range(FRAMES):
            picture = np.full((SIZE[1], SIZE[0], 3), 40 * frame, np.uint8)
            Image.fromarray(picture).save(self.folder / "rgb" / f"{frame:04d}.jpg")
            seg = np.zeros((SIZE[1] // 4, SIZE[0] // 4, 3), np.uint8)
            seg[2:6, 3:7], seg[6:9, 3:7] = (0, 255, 0), (0, 0, 255)
            Image.fromarray(seg).save(self.folder / "seg" / f"{frame:04d}.png")
            self.write_meta(frame, self.meta(frame))
        model = self.root / "models" / "025_mug"
        model.mkdir(parents=True)
        lines = ["mtllib x.mtl", *("v {} {} {}".format(*corner) for corner in self.corners), "vt 0 0"]
        faces = ["f 1/1 2/1 3/1", "f 1/1 2/1 4/1", "f 2//1 3//1 4//1", "f 1 3 4"]
        (model / "textured_simple.obj").write_text("\n".join([*lines, *faces]) + "\n")
        return self.folder

    def write_meta(self, frame: int, content: object) -> None:
        (self.folder / "meta" / f"{frame:04d}.pkl").write_bytes(pickle.dumps(content, protocol=2))
