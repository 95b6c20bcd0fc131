"""The measuring tool's errors in closed form, and its scores of files with a known answer."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handloom.adaptation.fused_poses import FusedPoses
from handloom.datasets.views import FramePairs
from handloom.runtime.files import write_json
from measure_pair import error_mm, scores, triangulated
from rendered_pair import Filmed

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
    rows = np.arange(6)
    pixels = np.zeros((6, 21, 2))
    Filmed(left, right, pixels, pixels, rows / 30, rows / 30, TURN.as_matrix()).save(tmp_path / "truth.npz")
    none = np.zeros(0)
    FramePairs(rows, rows, np.ones(6, bool), none, none, none, none, np.array([0.0, 1.0])).save(tmp_path / "pairs.npz")
    write_json(tmp_path / "pairing.json", {"offset_s": 0.1, "estimate": None})
    off = Rotation.from_rotvec([0.0, 0.5 + np.radians(3), 0.0]).as_matrix()
    FusedPoses(
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
        **{"side": "right", "size": "", "sources": {}, "crossed_before_mm": 2.0, "crossed_mm": 1.0, "kept": "adapted"},
    ).save(tmp_path / "poses.npz")
    found = scores(tmp_path / "truth.npz", tmp_path)
    assert found["rotation_before_deg"] == pytest.approx(3)
    assert found["rotation_after_deg"] == pytest.approx(0, abs=1e-5)
    assert found["fused_before_mm"] == pytest.approx(0.1)
    for name in ("left_after_mm", "right_after_mm", "fused_after_mm"):
        assert found[name] == pytest.approx(0, abs=1e-9)
    assert (found["pairs"], found["common"], found["offset_s"]) == (6, 6, 0.1)


def test_rays_of_two_cameras_meet_in_the_points_that_they_show() -> None:
    left = hands(3) + np.array([0.0, 0.0, 1.0])
    turn, shift = TURN.as_matrix(), np.array([-0.5, 0.0, 0.1])
    rays = [each / np.linalg.norm(each, axis=-1, keepdims=True) for each in (left, left @ turn.T + shift)]
    found, gap = triangulated(*rays, turn, shift)
    np.testing.assert_allclose(found, left, atol=1e-9)
    assert gap.max() < 1e-9
