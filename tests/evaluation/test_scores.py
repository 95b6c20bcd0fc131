"""Scores of a headset whose networks miss one joint by known distances."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from handloom.datasets.views import save_views
from handloom.evaluation.scores import load_sample_errors, score_headset
from handloom.runtime.artifacts import Header, read_arrays, write_arrays
from handloom.runtime.errors import InputError

from .headset_files import PAIRS, PUBLISHED_ERROR_DEG, HeadsetFiles, write_headset

Score = Callable[[HeadsetFiles], pd.DataFrame]


@pytest.fixture
def files(tmp_path: Path) -> HeadsetFiles:
    return write_headset(tmp_path)


@pytest.fixture
def score(tmp_path: Path) -> Score:
    def run(files: HeadsetFiles) -> pd.DataFrame:
        score_headset(
            files.views, files.source_predictions, files.rotations, files.predictions,
            tmp_path / "scores.csv", tmp_path / "samples.npz",
            setting="in", headset="headset1", pairs=PAIRS, root_joint=0,
        )  # fmt: skip
        return pd.read_csv(tmp_path / "scores.csv")

    return run


def by_network(table: pd.DataFrame) -> pd.DataFrame:
    """Scores indexed by pair, variant and seed; 0 stands for the source network, which has none."""
    return table.fillna({"seed": 0}).set_index(["pair", "variant", "seed"]).sort_index()


def test_every_network_pair_and_seed_has_a_row(files: HeadsetFiles, score: Score) -> None:
    table = score(files)
    assert len(table) == 6 * (2 + 2 * 2)
    rows = {"source": 6, "source_rays": 6, "s2dhand": 12, "s2dhand_sync": 12}
    assert table.groupby("variant").size().to_dict() == rows
    assert table[table["variant"].isin(["source", "source_rays"])]["seed"].isna().all()
    assert set(table["setting"]) == {"in"}


def test_numbers_are_the_known_misses(files: HeadsetFiles, score: Score) -> None:
    """One of 21 joints is off: Mono-M is its miss / 21, and so is Dual-M where both views miss alike along y."""
    table = by_network(score(files))
    source = table.loc[("1-3", "source_rays", 0)]
    assert source["mono_m_mm"] == pytest.approx(20 / 21, rel=1e-4)
    assert source["dual_m_mm"] == pytest.approx(20 / 21, rel=1e-4)
    assert source["index_tip_mm"] == pytest.approx(20, rel=1e-4)
    assert source["wrist_mm"] == 0
    assert source["rotation_error_deg"] == pytest.approx(0, abs=1e-6)
    assert table.loc[("2-4", "s2dhand", 2), "mono_m_mm"] == pytest.approx(12 / 21, rel=1e-4)
    assert table.loc[("2-4", "s2dhand_sync", 1), "mono_m_mm"] == pytest.approx(6 / 21, rel=1e-4)
    assert source["samples"] == 4
    assert source["valid_joints"] == 4 * 2 * 21


def test_the_source_network_is_scored_with_both_first_rotations(files: HeadsetFiles, score: Score) -> None:
    """The published one is two degrees off, the one with viewing rays exact; Mono-M depends on neither."""
    table = by_network(score(files))
    published, rays = (table.loc[("1-3", variant, 0)] for variant in ("source", "source_rays"))
    assert published["rotation_error_deg"] == pytest.approx(PUBLISHED_ERROR_DEG, abs=1e-6)
    assert rays["rotation_error_deg"] == pytest.approx(0, abs=1e-6)
    assert published["mono_m_mm"] == rays["mono_m_mm"]
    assert published["dual_m_mm"] > rays["dual_m_mm"] + 0.1


def test_adapted_networks_are_merged_with_their_own_rotation(files: HeadsetFiles, score: Score) -> None:
    """That rotation is one degree off, which Dual-M sees and Mono-M does not."""
    table = by_network(score(files))
    adapted = table.loc[("1-2", "s2dhand", 1)]
    assert adapted["rotation_error_deg"] == pytest.approx(1, abs=1e-6)
    assert adapted["dual_m_mm"] > adapted["mono_m_mm"]


def test_errors_of_every_hand_are_kept(files: HeadsetFiles, score: Score, tmp_path: Path) -> None:
    score(files)
    errors = load_sample_errors(tmp_path / "samples.npz")
    assert len(errors) == 4 * 36
    source = errors[(errors["variant"] == "source") & (errors["pair"] == "1-2")]
    assert (source["seed"] == -1).all()
    assert source["frame"].tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(source[["mono_1_mm", "mono_2_mm"]], 20 / 21, rtol=1e-4)


def test_invalid_joints_do_not_count(files: HeadsetFiles, score: Score) -> None:
    samples = files.samples[0]
    samples.joint_valid[:, 8] = 0
    save_views(files.views[0], samples)
    table = by_network(score(files))
    row = table.loc[("1-2", "source_rays", 0)]
    assert row["valid_joints"] == 4 * 2 * 21 - 4
    assert row["index_tip_mm"] == pytest.approx(20, rel=1e-4)
    assert row["dual_m_mm"] == pytest.approx(20 * 4 / (4 * 41), rel=1e-4)


def rewritten(path: Path, kind: str, arrays: dict[str, np.ndarray], **changes: str) -> None:
    _, header = read_arrays(path, kind)
    extra = {**header.extra, **changes}
    write_arrays(path, arrays, Header(kind, seed=header.seed, extra=extra))


def test_a_diverged_network_is_named(files: HeadsetFiles, score: Score) -> None:
    path = files.predictions[0]
    arrays, _ = read_arrays(path, "pair_predictions")
    arrays["joints"][2, 0, 5] = np.nan
    rewritten(path, "pair_predictions", arrays)
    with pytest.raises(InputError, match=r"seed1.predictions.npz: poses of 1 of 4 hands .* diverged"):
        score(files)


def test_another_root_joint_is_refused(files: HeadsetFiles, score: Score) -> None:
    path = files.predictions[0]
    rewritten(path, "pair_predictions", read_arrays(path, "pair_predictions")[0], root_joint="9")
    with pytest.raises(InputError, match="root joint 9, but 0 was expected"):
        score(files)


def test_predictions_of_other_crops_are_refused(files: HeadsetFiles, score: Score) -> None:
    path = files.predictions[0]
    arrays, _ = read_arrays(path, "pair_predictions")
    rewritten(path, "pair_predictions", {**arrays, "index_1": arrays["index_1"][::-1]})
    with pytest.raises(InputError, match="are not those of the crops"):
        score(files)


def test_source_predictions_of_other_crops_are_refused(files: HeadsetFiles, score: Score) -> None:
    arrays, _ = read_arrays(files.source_predictions, "source_predictions")
    rewritten(
        files.source_predictions, "source_predictions", {**arrays, "joints_camera2": arrays["joints_camera2"][:3]}
    )
    with pytest.raises(InputError, match="has 3 poses of camera 2, but 4 hands were cropped"):
        score(files)


def test_a_pair_without_rotation_is_refused(files: HeadsetFiles, score: Score) -> None:
    files.rotations.write_text('{"estimates": {}}')
    with pytest.raises(InputError, match="no published 3x3 rotation of pair 1-2"):
        score(files)


@pytest.mark.parametrize("kind", ["published", "single"])
def test_a_first_rotation_that_is_missing_or_none_is_refused(files: HeadsetFiles, score: Score, kind: str) -> None:
    document = json.loads(files.rotations.read_text())
    document["estimates"]["2-4"][kind] = np.diag([1, 1, -1]).tolist()
    files.rotations.write_text(json.dumps(document))
    with pytest.raises(InputError, match=f"the {kind} rotation of pair 2-4 is not a rotation"):
        score(files)
    del document["estimates"]["2-4"][kind]
    files.rotations.write_text(json.dumps(document))
    with pytest.raises(InputError, match=f"no {kind} 3x3 rotation of pair 2-4"):
        score(files)


def test_a_hand_without_extent_is_refused(files: HeadsetFiles, score: Score) -> None:
    """Its scale would be infinite."""
    path = files.predictions[0]
    arrays, _ = read_arrays(path, "pair_predictions")
    arrays["joints"][0, 0] = 0
    rewritten(path, "pair_predictions", arrays)
    with pytest.raises(InputError, match="has no size"):
        score(files)
