"""The sheet draws the truth where it is, and says when it cannot."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handloom.datasets.frames_file import FramesFile, write_frames_file
from handloom.figures.truth_sheet import truth_sheet
from handloom.runtime.artifacts import Header, write_arrays
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_rgb

CAMERA = np.array([[320.0, 0.0, 160.0], [0.0, 320.0, 120.0], [0.0, 0.0, 1.0]])


def _write(folder: Path, intrinsics: np.ndarray | None) -> None:
    (folder / "frames").mkdir()
    for frame in range(2):
        Image.fromarray(np.zeros((240, 320, 3), np.uint8)).save(folder / "frames" / f"{frame:04d}.png")
    frames = FramesFile(("a.png", "b.png"), (0.0, 0.1), "test", 320, 240, "test", intrinsics)
    write_frames_file(folder / "frames.json", frames)
    square = np.array([[-0.1, -0.1, 0.0], [0.1, -0.1, 0.0], [0.1, 0.1, 0.0], [-0.1, 0.1, 0.0]])
    pose = np.tile(np.eye(4), (2, 1, 1))
    pose[:, :3, 3] = [0.0, 0.0, 0.8]
    hand = np.tile(0.25 * square + [0.0, 0.0, 0.8], (2, 1, 1))
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    arrays = {
        "valid": np.array([True, False]),
        "cam_from_object": pose,
        "object_vertices_m": square,
        "object_faces": faces,
        "hand_vertices_cam_m": hand,
        "hand_faces": faces,
        "hand_joints_cam_m": np.tile([0.0, 0.0, 0.8], (2, 21, 1)),
    }
    write_arrays(folder / "truth.npz", arrays, Header("hold_truth"))


def test_outlines_lie_at_the_projections_and_invalid_frames_stay_as_they_are(tmp_path: Path) -> None:
    _write(tmp_path, CAMERA)
    truth_sheet(tmp_path / "frames", tmp_path / "frames.json", tmp_path / "truth.npz", tmp_path / "s.png", columns=2)
    sheet = read_rgb(tmp_path / "s.png")
    assert sheet.shape == (240, 640, 3)
    row, column = np.nonzero(sheet[:, :320].any(-1))
    # 0.1 m at 0.8 m with a focal length of 320 pixels: 40 pixels beside the centre.
    assert (column.min(), column.max()) == pytest.approx((120, 200), abs=2)
    assert (row.min(), row.max()) == pytest.approx((80, 160), abs=2)
    assert sheet[120, 110:130, 2].max() > 110, "the object's edge is blue"
    assert sheet[120, 145:155, 0].max() > 110, "the hand's edge is red"
    assert not sheet[:, 330:].any()


def test_frames_without_a_camera_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, None)
    with pytest.raises(InputError, match="knows no intrinsics"):
        truth_sheet(tmp_path / "frames", tmp_path / "frames.json", tmp_path / "truth.npz", tmp_path / "s.png")
