"""The code in docs/interchange.md, run as it stands there: a method's own frames become files that score exactly."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handloom.evaluation.interchange import read_interchange, score_interchange
from handloom.hand.open_hand import open_hand
from handloom.runtime.files import read_json

from .sequence_files import FRAMES, sequence_arrays, write_truth

PAGE = Path(__file__).parents[2] / "docs" / "interchange.md"
HAND = open_hand()


@pytest.fixture(scope="module")
def recipe() -> dict[str, Any]:
    """The names that the page's Python blocks define."""
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(block, names)  # our own page
    return names


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    return sequence_arrays()


def rigid(seed: int, scale: float = 1) -> np.ndarray:
    chance = np.random.default_rng(seed)
    pose = np.eye(4)
    pose[:3, :3] = scale * Rotation.random(random_state=chance).as_matrix()
    pose[:3, 3] = chance.normal(size=3)
    return pose


def moved(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    return np.asarray(points @ pose[:3, :3].T + pose[:3, 3])


def object_cam(truth: dict[str, np.ndarray], frame: int) -> np.ndarray:
    return moved(truth["object_vertices_m"], truth["cam_from_object"][frame])


def scored(folder: Path, truth: dict[str, np.ndarray], method: str) -> dict[str, Any]:
    score_interchange(
        folder / "file.npz",
        write_truth(folder / "truth.npz", truth),
        HAND,
        folder / "scores.json",
        folder / "frames.csv",
        sequence="block",
        protocol="faithful",
        seed=1,
        method=method,
        restarts=3,
    )
    scores: dict[str, Any] = read_json(folder / "scores.json")
    return scores


def expect_perfect(scores: dict[str, Any]) -> None:
    assert scores["mpjpe_mm"] == pytest.approx(0, abs=1e-3)
    assert scores["chamfer_cm2"] == pytest.approx(0, abs=1e-4)
    assert scores["chamfer_hand_cm2"] == pytest.approx(0, abs=1e-4)
    assert scores["f10_pct"] == pytest.approx(100, abs=1e-3)
    assert scores["mrrpe_mm"] == pytest.approx(0, abs=1e-3)


def test_ihoi_s_hand_frame_becomes_wrist_relative(
    tmp_path: Path, recipe: dict[str, Any], truth: dict[str, np.ndarray]
) -> None:
    """Whatever depth and scale its weak camera gives, only the rotation counts."""
    write: Callable[..., None] = recipe["write_interchange"]
    frames = {}
    for frame, name in enumerate(truth["names"]):
        pose = rigid(frame, scale=1.7)
        turn = pose[:3, :3] / 1.7
        wrist = HAND.J_regressor[0].double().numpy() @ truth["hand_vertices_cam_m"][frame]
        hand, thing = (
            (points - wrist) @ turn + recipe["REST_WRIST_M"]
            for points in (truth["hand_vertices_cam_m"][frame], object_cam(truth, frame))
        )
        frames[str(name)] = recipe["ihoi_frame"](hand, thing, truth["object_faces"], pose)
    write(tmp_path / "file.npz", "iHOI", "mow", "wrist_relative_camera", frames)
    scores = scored(tmp_path, truth, "iHOI")
    expect_perfect(scores)
    assert scores["coverage_pct"] == 100
    assert "remark" not in scores


def test_diffhoi_s_object_frame_becomes_the_camera_s(
    tmp_path: Path, recipe: dict[str, Any], truth: dict[str, np.ndarray]
) -> None:
    """10 units to a metre; the last frame has no pose."""
    object_from_j = rigid(9, scale=0.1)  # one shape in j
    vertices_j = moved(truth["object_vertices_m"].astype(np.float64), np.linalg.inv(object_from_j))
    frames: dict[str, Any] = {}
    for frame, name in enumerate(truth["names"]):
        cam_from_j = truth["cam_from_object"][frame] @ object_from_j
        cam_from_hand = rigid(20 + frame)
        hand_h = moved(truth["hand_vertices_cam_m"][frame], np.linalg.inv(cam_from_hand))
        j_from_cam = np.linalg.inv(cam_from_j)
        j_from_hand = j_from_cam @ cam_from_hand
        frames[str(name)] = recipe["diffhoi_frame"](hand_h, vertices_j, truth["object_faces"], j_from_cam, j_from_hand)
    frames[str(truth["names"][-1])] = None
    recipe["write_interchange"](tmp_path / "file.npz", "DiffHOI", "ddpm2d", "camera", frames)
    scores = scored(tmp_path, truth, "DiffHOI")
    expect_perfect(scores)
    assert scores["coverage_pct"] == pytest.approx(100 * (FRAMES - 1) / FRAMES)
    assert scores["remark"] == f"1 frames failed (frame {truth['names'][-1]})"
    assert scores["variant"] == "ddpm2d"
    assert read_interchange(tmp_path / "file.npz", HAND).failed.tolist() == [False] * (FRAMES - 1) + [True]


def test_the_page_lists_every_array_of_the_file(recipe: dict[str, Any], tmp_path: Path) -> None:
    frames = {"0000": (np.zeros((778, 3)), np.zeros((4, 3)), np.zeros((2, 3), int)), "0001": None}
    recipe["write_interchange"](tmp_path / "file.npz", "iHOI", "mow", "camera", frames)
    table = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE))
    with np.load(tmp_path / "file.npz") as arrays:
        assert set(arrays.files) == table
        assert arrays["hand_verts"].shape == (2, 778, 3)
        assert arrays["obj_vert_ptr"].tolist() == [0, 4, 4]
