"""The qualitative figure: which hands it shows, and that it can be drawn from result files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from handloom.figures.qualitative import HeadsetResults, choose_cases, draw_qualitative
from handloom.runtime.errors import InputError

from ..evaluation.headset_files import HeadsetFiles  # noqa: TID252  # tests/ is not on sys.path


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


def test_worst_typical_and_most_improved_are_told_apart() -> None:
    before = [30.0, 31, 32, 33, 80, 35, 36]
    after = [29.0, 28, 30, 31, 20, 33, 60]
    reasons = {case.reason: case.row_1 for case in choose_cases(errors(before, after), seed=1)}
    assert reasons == {"worst": 6, "most improved": 4, "typical": 2}


def test_the_same_hand_is_not_shown_twice() -> None:
    cases = choose_cases(errors([100.0, 50, 40], [90.0, 49, 39.5]), seed=1)
    assert len({case.row_1 for case in cases}) == 3


def test_hands_of_which_little_is_seen_are_not_shown() -> None:
    table = errors([30.0, 31, 32, 90], [29.0, 30, 31, 80])
    table.loc[table["row_1"] == 3, "valid_2"] = 14
    assert 3 not in {case.row_1 for case in choose_cases(table, seed=1)}


def test_where_no_hand_is_seen_well_the_best_seen_are_shown() -> None:
    table = errors([30.0, 31, 32, 90], [29.0, 30, 31, 80], valid=12)
    table.loc[table["row_1"] == 3, "valid_2"] = 11
    assert {case.row_1 for case in choose_cases(table, seed=1)} == {0, 1, 2}
    with pytest.raises(InputError, match="no hand with valid joints in both views"):
        choose_cases(errors([1.0], [1.0], valid=0), seed=1)


def test_a_seed_that_was_not_scored_is_refused() -> None:
    with pytest.raises(InputError, match="seed 5"):
        choose_cases(errors([1.0, 2], [1.0, 2]), seed=5)


def results(headset: HeadsetFiles) -> HeadsetResults:
    folder = headset.source_predictions.parent
    predictions = sorted(folder.glob("*/s2dhand/seed1.predictions.npz"))
    return HeadsetResults(
        "headset1", headset.views, headset.source_predictions, headset.rotations, predictions,
        folder / "sample_errors.npz",
    )  # fmt: skip


@pytest.mark.slow
def test_the_figure_is_drawn_and_equal_each_time(headset: HeadsetFiles, tmp_path: Path) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        draw_qualitative([results(headset)], path, setting="in", root_joint=0, seed=1)
    with Image.open(paths[0]) as image:
        assert image.width > 1500
        assert np.asarray(image.convert("L")).std() > 20
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_missing_predictions_of_a_pair_are_named(headset: HeadsetFiles, tmp_path: Path) -> None:
    without = results(headset)
    without = HeadsetResults(**{**without.__dict__, "predictions": []})
    with pytest.raises(InputError, match="no predictions were given"):
        draw_qualitative([without], tmp_path / "a.png", setting="in", root_joint=0, seed=1)
    assert not (tmp_path / "a.png").exists()
