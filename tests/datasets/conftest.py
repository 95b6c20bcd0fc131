"""A small AssemblyHands split on disk: two sequences, all eight cameras."""

from pathlib import Path

import numpy as np
import pytest

from handloom.datasets.assembly_hands import HEADSET_CAMERAS

from .assembly_hands_files import SplitWriter

FRAMES = (30, 60)
SEQUENCES = {"headset1": "sequence-a", "headset2": "sequence-b"}
RIGHT_BOX, LEFT_BOX = (300.0, 200.0, 400.0, 280.0), (120.0, 160.0, 180.0, 260.0)


def noise(generator: np.random.Generator) -> np.ndarray:
    return generator.integers(0, 256, size=(480, 636), dtype=np.uint8)


@pytest.fixture
def split(tmp_path: Path) -> SplitWriter:
    """Both hands in every image, joints about half a metre in front of each camera; not yet written."""
    generator = np.random.default_rng(5)
    writer = SplitWriter(tmp_path / "assemblyhands")
    intrinsics = np.array([[350.0, 0, 318], [0, 350, 240], [0, 0, 1]])
    for headset, sequence in SEQUENCES.items():
        for frame in FRAMES:
            world_mm = generator.normal(scale=30, size=(42, 3)) + np.array([0, 0, 500])
            for number, camera in enumerate(HEADSET_CAMERAS[headset]):
                writer.add_image(
                    sequence=sequence,
                    frame=frame,
                    camera=camera,
                    image=noise(generator),
                    boxes=np.array([RIGHT_BOX, LEFT_BOX]),
                    joint_valid=np.ones(42),
                    intrinsics=intrinsics,
                    cam_from_world_mm=np.hstack([np.eye(3), [[10.0 * number], [0], [5]]]),
                    world_mm=world_mm,
                )
    return writer
