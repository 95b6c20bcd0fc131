"""Plots: what is averaged, what is drawn, and what the files must hold."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from handloom.estimators.detnet.pretraining import HISTORY_COLUMNS
from handloom.figures.plots import (
    PANELS,
    draw_adaptation_curves,
    draw_panel,
    draw_pretraining_curves,
    draw_rotation_errors,
    mean_curve,
    read_history,
    rotation_error_table,
)
from handloom.runtime.errors import InputError

from ..evaluation.headset_files import HeadsetFiles


def history(folder: Path, pair: str, seed: int, start: float, variant: str = "s2dhand") -> Path:
    """Three epochs whose values fall by 1 each; epoch 0 has no label error, as before the first step."""
    path = folder / "cross" / "headset1" / pair / variant / f"seed{seed}.history.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {panel.column for panel in PANELS} | {panel.dashed for panel in PANELS if panel.dashed}
    table = pd.DataFrame({"epoch": [0.0, 1, 2], **{name: [start, start - 1, start - 2] for name in sorted(columns)}})
    table.loc[0, "label_error_mm"] = None
    table.to_csv(path, index=False)
    return path


def test_seeds_are_averaged_before_pairs_are_compared(tmp_path: Path) -> None:
    """Pair 1-2 has two seeds around 20, pair 1-3 one at 40: the mean is 30, not 26.7, and pairs deviate by 10."""
    paths = [history(tmp_path, "1-2", 1, 18), history(tmp_path, "1-2", 2, 22), history(tmp_path, "1-3", 1, 40)]
    table = pd.concat([read_history(path) for path in paths])
    curve = mean_curve(table, "student_mono_mm", since_start=False)
    assert curve["mean"].tolist() == [30, 29, 28]
    assert curve["deviation"].tolist() == [10, 10, 10]
    change = mean_curve(table, "student_mono_mm", since_start=True)
    assert change["mean"].tolist() == [0, -1, -2]
    assert change["deviation"].tolist() == [0, 0, 0]


def test_the_teachers_rotation_without_rays_is_drawn_where_a_history_has_it(tmp_path: Path) -> None:
    panel = next(panel for panel in PANELS if panel.dotted)
    path = history(tmp_path, "1-2", 1, 18)
    drawn_lines = []
    for extra in ({}, {panel.dotted: [math.nan, 12.0, 11.0]}):
        pd.read_csv(path).assign(**extra).to_csv(path, index=False)
        axes = Figure().subplots()
        draw_panel(axes, read_history(path), panel)
        drawn_lines.append(axes.get_lines())
    assert [len(lines) for lines in drawn_lines] == [2, 3]
    assert drawn_lines[1][2].get_linestyle() == ":"
    np.testing.assert_array_equal(drawn_lines[1][2].get_xydata(), [[1, 12], [2, 11]])


def test_epochs_without_a_value_are_left_out(tmp_path: Path) -> None:
    table = read_history(history(tmp_path, "1-2", 1, 18))
    assert mean_curve(table, "label_error_mm", since_start=False).index.tolist() == [1, 2]


def test_a_history_is_named_by_its_path(tmp_path: Path) -> None:
    table = read_history(history(tmp_path, "2-4", 7, 10, variant="s2dhand_plus"))
    row = table.iloc[0]
    assert (row["setting"], row["headset"], row["pair"], row["variant"], row["seed"]) == (
        "cross", "headset1", "2-4", "s2dhand_plus", 7,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["history.csv", "cross/headset1/1-2/s2dhand/last.history.csv"])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="its curves cannot be named"):
        read_history(tmp_path / name)


@pytest.mark.parametrize("content", [None, "", "epoch,total_loss\n0,1\n"])
def test_broken_histories_are_named(tmp_path: Path, content: str | None) -> None:
    path = history(tmp_path, "1-2", 1, 18)
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=r"seed1.history.csv"):
        read_history(path)


def source_history(path: Path, held_out: float = 2.0) -> Path:
    """Three epochs of a source network's training; NaN for `held_out` means that nothing was held out."""
    rows = [[epoch, 1e-3, *(3.0 / epoch,) * 4, *(held_out / epoch,) * 4, 10 * held_out / epoch] for epoch in (1, 2, 3)]
    pd.DataFrame(rows, columns=list(HISTORY_COLUMNS)).to_csv(path, index=False)
    return path


@pytest.mark.slow
def test_figures_are_drawn_the_same_each_time(headset: HeadsetFiles, tmp_path: Path) -> None:
    """Also that of a training of which nothing was held out."""
    paths = [history(tmp_path, pair, 1, 20, v) for pair in ("1-2", "1-3") for v in ("s2dhand", "s2dhand_plus")]
    source = source_history(tmp_path / "history.csv", held_out=math.nan)
    for run in "ab":
        draw_adaptation_curves(paths, tmp_path / f"curves_{run}.png")
        draw_pretraining_curves([source], tmp_path / f"pretraining_{run}.png")
        draw_rotation_errors([headset.rotations], [headset.scores], tmp_path / f"rotation_{run}.png")
    for name in ("curves", "pretraining", "rotation"):
        with Image.open(tmp_path / f"{name}_a.png") as image:
            assert image.width > 700
        assert (tmp_path / f"{name}_a.png").read_bytes() == (tmp_path / f"{name}_b.png").read_bytes()


@pytest.mark.parametrize("content", ["", "epoch,train_total\n1,2\n", ",".join(HISTORY_COLUMNS)])
def test_pretraining_curves_need_a_training_history(tmp_path: Path, content: str) -> None:
    (tmp_path / "history.csv").write_text(content)
    with pytest.raises(InputError, match=r"history\.csv"):
        draw_pretraining_curves([tmp_path / "history.csv"], tmp_path / "pretraining.png")


def test_rotation_errors_come_from_diagnostics_and_scores(headset: HeadsetFiles) -> None:
    """The fixture says 13 and 9 degrees at the start; its adapted rotations are one degree off."""
    table = rotation_error_table(headset.rotations, headset.scores)
    found = table.set_index(["pair", "kind"])["mean"].sort_index()
    assert len(found) == 7 * 4
    for pair in ("1-2", "overall"):
        assert found[pair, "published"] == 13
        assert found[pair, "single"] == 9
        assert found[pair, "s2dhand"] == pytest.approx(1, abs=1e-6)
    assert set(table["setting"]) == {"in"}


def test_rotations_without_diagnostics_are_refused(headset: HeadsetFiles, tmp_path: Path) -> None:
    empty = tmp_path / "rotations.json"
    empty.write_text("{}")
    with pytest.raises(InputError, match=r"rotations.json and .*scores.csv: lack"):
        draw_rotation_errors([empty], [headset.scores], tmp_path / "rotation.png")
