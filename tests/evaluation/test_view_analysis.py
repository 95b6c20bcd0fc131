"""What limits labels: the oracles on hand-made views."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

from handloom.evaluation.view_analysis import COLUMNS, analyse_views, best_view, correlation, oriented

from .headset_files import PAIRS, write_headset

ROTATION = Rotation.from_rotvec([0.3, -0.5, 0.2]).as_matrix()
"""R12: `view_2 = view_1 @ ROTATION`."""


def views() -> tuple[np.ndarray, np.ndarray]:
    """True poses of five hands in both views, and validity."""
    first = np.random.default_rng(0).normal(size=(5, 21, 3))
    first[:, 0] = 0
    return np.stack([first, first @ ROTATION], axis=1), np.ones((5, 2, 21))


def test_a_wrong_orientation_is_all_that_is_repaired() -> None:
    true, valid = views()
    wrong = true @ Rotation.from_rotvec([1.0, 0.4, -2.0]).as_matrix()
    np.testing.assert_allclose(oriented(wrong, true, valid), true, atol=1e-9)
    np.testing.assert_allclose(oriented(2 * wrong, true, valid), 2 * true, atol=1e-9)


def test_the_better_view_is_carried_to_the_other_one() -> None:
    true, valid = views()
    poses = true.copy()
    poses[:3, 0] += 1
    poses[3:, 1] += 1
    errors = np.linalg.norm(poses - true, axis=-1)
    np.testing.assert_allclose(best_view(poses, errors, valid, ROTATION), true, atol=1e-9)


def test_errors_that_are_alike_correlate() -> None:
    _, valid = views()
    error = np.random.default_rng(1).normal(size=(5, 21, 3))
    alike = np.stack([error, error @ ROTATION], axis=1)
    assert correlation(alike, valid, ROTATION) == pytest.approx(1)
    assert correlation(alike * [[[[1]], [[-2]]]], valid, ROTATION) == pytest.approx(-1)


def test_the_stage_has_a_row_of_every_network_and_pair(tmp_path: Path) -> None:
    files = write_headset(tmp_path, px=2)
    first = [path for path in files.predictions if path.match("*/seed1.predictions.npz")]
    made = tmp_path / "analysis.csv"
    analyse_views(
        *(files.labels, files.source_predictions, files.rotations, first, made),
        setting="in", headset="headset1", pairs=PAIRS,
    )  # fmt: skip
    table = pd.read_csv(made)
    assert table.groupby("variant").size().to_dict() == dict.fromkeys(
        ("source_rays", "source_turned", "s2dhand", "s2dhand_plus"), 6
    )
    assert table[list(COLUMNS)].notna().all().all()
    source = table[table["variant"] == "source_rays"].iloc[0]
    assert source["mono_mm"] == pytest.approx(20 / 21, rel=1e-4)  # both views miss alike along y
    assert source["merged_true_mm"] == pytest.approx(20 / 21, rel=1e-4)
    assert source["correlation"] == pytest.approx(1, abs=1e-3)
