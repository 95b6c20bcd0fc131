"""The reference's text log: what is refused, and that our samples come back from it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from handloom.evaluation.pair_predictions import load_pair_predictions
from handloom.evaluation.reference_log import (
    HEADER,
    ReferenceLog,
    calc_metrics,
    read_log,
    write_log,
    write_pair_log,
)
from handloom.evaluation.scores import score_headset
from handloom.runtime.errors import InputError

from .headset_files import PAIRS, write_headset


@pytest.fixture
def log() -> ReferenceLog:
    generator = np.random.default_rng(8)
    poses = generator.normal(size=(4, 3, 2, 21, 3))
    rotations = np.linalg.qr(generator.normal(size=(3, 2, 3, 3)))[0]
    return ReferenceLog(
        sequence=np.full((3, 2), "sequence-a"),
        camera=np.broadcast_to(np.array(["HMC_1", "HMC_2"]), (3, 2)),
        frame=np.array([[7, 7], [8, 8], [9, 9]]),
        predicted_mm=poses[0],
        true_mm=poses[1],
        valid=np.ones((3, 2, 21)),
        cam_from_world_rotation=rotations * np.linalg.det(rotations)[..., None, None],
        cam_from_world_translation_mm=np.zeros((3, 2, 3)),
        focal_px=np.ones((3, 2, 2)),
        principal_point_px=np.ones((3, 2, 2)),
        is_left=np.array([[True, True], [False, False], [True, True]]),
        predicted_placed_mm=poses[2],
        true_placed_mm=poses[3],
    )


def test_a_log_reads_back_exactly(log: ReferenceLog, tmp_path: Path) -> None:
    write_log(tmp_path / "1-set0-0,1.log", log)
    again, footer = read_log(tmp_path / "1-set0-0,1.log")
    for name in ReferenceLog.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(log, name))
    assert footer == {"auc": log.auc(), "epe_mm": log.mono_m()}


def test_perfect_pairs_have_no_error_for_the_true_rotation(log: ReferenceLog) -> None:
    """Cameras map rows by x R_w2c^T, so a true pose of view 1 seen from view 2 is `p1 @ (R1 R2^T)`."""
    rotation = log.cam_from_world_rotation[0, 0] @ log.cam_from_world_rotation[0, 1].T
    pose_1 = log.true_mm[:, 0]
    exact = np.stack([pose_1, pose_1 @ rotation], axis=1)
    cameras = np.broadcast_to(log.cam_from_world_rotation[:1], (3, 2, 3, 3))
    perfect = {"predicted_mm": exact, "true_mm": exact, "cam_from_world_rotation": cameras}
    metrics = calc_metrics(ReferenceLog(**{**log.__dict__, **perfect}), rotation)
    assert metrics.views == 6
    assert metrics.dual_m_mm == pytest.approx(0, abs=1e-12)
    assert metrics.dual_m_own_rotation_mm == pytest.approx(0, abs=1e-12)
    assert metrics.rotation_euler_error_rad == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(metrics.rotation_from_log, rotation, atol=1e-9)


def test_a_log_cut_short_is_refused(log: ReferenceLog, tmp_path: Path) -> None:
    path = tmp_path / "1-set0-0,1.log"
    write_log(path, log)
    text = path.read_text()
    for cut in (len(text) - 20, len(text) // 2, 10, 0):
        path.write_text(text[:cut])
        with pytest.raises(InputError, match=r"set0-0,1\.log"):
            read_log(path)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (" left ", " both ", "line 2 has 14 fields"),
        ("sequence-a HMC_1", "sequence a HMC_1", "line 2 has 15 fields"),
        (" 1.0,1.0 1.0,1.0 ", " 1.0,1.0,1.0 1.0,1.0 ", "line 2 has a vector of 3"),
        (" 1.0,1.0 1.0,1.0 ", " nan,1.0 1.0,1.0 ", "line 2 has a vector of 2, but 2 finite"),
        (" 1.0,1.0 1.0,1.0 ", " one,1.0 1.0,1.0 ", "line 2 holds 'one,1.0'"),
        (HEADER, "picture seq", "starts with 'picture seq'"),
    ],
)
def test_damage_is_named(log: ReferenceLog, tmp_path: Path, old: str, new: str, reason: str) -> None:
    path = tmp_path / "broken.log"
    write_log(path, log)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=f"broken.log.*{reason}"):
        read_log(path)


def test_names_with_spaces_cannot_be_written(log: ReferenceLog, tmp_path: Path) -> None:
    spaced = ReferenceLog(**{**log.__dict__, "sequence": np.full((3, 2), "my sequence")})
    with pytest.raises(InputError, match="'my sequence' holds a space"):
        write_log(tmp_path / "x.log", spaced)


def test_the_log_of_a_pair_gives_its_scores(tmp_path: Path) -> None:
    """What `calc_metrics` makes of our log is what our own scores say."""
    files = write_headset(tmp_path)
    score_headset(
        files.views, files.source_predictions, files.rotations, files.predictions,
        tmp_path / "scores.csv", tmp_path / "samples.npz",
        setting="in", headset="headset1", pairs=PAIRS, root_joint=0,
    )  # fmt: skip
    scores = pd.read_csv(tmp_path / "scores.csv")
    row = scores[(scores["pair"] == "2-4") & (scores["variant"] == "s2dhand") & (scores["seed"] == 2)].iloc[0]
    path = tmp_path / "2-4" / "s2dhand" / "seed2.predictions.npz"
    write_pair_log((files.views[1], files.views[3]), path, tmp_path / "10-set0-1,3.log", root_joint=0)
    log, footer = read_log(tmp_path / "10-set0-1,3.log")
    assert footer["epe_mm"] == pytest.approx(row["mono_m_mm"], abs=1e-9)
    metrics = calc_metrics(log, load_pair_predictions(path, 0).rotation_12)
    assert metrics.dual_m_mm == pytest.approx(row["dual_m_mm"], abs=1e-9)
    np.testing.assert_allclose(log.predicted_placed_mm - log.predicted_mm, log.true_placed_mm - log.true_mm, atol=1e-9)
    assert log.is_left[:, 0].tolist() == [False, True, False, True]
