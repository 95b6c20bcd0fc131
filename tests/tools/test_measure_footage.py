"""The measuring tool's errors in closed form, and its scores of files with a known answer."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handloom.demo.camera_pair import TRUTH_KIND
from handloom.footage.pairing import KIND as PAIRS_KIND
from handloom.footage.poses_file import FootagePoses, write_poses
from handloom.runtime.artifacts import Header, write_arrays
from handloom.runtime.files import write_json

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from measure_footage import error_mm, scores

TURN = Rotation.from_rotvec([0.0, 0.5, 0.0])


def hands(count: int) -> np.ndarray:
    joints = 0.1 * np.random.default_rng(0).normal(size=(count, 21, 3))
    return joints - joints[:, :1]


def test_errors_know_no_size_and_no_place_but_a_turn() -> None:
    true = hands(5)
    assert error_mm(2 * true, true + 0.3) == pytest.approx(0, abs=1e-9)
    moved = true.copy()
    moved[:, 5] += [0.003, 0.0, 0.004]
    assert error_mm(moved, true) == pytest.approx(5 / 21)
    assert error_mm(TURN.apply(true.reshape(-1, 3)).reshape(true.shape), true) > 10


def test_scores_of_known_files(tmp_path: Path) -> None:
    left = hands(6)
    right = TURN.apply(left.reshape(-1, 3)).reshape(left.shape)
    truth = {"joints_left_m": left, "joints_right_m": right, "right_from_left": TURN.as_matrix()}
    write_arrays(tmp_path / "truth.npz", truth, Header(TRUTH_KIND))
    rows = np.arange(6)
    write_arrays(
        tmp_path / "pairs.npz",
        {"index_left": rows, "index_right": rows, "common": np.ones(6, bool)},
        Header(PAIRS_KIND),
    )
    write_json(tmp_path / "pairing.json", {"offset_s": 0.1, "estimate": None})
    off = Rotation.from_rotvec([0.0, 0.5 + np.radians(3), 0.0]).as_matrix()
    poses = FootagePoses(
        *(rows, rows, rows.astype(str), rows.astype(str), rows / 30, rows / 30),
        joints_m=left,
        confidence=np.ones((6, 21)),
        joints_left_m=1.3 * left,
        joints_right_m=right,
        right_from_left=TURN.as_matrix(),
        joints_before_m=left + np.where(np.arange(21) == 5, 0.0021, 0.0)[:, None] * [1.0, 0.0, 0.0],
        joints_left_before_m=left,
        joints_right_before_m=right,
        right_from_left_before=off,
    )
    write_poses(tmp_path / "poses.npz", tmp_path / "poses.json", poses, {}, side="right", size="")
    found = scores(tmp_path / "truth.npz", tmp_path)
    assert found["rotation_before_deg"] == pytest.approx(3)
    assert found["rotation_after_deg"] == pytest.approx(0, abs=1e-5)
    assert found["fused_before_mm"] == pytest.approx(0.1)
    for name in ("left_after_mm", "right_after_mm", "fused_after_mm"):
        assert found[name] == pytest.approx(0, abs=1e-9)
    assert (found["pairs"], found["common"], found["offset_s"]) == (6, 6, 0.1)
