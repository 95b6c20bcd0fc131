"""The qualitative figure: which hands it shows, and that it can be drawn from result files."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from handloom.datasets.views import HandCrops, HandLabels
from handloom.estimators.handoccnet import HandOccNetSettings
from handloom.figures.qualitative import CaseViews, ViewNetwork, cases_of, choose_cases, draw_qualitative
from handloom.runtime.errors import InputError

from ..evaluation.headset_files import HeadsetFiles, score


def errors(before: list[float], after: list[float], valid: int = 21) -> pd.DataFrame:
    """Sample errors of one pair; row i of both views is hand i."""
    count = len(before)
    parts = []
    for variant, seed, values in (("source", -1, before), ("s2dhand", 1, after), ("s2dhand", 2, [0.0] * count)):
        parts.append(
            pd.DataFrame(
                {"pair": "1-2", "variant": variant, "seed": seed, "row_1": range(count), "row_2": range(count)}
                | {"mono_1_mm": values, "mono_2_mm": values, "valid_1": valid, "valid_2": valid}
            )
        )
    return pd.concat(parts, ignore_index=True)


def test_median_most_improved_and_worst_come_in_this_order() -> None:
    before = [30.0, 31, 32, 33, 80, 35, 36]
    after = [29.0, 28, 30, 31, 20, 33, 60]
    reasons = {case.reason: case.rows[0] for case in choose_cases(errors(before, after), seed=1)}
    assert list(reasons.items()) == [("median", 2), ("most improved", 4), ("worst", 6)]


def test_the_same_hand_is_not_shown_twice() -> None:
    cases = choose_cases(errors([100.0, 50, 40], [90.0, 49, 39.5]), seed=1)
    assert len({case.rows[0] for case in cases}) == 3


def test_hands_of_which_little_is_seen_are_not_shown() -> None:
    table = errors([30.0, 31, 32, 90], [29.0, 30, 31, 80])
    table.loc[table["row_1"] == 3, "valid_2"] = 14
    assert 3 not in {case.rows[0] for case in choose_cases(table, seed=1)}


def test_where_no_hand_is_seen_well_the_best_seen_are_shown() -> None:
    table = errors([30.0, 31, 32, 90], [29.0, 30, 31, 80], valid=12)
    table.loc[table["row_1"] == 3, "valid_2"] = 11
    assert {case.rows[0] for case in choose_cases(table, seed=1)} == {0, 1, 2}


def test_without_labels_the_views_distance_chooses() -> None:
    table = errors([math.nan] * 4, [math.nan] * 4, valid=0)
    table["apart_mm"] = [30.0, 31, 32, 90, 29, 10, 31, 80, 0, 0, 0, 0]
    reasons = {case.reason: case.rows[0] for case in choose_cases(table, seed=1)}
    assert reasons == {"worst": 3, "most improved": 1, "median": 0}


def test_a_seed_that_was_not_scored_is_refused() -> None:
    with pytest.raises(InputError, match="seed 5"):
        choose_cases(errors([1.0, 2], [1.0, 2]), seed=5)


def inputs(headset: HeadsetFiles) -> dict[str, Any]:
    """The files of the stage, of S2DHand with seed 1."""
    return {
        "crops": headset.crops,
        "labels": headset.labels,
        "source_predictions": [headset.source_predictions],
        "rotations": [headset.rotations],
        "sample_errors": [headset.sample_errors],
        "predictions": [path for path in headset.predictions if path.match("*/s2dhand/seed1.predictions.npz")],
    }


def cases(headset: HeadsetFiles, others: dict[str, ViewNetwork]) -> list[CaseViews]:
    files = inputs(headset)
    single = {name: files[name][0] for name in ("source_predictions", "rotations", "sample_errors")}
    return cases_of("headset1", **{**files, **single}, seed=1, others=others)


@pytest.mark.slow
def test_the_figure_is_drawn_and_equal_each_time(headset: HeadsetFiles, tmp_path: Path) -> None:
    """Another headset's files, listed with this one's, are not taken for its own."""
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    files = inputs(headset)
    with_strangers = {name: [tmp_path / "headset2" / path.name for path in files[name]] + files[name]
                      for name in ("crops", "labels", "predictions")}  # fmt: skip
    for path, given in zip(paths, (files, {**files, **with_strangers}), strict=True):
        draw_qualitative(**given, picture=path, setting="in", seed=1, note="HandOccNet is not")
    with Image.open(paths[0]) as image:
        assert image.width > 1500
        assert np.asarray(image.convert("L")).std() > 20
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_another_network_has_a_column_and_its_own_error(headset: HeadsetFiles) -> None:
    """It gets the crops and sides of the shown hands, and is scored as they are: here it knows the truth, turned."""
    asked: list[tuple[np.ndarray, np.ndarray]] = []
    crops = [HandCrops.load(path) for path in headset.crops]
    labels = [HandLabels.load(path) for path in headset.labels]

    def knowing(image_u8: np.ndarray, is_left: np.ndarray) -> np.ndarray:
        asked.append((image_u8, is_left))
        truth = [
            known.joints_cam_m[row]
            for image, left in zip(image_u8, is_left, strict=True)
            for seen, known in zip(crops, labels, strict=True)
            for row in range(len(seen))
            if (seen.image_u8[row, ..., 0] == image).all() and seen.is_left[row] == left
        ]
        miss = np.zeros((21, 3))
        miss[8] = [0, 0.0042, 0]
        return 3 * (np.stack(truth) + miss)  # of any size

    assert {case.columns for case in cases(headset, {})} == {("input", "baseline", "S2DHand", "ground truth")}
    found = cases(headset, {"HandOccNet": knowing})
    assert {case.columns for case in found} == {("input", "baseline", "S2DHand", "HandOccNet", "ground truth")}
    assert len(asked) == 3
    assert all(image_u8.shape == (2, 32, 32) for image_u8, _ in asked)
    for case in found:
        assert case.errors_mm["HandOccNet"] == pytest.approx([4.2 / 21] * 2, abs=1e-6)
        # The fixture's cameras have a focal length of 400 pixels about (128, 128); the index tip alone is off.
        ours, truth = case.keypoints_px["HandOccNet"][0], case.keypoints_px["ground truth"][0]
        np.testing.assert_allclose(truth[0], [128, 128], atol=1e-6)  # the wrist is on the axis
        assert np.flatnonzero(np.abs(ours - truth).max(1) > 1e-6).tolist() == [8]


def test_handoccnet_without_mano_is_refused(headset: HeadsetFiles, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="HandOccNet predicts those of MANO's right hand"):
        draw_qualitative(
            **inputs(headset), picture=tmp_path / "a.png", setting="in", seed=1,
            handoccnet=tmp_path / "demo.pth", handoccnet_settings=HandOccNetSettings(),
        )  # fmt: skip


def test_missing_predictions_of_a_pair_are_named(headset: HeadsetFiles, tmp_path: Path) -> None:
    files = inputs(headset) | {"predictions": []}
    with pytest.raises(InputError, match="no predictions were given"):
        draw_qualitative(**files, picture=tmp_path / "a.png", setting="in", seed=1)
    assert not (tmp_path / "a.png").exists()


@pytest.mark.slow
def test_without_labels_the_figure_shows_poses_by_their_boxes(headset: HeadsetFiles, tmp_path: Path) -> None:
    files = inputs(headset)
    labels = []
    for path in files["labels"]:
        known = HandLabels.load(path)
        blind = replace(known, joints_cam_m=known.joints_cam_m * np.nan, joint_valid=0 * known.joint_valid)
        labels.append(tmp_path / "headset1" / path.name)
        replace(blind, keypoints_256px=known.keypoints_256px * np.nan, unlabelled="why").save(labels[-1])
    errors_file = tmp_path / "headset1" / "sample_errors.npz"
    score(replace(headset, labels=labels), sample_errors=errors_file, scores=tmp_path / "scores.csv")
    given = {**files, "labels": labels, "sample_errors": [errors_file]}
    single = {name: given[name][0] for name in ("source_predictions", "rotations", "sample_errors")}
    found = cases_of("headset1", **{**given, **single}, seed=1, others={})
    assert {case.columns for case in found} == {("input", "baseline", "S2DHand")}
    for case in found:
        for keypoints in case.keypoints_px["S2DHand"]:
            assert np.isfinite(keypoints).all()
            assert (np.ptp(keypoints, axis=0)).max() == pytest.approx(256 / 1.75)
    draw_qualitative(**given, picture=tmp_path / "a.png", setting="in", seed=1)
    assert (tmp_path / "a.png").stat().st_size > 1000
