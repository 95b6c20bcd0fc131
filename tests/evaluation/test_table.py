"""The one printer: what is best by direction, escapes, groups; and that a new metric is two lines."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from handloom.evaluation import hold_scores, hold_tables
from handloom.evaluation.table import Block, Cell, Column, ColumnHead, Row, Table, needs

from .sequence_files import sequence_arrays, write_predictions, write_truth


@pytest.mark.parametrize(
    ("value", "rivals", "best"),
    [
        (1.004, [1.004, 1.001, 2.0], True),  # as printed, both are 1.00
        (1.006, [1.006, 1.004], False),
        (1.0, [1.0], False),  # nobody to compare with
        (1.0, [1.0, float("nan")], False),
        (float("nan"), [1.0, 2.0], False),
    ],
)
def test_the_best_is_what_looks_best_as_printed(value: float, rivals: list[float], best: bool) -> None:
    assert Column("x", "X", "mm", "low").cell(value, rivals=rivals).best == best


def test_high_is_best_where_the_column_says_so_and_nothing_where_it_says_nothing() -> None:
    assert Column("x", "X", "%", "high", 0).cell(9.0, 0.6, [9.0, 8.0]) == Cell("9", " ± 1", best=True)
    assert not Column("x", "X").cell(9.0, rivals=[9.0, 8.0]).best
    assert Column("x", "X").cell(None) == Cell("n/a")


def test_both_prints_hold_the_same_and_nothing_from_outside_becomes_html(tmp_path: Path) -> None:
    heads = [
        ColumnHead("", text=True),
        ColumnHead("F5 %", "a < b"),
        ColumnHead("F10 %", "a < b"),
        ColumnHead("verdict", text=True),
    ]
    rows = [
        Row([Cell("<b>x</b>"), Cell("1.0", " ± 0.1", best=True), Cell("n/a"), Cell("poor", style="poor")]),
        Row([Cell("paper"), Cell("2.0"), Cell("3.0"), Cell("")], "published"),
    ]
    block = Block(heads, rows, "Block", "2 rows")
    Table("T", pd.DataFrame({"a": [1.5]}), [block], "Preset `demo`.", ["note"]).write(
        tmp_path / "t.csv", tmp_path / "t.md", tmp_path / "t.html"
    )
    assert (tmp_path / "t.csv").read_text() == "a\n1.5\n"
    assert (tmp_path / "t.md").read_text().splitlines() == [
        *("# T", "", "Preset `demo`.", "", "## Block", "", "2 rows", ""),
        *("| | a < b F5 % | a < b F10 % | verdict |", "|---|---:|---:|---|"),
        *("| <b>x</b> | **1.0** ± 0.1 | n/a | poor |", "| *paper* | 2.0 | 3.0 | |", "", "- note"),
    ]
    page = (tmp_path / "t.html").read_text()
    assert "&lt;b&gt;x&lt;/b&gt;" in page
    assert '<th colspan="2">a &lt; b</th>' in page
    assert '<b>1.0</b><span class="spread"> ± 0.1</span>' in page
    assert '<td class="text poor">poor</td>' in page
    assert "<code>demo</code>" in page
    assert "http" not in page


def test_needs_name_each_reason_once_with_its_rows() -> None:
    frame = pd.DataFrame({"method": ["a", "a", "b"], "sequence": ["x", "y", "x"], "needs": ["run it", "run it", ""]})
    assert needs(frame, "method", "sequence") == ["a, x, y: run it"]


def test_a_new_metric_is_a_line_where_it_is_computed_and_one_where_it_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_frames = hold_scores.frame_metrics
    monkeypatch.setattr(
        hold_scores, "frame_metrics", lambda *args: {**of_frames(*args), "toy_mm": np.full(len(args[-1]), 7.0)}
    )
    toy = Column("toy_mm", "toy", "mm", "low", 1)
    monkeypatch.setattr(hold_tables, "METRICS", (*hold_tables.METRICS, toy))
    monkeypatch.setattr(hold_tables, "_KEYS", [metric.key for metric in hold_tables.METRICS])
    arrays = sequence_arrays()
    scores, outputs = tmp_path / "scores.json", [tmp_path / f"t.{suffix}" for suffix in ("csv", "md", "html")]
    hold_scores.score_hold(
        write_predictions(tmp_path / "p.npz", arrays), write_truth(tmp_path / "t.npz", arrays), scores,
        tmp_path / "f.csv", sequence="block", phase="phase3", protocol="faithful", seed=1, restarts=1,
    )  # fmt: skip
    hold_tables.write_hold_table([scores], *outputs, ablation="", sequences=["block"], benchmarks={})
    assert pd.read_csv(outputs[0])["toy_mm"].tolist()[:2] == [7.0, 7.0]
    assert " toy mm |" in outputs[1].read_text()
