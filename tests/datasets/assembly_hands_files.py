"""Writes a small AssemblyHands split in the original layout, from arrays."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from handloom.datasets.assembly_hands import AnnotationFiles, annotation_files
from handloom.runtime.config.datasets import AssemblyHandsSettings


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
