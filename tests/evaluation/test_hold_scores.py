"""Scores of a sequence with answers in closed form; frames that are invalid, missing or failed."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from handloom.evaluation.hold_scores import score_hold
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json

from .sequence_files import sequence_arrays, write_predictions, write_truth


@pytest.fixture
def truth() -> dict[str, np.ndarray]:
    return sequence_arrays()


def score(
    folder: Path, predicted: dict[str, np.ndarray], truth: dict[str, np.ndarray], protocol: Any = "faithful"
) -> tuple[dict[str, Any], pd.DataFrame]:
    score_hold(
        write_predictions(folder / "predictions.npz", predicted),
        write_truth(folder / "truth.npz", truth),
        folder / "scores.json",
        folder / "frames.csv",
        sequence="block",
        phase="phase3",
        protocol=protocol,
        seed=1,
        restarts=3,
    )
    return read_json(folder / "scores.json"), pd.read_csv(folder / "frames.csv")


@pytest.mark.parametrize("protocol", ["faithful", "per_frame"])
def test_equal_sequences_have_no_error(tmp_path: Path, truth: dict[str, np.ndarray], protocol: str) -> None:
    scores, frames = score(tmp_path, truth, truth, protocol)
    for name in ("mpjpe_mm", "chamfer_cm2", "chamfer_hand_cm2", "mrrpe_mm", "chamfer_root_cm2"):
        assert scores[name] == pytest.approx(0, abs=1e-4), name
    for name in ("f5_pct", "f10_pct", "f10_hand_pct", "coverage_pct"):
        assert scores[name] == pytest.approx(100, abs=1e-3), name
    assert len(frames) == 4
    assert frames["chamfer_cm2"].notna().sum() == (1 if protocol == "faithful" else 4)
    assert scores["reference_names"]["cd_icp"] == scores["chamfer_cm2"]
    assert scores["reference_names"]["seq_name"] == "block"


def test_a_shifted_object_changes_what_is_relative_to_the_hand_alone(
    tmp_path: Path, truth: dict[str, np.ndarray]
) -> None:
    predicted = {**truth, "cam_from_object": truth["cam_from_object"].copy()}
    predicted["cam_from_object"][:, :3, 3] += [0.002, 0, 0]
    scores, _ = score(tmp_path, predicted, truth)
    assert scores["mrrpe_mm"] == pytest.approx(2, abs=1e-3)
    assert scores["chamfer_hand_cm2"] > 0.01
    assert scores["mpjpe_mm"] == 0
    assert scores["chamfer_cm2"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("protocol", ["faithful", "per_frame"])
def test_invalid_frames_do_not_count_and_missing_ones_lower_the_coverage(
    tmp_path: Path, truth: dict[str, np.ndarray], protocol: str
) -> None:
    annotated = {**truth, "valid": np.array([False, True, True, True])}
    annotated["cam_from_object"] = truth["cam_from_object"].copy()
    annotated["cam_from_object"][0, :3, 3] = -1000  # as the reference fills it
    predicted = {name: array[:3] if name in _OF_FRAMES else array for name, array in truth.items()}
    predicted["hand_joints_cam_m"] = predicted["hand_joints_cam_m"].copy()
    predicted["hand_joints_cam_m"][2] = np.nan
    scores, frames = score(tmp_path, predicted, annotated, protocol)
    assert (scores["frames"], scores["valid_frames"], scores["scored_frames"]) == (4, 3, 1)
    assert scores["coverage_pct"] == pytest.approx(100 / 3)
    assert scores["aligned_frame"] == "0001"
    assert scores["chamfer_cm2"] == pytest.approx(0, abs=1e-6)
    assert frames["mpjpe_mm"].isna().tolist() == [True, False, True, True]


_OF_FRAMES = ("names", "cam_from_object", "hand_vertices_cam_m", "hand_joints_cam_m", "valid")


def test_a_sequence_without_any_valid_frame_has_no_scores(tmp_path: Path, truth: dict[str, np.ndarray]) -> None:
    scores, _ = score(tmp_path, truth, {**truth, "valid": np.zeros(4, dtype=bool)})
    assert scores["chamfer_cm2"] is None
    assert scores["coverage_pct"] is None


def test_per_frame_alignment_of_rigid_shapes_helps_itself_to_every_frame_s_start(
    tmp_path: Path, truth: dict[str, np.ndarray]
) -> None:
    """The prediction's own axes are turned upside down: right in the camera only where its pose undoes that."""
    turn = np.diag([1.0, -1, -1, 1])
    predicted = {**truth, "object_vertices_m": truth["object_vertices_m"] @ turn[:3, :3].astype(np.float32)}
    predicted["cam_from_object"] = truth["cam_from_object"] @ turn
    predicted["cam_from_object"][0] = truth["cam_from_object"][0]
    scores, frames = score(tmp_path, predicted, truth, "per_frame")
    assert scores["chamfer_cm2"] < 0.02
    assert frames["chamfer_cm2"].nunique() == 1


def test_other_sequences_and_broken_files_are_refused(tmp_path: Path, truth: dict[str, np.ndarray]) -> None:
    with pytest.raises(InputError, match="none is among the 4 frames"):
        score(tmp_path, {**truth, "names": np.array(["a", "b", "c", "d"])}, truth)
    with pytest.raises(InputError, match="names a frame twice"):
        score(tmp_path, {**truth, "names": np.array(["0001"] * 4)}, truth)
    with pytest.raises(InputError, match="faces name vertex"):
        score(tmp_path, {**truth, "object_faces": truth["object_faces"] + 999}, truth)
