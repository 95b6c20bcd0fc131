"""The qualitative figure: which hands it shows, and that it can be drawn from result files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
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


def test_the_files_of_a_headset_are_found_by_their_folder() -> None:
    names = ("views", "source_predictions", "rotations", "predictions", "sample_errors")
    files = {name: [f"results/{headset}/{name}" for headset in ("headset1", "headset2")] for name in names}
    found = HeadsetResults.of("headset2", {**files, "hand": []})
    assert found.views == [Path("results/headset2/views")]
    assert found.sample_errors == Path("results/headset2/sample_errors")
    assert found.source_predictions == Path("results/headset2/source_predictions")


@pytest.mark.slow
def test_the_figure_is_drawn_and_equal_each_time(headset: HeadsetFiles, tmp_path: Path) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        draw_qualitative([results(headset)], path, setting="in", root_joint=0, seed=1)
    with Image.open(paths[0]) as image:
        assert image.width > 1500
        assert np.asarray(image.convert("L")).std() > 20
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn, in place of files."""
    made: list[Figure] = []

    @contextmanager
    def kept(_: Path, width_in: float, height_in: float) -> Iterator[Figure]:
        made.append(Figure(figsize=(width_in, height_in)))
        yield made[-1]

    monkeypatch.setattr("handloom.figures.qualitative.drawn", kept)
    return made


def column_titles(figure: Figure) -> list[str]:
    return [title for axes in figure.axes if (title := axes.get_title())]


def test_another_network_has_a_column_and_its_own_error(headset: HeadsetFiles, figures: list[Figure]) -> None:
    """It gets the crops and sides of the shown hands, and is scored as they are: here it knows the truth, turned."""
    asked: list[tuple[np.ndarray, np.ndarray]] = []

    def knowing(image_u8: np.ndarray, is_left: np.ndarray) -> np.ndarray:
        asked.append((image_u8, is_left))
        rows = [
            next((sample, row) for sample in headset.samples for row in range(len(sample))
                 if (sample.image_u8[row] == image).all() and sample.is_left[row] == left)
            for image, left in zip(image_u8, is_left, strict=True)
        ]  # fmt: skip
        truth = np.stack([sample.joints_cam_m[row] for sample, row in rows])
        miss = np.zeros((21, 3))
        miss[8] = [0, 0.0042, 0]
        return 3 * (truth + miss)  # of any size

    draw_qualitative(
        [results(headset)], Path("a.png"), setting="in", root_joint=0, seed=1, others={"HandOccNet": knowing}
    )
    columns = ["baseline", "S2DHand", "HandOccNet", "ground truth"]
    assert column_titles(figures[0]) == ["view 1: input", *columns, "view 2: input", *columns]
    assert len(asked) == 3
    assert all(image_u8.shape == (2, *headset.samples[0].image_u8.shape[1:]) for image_u8, _ in asked)
    errors_mm = [
        axes.texts[0].get_text() for axes in figures[0].axes if axes.texts and "mm" in axes.texts[0].get_text()
    ]
    assert errors_mm.count(f"{4.2 / 21:.1f} mm") == 6
    assert len(errors_mm) == 3 * 2 * 3


def test_small_print_and_no_column_where_it_is_not_there(headset: HeadsetFiles, figures: list[Figure]) -> None:
    draw_qualitative(
        [results(headset)], Path("a.png"), setting="in", root_joint=0, seed=1, note="HandOccNet is not shown"
    )
    assert "HandOccNet is not shown" in [text.get_text() for text in figures[0].texts]
    columns = ["baseline", "S2DHand", "ground truth"]
    assert column_titles(figures[0]) == ["view 1: input", *columns, "view 2: input", *columns]


def test_missing_predictions_of_a_pair_are_named(headset: HeadsetFiles, tmp_path: Path) -> None:
    without = results(headset)
    without = HeadsetResults(**{**without.__dict__, "predictions": []})
    with pytest.raises(InputError, match="no predictions were given"):
        draw_qualitative([without], tmp_path / "a.png", setting="in", root_joint=0, seed=1)
    assert not (tmp_path / "a.png").exists()
