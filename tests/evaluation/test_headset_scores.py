"""Scores of a headset whose networks miss one joint by known distances, and of the methods on it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from handloom.adaptation.pair_predictions import PairPredictions, SourcePredictions
from handloom.datasets.views import HandLabels
from handloom.evaluation.headset_scores import load_sample_errors, score_methods
from handloom.runtime.errors import InputError
from handloom.runtime.finished import write_record

from .headset_files import PUBLISHED_ERROR_DEG, HeadsetFiles, score, turn_about_y, write_headset


@pytest.fixture
def files(tmp_path: Path) -> HeadsetFiles:
    return write_headset(tmp_path, px=2)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[HeadsetFiles, pd.DataFrame]:
    """A headset as it is written, with its scores; nothing changes it."""
    files = write_headset(tmp_path_factory.mktemp("headset"), px=2)
    return files, score(files)


def by_network(table: pd.DataFrame) -> pd.DataFrame:
    """Scores indexed by pair, variant and seed; 0 stands for the source network, which has none."""
    return table.fillna({"seed": 0}).set_index(["pair", "variant", "seed"]).sort_index()


def test_every_network_pair_and_seed_has_a_row(scored: tuple[HeadsetFiles, pd.DataFrame]) -> None:
    table = scored[1]
    assert len(table) == 6 * (3 + 2 * 2)
    rows = {"source": 6, "source_rays": 6, "source_turned": 6, "s2dhand": 12, "s2dhand_plus": 12}
    assert table.groupby("variant").size().to_dict() == rows
    assert table[table["variant"].isin(["source", "source_rays", "source_turned"])]["seed"].isna().all()
    assert set(table["setting"]) == {"in"}


def test_numbers_are_the_known_misses(scored: tuple[HeadsetFiles, pd.DataFrame]) -> None:
    """One of 21 joints is off: Mono-M is its miss / 21, and so is Dual-M where both views miss alike along y."""
    table = by_network(scored[1])
    source = table.loc[("1-3", "source_rays", 0)]
    assert source["mono_m_mm"] == pytest.approx(20 / 21, rel=1e-4)
    assert source["dual_m_mm"] == pytest.approx(20 / 21, rel=1e-4)
    assert source["index_tip_mm"] == pytest.approx(20, rel=1e-4)
    assert source["wrist_mm"] == 0
    assert source["rotation_error_deg"] == pytest.approx(0, abs=1e-6)
    assert table.loc[("2-4", "s2dhand", 2), "mono_m_mm"] == pytest.approx(12 / 21, rel=1e-4)
    assert table.loc[("2-4", "s2dhand_plus", 1), "mono_m_mm"] == pytest.approx(6 / 21, rel=1e-4)
    assert source["samples"] == 4
    assert source["valid_joints"] == 4 * 2 * 21


def test_each_network_is_merged_with_its_own_rotation(scored: tuple[HeadsetFiles, pd.DataFrame]) -> None:
    """The source's published one is two degrees off, that with viewing rays exact, an adapted one a degree off.

    Mono-M depends on none of them.
    """
    table = by_network(scored[1])
    published, rays = (table.loc[("1-3", variant, 0)] for variant in ("source", "source_rays"))
    assert published["rotation_error_deg"] == pytest.approx(PUBLISHED_ERROR_DEG, abs=1e-6)
    assert published["mono_m_mm"] == rays["mono_m_mm"]
    assert published["dual_m_mm"] > rays["dual_m_mm"] + 0.1
    adapted = table.loc[("1-2", "s2dhand", 1)]
    assert adapted["rotation_error_deg"] == pytest.approx(1, abs=1e-6)
    assert adapted["dual_m_mm"] > adapted["mono_m_mm"]


def test_errors_of_every_hand_are_kept(scored: tuple[HeadsetFiles, pd.DataFrame]) -> None:
    errors = load_sample_errors(scored[0].sample_errors)
    assert len(errors) == 4 * 42
    source = errors[(errors["variant"] == "source") & (errors["pair"] == "1-2")]
    assert (source["seed"] == -1).all()
    assert source["frame"].tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(source[["mono_1_mm", "mono_2_mm"]], 20 / 21, rtol=1e-4)


def test_invalid_joints_do_not_count(files: HeadsetFiles) -> None:
    labels = HandLabels.load(files.labels[0])
    labels.joint_valid[:, 8] = 0
    labels.save(files.labels[0])
    row = by_network(score(files)).loc[("1-2", "source_rays", 0)]
    assert row["valid_joints"] == 4 * 2 * 21 - 4
    assert row["index_tip_mm"] == pytest.approx(20, rel=1e-4)
    assert row["dual_m_mm"] == pytest.approx(20 * 4 / (4 * 41), rel=1e-4)


def changed(path: Path, **changes: Any) -> None:
    """Write predictions again, changed."""
    replace(PairPredictions.load(path), **changes).save(path)


def test_a_diverged_network_is_named(files: HeadsetFiles) -> None:
    joints = PairPredictions.load(files.predictions[0]).joints
    joints[2, 0, 5] = np.nan
    changed(files.predictions[0], joints=joints)
    with pytest.raises(InputError, match=r"seed1.predictions.npz: poses of 1 of 4 hands .* diverged"):
        score(files)


def test_a_hand_without_extent_is_refused(files: HeadsetFiles) -> None:
    """Its scale would be infinite."""
    joints = PairPredictions.load(files.predictions[0]).joints
    joints[0, 0] = 0
    changed(files.predictions[0], joints=joints)
    with pytest.raises(InputError, match="has no size"):
        score(files)


def test_predictions_of_other_crops_are_refused(files: HeadsetFiles) -> None:
    changed(files.predictions[0], rows=PairPredictions.load(files.predictions[0]).rows[::-1])
    with pytest.raises(InputError, match="its 4 pairs of cameras 1-2 are not those of the crops"):
        score(files)
    source = SourcePredictions.load(files.source_predictions)
    few = source.camera != 1
    few[4] = True
    shorter = replace(source, camera=source.camera[few], joints=source.joints[few], confidence=source.confidence[few])
    shorter.save(files.source_predictions)
    with pytest.raises(InputError, match="has 1 poses of camera 2, but 4 hands were cropped"):
        score(files)


@pytest.mark.parametrize("kind", ["published", "single"])
def test_a_first_rotation_that_is_missing_or_none_is_refused(files: HeadsetFiles, kind: str) -> None:
    document = json.loads(files.rotations.read_text())
    document["estimates"]["2-4"][kind] = np.diag([1, 1, -1]).tolist()
    files.rotations.write_text(json.dumps(document))
    with pytest.raises(InputError, match=f"the {kind} 3x3 rotation of pair 2-4 is not a rotation"):
        score(files)
    del document["estimates"]["2-4"][kind]
    files.rotations.write_text(json.dumps(document))
    with pytest.raises(InputError, match=f"no {kind} 3x3 rotation of pair 2-4"):
        score(files)


def method(files: HeadsetFiles, variant: str, seed: int, tmp_path: Path, seconds: float = 1.0) -> Path:
    """S2DHand's predictions of pair 1-3, as if another method had made them; its own rotation is 90 degrees off."""
    s2dhand = next(p for p in files.predictions if p.parts[-3:] == ("1-3", "s2dhand", f"seed{seed}.predictions.npz"))
    found = PairPredictions.load(s2dhand)
    own = None if variant == "s2dhand" else found.rotation_12 @ turn_about_y(np.pi / 2)
    path = tmp_path / f"{variant.replace('/', '-')}-{seed}.npz"
    replace(found, variant=variant, own_rotation_12=own).save(path)
    write_record(path.with_suffix(".json"), "", [path], seconds)
    return path


