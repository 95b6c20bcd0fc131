"""Writes a small AssemblyHands split in the original layout, from arrays."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from handloom.datasets import AssemblyHandsSettings
from handloom.datasets.assembly_hands import HEADSET_CAMERAS, annotation_files
from handloom.datasets.assembly_hands_files import AnnotationFiles

FRAMES = (30, 60)
SEQUENCES = {"headset1": "sequence-a", "headset2": "sequence-b"}
RIGHT_BOX, LEFT_BOX = (300.0, 200.0, 400.0, 280.0), (120.0, 160.0, 180.0, 260.0)


@dataclass
class SplitWriter:
    """Collects images and their annotations; `write` puts the three JSON files on disk."""

    root: Path
    split: str = "val"
    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    calibration: dict[str, Any] = field(default_factory=dict)
    joints: dict[str, Any] = field(default_factory=dict)

    @property
    def dataset(self) -> AssemblyHandsSettings:
        return AssemblyHandsSettings(root=str(self.root), split="val", bad_fraction=0.5)

    @property
    def files(self) -> AnnotationFiles:
        return annotation_files(self.dataset, self.split)

    def add_image(
        self,
        *,
        sequence: str,
        frame: int,
        camera: str,
        image: np.ndarray,
        boxes: np.ndarray,
        joint_valid: np.ndarray,
        intrinsics: np.ndarray,
        cam_from_world_mm: np.ndarray,
        world_mm: np.ndarray,
    ) -> None:
        """One image: `boxes` (2, 4) with NaN for a hand without a box, right hand first."""
        file_name = f"ego_images_rectified/{self.split}/{sequence}/{camera}_mono10bit/{frame:06d}.png"
        path = self.root / "images" / file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
        identifier = len(self.images) + 100
        height, width = image.shape
        self.images.append(
            {"id": identifier, "seq_name": sequence, "camera": camera, "frame_idx": frame, "file_name": file_name}
            | {"width": width, "height": height}
        )
        bbox = {
            hand: None if np.isnan(box).any() else box.tolist()
            for hand, box in zip(("right", "left"), boxes, strict=True)
        }
        self.annotations.append({"image_id": identifier, "bbox": bbox, "joint_valid": joint_valid.tolist()})
        calibration = self.calibration.setdefault(sequence, {"intrinsics": {}, "extrinsics": {}})
        calibration["intrinsics"][f"{camera}_mono10bit"] = intrinsics.tolist()
        extrinsics = calibration["extrinsics"].setdefault(f"{frame:06d}", {})
        extrinsics[f"{camera}_mono10bit"] = cam_from_world_mm.tolist()
        self.joints.setdefault(sequence, {})[f"{frame:06d}"] = {"world_coord": world_mm.tolist()}

    def write(self) -> AssemblyHandsSettings:
        """Write the annotation files; returns the settings that read them."""
        self.files.data.parent.mkdir(parents=True, exist_ok=True)
        self.files.data.write_text(json.dumps({"images": self.images, "annotations": self.annotations}))
        self.files.calibration.write_text(json.dumps({"calibration": self.calibration}))
        self.files.joints.write_text(json.dumps({"annotations": self.joints}))
        return self.dataset


def small_split(root: Path) -> SplitWriter:
    """Both hands in every image of all eight cameras, joints about half a metre in front of each; not yet written."""
    generator = np.random.default_rng(5)
    writer = SplitWriter(root)
    intrinsics = np.array([[350.0, 0, 318], [0, 350, 240], [0, 0, 1]])
    for headset, sequence in SEQUENCES.items():
        for frame in FRAMES:
            world_mm = generator.normal(scale=30, size=(42, 3)) + np.array([0, 0, 500])
            world_mm[21:] -= [200, 40, 0]  # to where the left hand's box is
            for number, camera in enumerate(HEADSET_CAMERAS[headset]):
                writer.add_image(
                    sequence=sequence,
                    frame=frame,
                    camera=camera,
                    image=generator.integers(0, 256, size=(480, 636), dtype=np.uint8),
                    boxes=np.array([RIGHT_BOX, LEFT_BOX]),
                    joint_valid=np.ones(42),
                    intrinsics=intrinsics,
                    cam_from_world_mm=np.hstack([np.eye(3), [[10.0 * number], [0], [5]]]),
                    world_mm=world_mm,
                )
    return writer
