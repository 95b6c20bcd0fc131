"""A cube of the wrong size that lies anywhere is measured as a cube, and a dent shows on its face."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handloom.evaluation.frame_meshes import PREDICTIONS
from handloom.runtime.artifacts import Header, write_arrays

TOOL = Path(__file__).parents[2] / "tools" / "measure_cube.py"
FRAMES = 3


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("measure_cube", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def written(path: Path, vertices: np.ndarray, faces: np.ndarray) -> Path:
    """Predictions whose camera sees the object's faces towards -x, -y and -z."""
    pose = np.eye(4)
    pose[:3, 3] = -vertices.mean(0) + (0.4, 0.5, 0.6)
    arrays = {
        "names": np.array([f"{number:04d}" for number in range(FRAMES)]),
        "object_vertices_m": vertices,
        "object_faces": faces,
        "cam_from_object": np.repeat(pose[None], FRAMES, 0),
        "hand_vertices_cam_m": np.zeros((FRAMES, 4, 3)),
        "hand_joints_cam_m": np.zeros((FRAMES, 21, 3)),
        "hand_faces": np.array([[0, 1, 2]]),
    }
    write_arrays(path, arrays, Header(PREDICTIONS, units="m", frame="camera"))
    return path


def test_size_and_place_do_not_count(tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vertices, faces = tool.cube_mesh(0.1)
    turned = vertices @ Rotation.from_rotvec([0.05, 0.08, 0.03]).as_matrix().T + (0.3, 0.1, 0.2)
    assert tool.main([str(written(tmp_path / "cube.npz", turned, faces))]) == 0
    report = capsys.readouterr().out
    chamfer, f5, f10 = map(float, re.findall(r"chamfer ([\d.]+) cm2, F5 ([\d.]+) %, F10 ([\d.]+) %", report)[0])
    assert chamfer < 0.05
    assert f5 > 99
    assert f10 == 100
    side = float(re.search(r"reconstruction: ([\d.]+) mm", report)[1])
    assert side == pytest.approx(100, abs=1)
    assert report.count("camera in   3 of 3") == 3
    assert report.count("camera in   0 of 3") == 3


def test_a_dent_of_a_face_that_is_not_seen_counts_apart(tool: ModuleType) -> None:
    vertices, faces = tool.cube_mesh(0.084)
    top = vertices[:, 2] > 0.0419
    dented = vertices.copy()
    dented[top, 2] -= 0.012
    seen = np.zeros((4, 6), bool)
    seen[:, 3:] = True
    samples = tool.surface_samples(dented, faces, 50_000, np.random.default_rng(0))
    errors = {error.name: error for error in tool.face_errors(samples, 0.084, seen, 0)}
    assert errors["+z"].seen_frames == 0
    assert np.median(errors["+z"].to_mesh_mm) == pytest.approx(12, abs=1)
    assert np.median(errors["-z"].to_mesh_mm) < 2
    assert "F5 100.0 %, F10 100.0 %" in tool.described([errors["-z"]])
    outside = np.array([[0.05, 0, 0], [0.042, 0.042, 0.044], [0.0, 0.03, 0.0]])
    np.testing.assert_allclose(tool.distance_to_cube(outside, 0.084), [0.008, 0.002, 0.012], atol=1e-9)