def scores_of_methods(files: HeadsetFiles, predictions: list[Path], tmp_path: Path) -> pd.DataFrame:
    records = [path.with_suffix(".json") for path in predictions]
    score_methods(
        files.labels, files.source_predictions, files.rotations, predictions, records, tmp_path / "scores.csv",
        headset="headset1", pairs=["1-3"], epochs={"standard": 5, "long": 20}, adaptation_pairs=100, batch_size=3,
    )  # fmt: skip
    return pd.read_csv(tmp_path / "scores.csv").set_index(["method", "budget"]).sort_index()


def test_every_method_has_a_row_with_its_miss_and_its_updates(files: HeadsetFiles, tmp_path: Path) -> None:
    predictions = [
        method(files, "adda/standard", 1, tmp_path, seconds=12.5),
        method(files, "adda/long", 2, tmp_path),
        method(files, "s2dhand", 1, tmp_path, seconds=7.0),
    ]
    table = scores_of_methods(files, predictions, tmp_path)
    assert table.loc[("source_only", "standard"), "mono_m_mm"] == pytest.approx(20 / 21, rel=1e-4)
    assert table.loc[("adda", "standard"), "mono_m_mm"] == pytest.approx(11 / 21, rel=1e-4)
    assert table.loc[("adda", "long"), "mono_m_mm"] == pytest.approx(12 / 21, rel=1e-4)
    # Four pairs of hands in batches of three are two updates an epoch.
    updates = {key: table.loc[key, "updates"] for key in table.index}
    assert updates[("adda", "standard")] == updates[("s2dhand", "standard")] == 2 * 5
    assert updates[("adda", "long")] == 2 * 20
    assert updates[("source_only", "standard")] == 0
    assert table.loc[("adda", "standard"), "seconds"] == 12.5
    assert table.loc[("s2dhand", "standard"), "seconds"] == 7.0


def test_both_rotations_of_a_method_are_scored(files: HeadsetFiles, tmp_path: Path) -> None:
    """The own rotation of this method is far off, S2DHand's is the one it adapted."""
    predictions = [method(files, name, 1, tmp_path) for name in ("adda/standard", "s2dhand")]
    table = scores_of_methods(files, predictions, tmp_path)
    adda, s2dhand = table.loc[("adda", "standard")], table.loc[("s2dhand", "standard")]
    assert adda["dual_m_own_r_mm"] > adda["dual_m_mm"] + 10
    assert s2dhand["dual_m_own_r_mm"] == s2dhand["dual_m_mm"] == adda["dual_m_mm"]
    published, rays = (table.loc[(name, "standard"), "dual_m_mm"] for name in ("source_only", "source_only_rays"))
    assert published > rays


def withheld(files: HeadsetFiles) -> HeadsetFiles:
    """The same headset, whose labels are its cameras only."""
    for path in files.labels:
        labels = HandLabels.load(path)
        none = np.full_like(labels.joints_cam_m, np.nan)
        replace(labels, joints_cam_m=none, joint_valid=0 * labels.joint_valid, unlabelled="a has no labels: why").save(
            path
        )
    return files


def test_without_labels_nothing_is_scored_and_the_views_are_compared(
    files: HeadsetFiles, scored: tuple[HeadsetFiles, pd.DataFrame]
) -> None:
    """What needs no truth is as with labels: rotations' errors by the calibration, and how far the views are apart."""
    table = score(withheld(files))
    assert table[["mono_m_mm", "dual_m_mm", "auc_20_50", "wrist_mm"]].isna().all().all()
    for column in ("rotation_error_deg", "views_apart_mm", "samples"):
        np.testing.assert_allclose(table[column], scored[1][column])
    assert set(table["unlabelled"]) == {"a has no labels: why"}
    errors = load_sample_errors(files.sample_errors)
    assert errors["mono_1_mm"].isna().all()
    assert (errors["apart_mm"] >= 0).all()


def test_views_are_apart_by_the_rotation_alone(scored: tuple[HeadsetFiles, pd.DataFrame]) -> None:
    """Both views miss the same joint alike along y, about which cameras turn: the exact rotation joins them."""
    table = by_network(scored[1])
    assert table.loc[("1-3", "source_rays", 0), "views_apart_mm"] == pytest.approx(0, abs=1e-4)
    assert table.loc[("1-3", "source", 0), "views_apart_mm"] > 1
