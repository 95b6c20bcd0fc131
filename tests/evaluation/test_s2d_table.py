"""The S2DHand tables: the order of averaging, what is printed, and what an unmeasured row says."""

import math
from pathlib import Path

import pandas as pd
import pytest

from handloom.evaluation.s2d_table import paper_values, s2d_table, write_s2d_table
from handloom.evaluation.table import Table
from handloom.runtime.errors import InputError

PAIRS = ("1-2", "1-3", "1-4", "2-3", "2-4", "3-4")
COLUMNS = [
    *("headset", "pair", "metric", "baseline_mm", "s2dhand_mm", "s2dhand_std_mm", "s2dhand_plus_mm"),
    *("s2dhand_plus_std_mm", "reduction_pct", "s2dhand_plus_reduction_pct", "seeds", "paper_baseline_mm"),
    *("paper_s2dhand_mm", "paper_reduction_pct", "baseline_rays_mm", "baseline_rays_reduction_pct"),
    *("s2dhand_of_rays_pct", "s2dhand_plus_of_rays_pct", "baseline_turned_mm", "baseline_turned_reduction_pct"),
    *("s2dhand_plus_of_turned_pct", "samples", "s2dhand_per_seed", "s2dhand_plus_per_seed", "needs", "fidelity"),
    "preset",
]


def scores(
    pairs: tuple[str, ...] = PAIRS, headset: str = "headset1", seeds: tuple[int, ...] = (1, 2, 3)
) -> pd.DataFrame:
    """Pair number i: baseline 40 + 10 i, s2dhand 30 + 10 i + seed, s2dhand_plus 29 + 10 i; Dual-M is 1 less.

    With R by viewing rays the baseline's Dual-M is another 4 less, with turned poses both metrics are 38 + 10 i.
    """
    rows = []
    for number, pair in enumerate(pairs):
        sources = [("source", None, 40.0), ("source_rays", None, 40.0), ("source_turned", None, 38.0)]
        adapted = [("s2dhand", s, 30.0 + s) for s in seeds] + [("s2dhand_plus", s, 29.0) for s in seeds]
        for variant, seed, mono in [*sources, *adapted]:
            value = mono + 10 * number
            dual = value - {"source_rays": 5, "source_turned": 0}.get(variant, 1)
            rows.append(
                {"setting": "cross", "headset": headset, "pair": pair, "variant": variant, "seed": seed}
                | {"samples": 100 * (number + 1), "mono_m_mm": value, "dual_m_mm": dual}
                | {"unlabelled": "", "views_apart_mm": value / 2}
            )
    return pd.DataFrame(rows)


def table_of(found: pd.DataFrame) -> Table:
    return s2d_table(found, "cross", "fixed", "demo")


def row(table: pd.DataFrame, pair: str, metric: str = "mono_m", headset: str = "headset1") -> "pd.Series[float]":
    return table.set_index(["headset", "pair", "metric"]).loc[(headset, pair, metric)]


def test_one_row_per_headset_pair_and_metric_with_all_columns() -> None:
    table = table_of(pd.concat([scores(), scores(headset="headset2")])).frame
    assert len(table) == 2 * 7 * 2
    assert not table.duplicated(["headset", "pair", "metric"]).any()
    assert list(table) == COLUMNS
    assert (table["needs"] == "").all()


def test_a_pairs_row() -> None:
    found = row(table_of(scores()).frame, "1-3")
    assert found["baseline_mm"] == 50
    assert found["s2dhand_mm"] == 42
    assert found["s2dhand_std_mm"] == pytest.approx(1)  # seeds give 41, 42, 43
    assert found["s2dhand_per_seed"] == "1: 41.0000, 2: 42.0000, 3: 43.0000"
    assert found["s2dhand_plus_mm"] == 39
    assert found["s2dhand_plus_std_mm"] == 0
    assert found["reduction_pct"] == pytest.approx(16)
    assert found["s2dhand_plus_reduction_pct"] == pytest.approx(22)
    assert found["s2dhand_plus_of_turned_pct"] == pytest.approx(100 * (1 - 39 / 48), abs=1e-3)
    assert found["seeds"] == 3
    assert found["samples"] == 200
    assert found["paper_baseline_mm"] == 57.79
    assert found["paper_s2dhand_mm"] == 50.84


def test_the_baselines_with_viewing_rays_have_their_own_columns() -> None:
    table = table_of(scores()).frame
    mono, dual = row(table, "1-3"), row(table, "overall", "dual_m")
    assert (mono["baseline_mm"], mono["baseline_rays_mm"], mono["baseline_turned_mm"]) == (50, 50, 48)
    assert mono["baseline_rays_reduction_pct"] == 0
    assert (dual["baseline_mm"], dual["baseline_rays_mm"], dual["s2dhand_plus_mm"]) == (64, 60, 53)
    assert dual["baseline_rays_reduction_pct"] == pytest.approx(100 * 4 / 64)
    assert dual["s2dhand_plus_of_rays_pct"] == pytest.approx(100 * 7 / 60, abs=1e-3)


def test_print_tells_the_rotations_share_of_the_gain_in_one_line_where_there_is_one() -> None:
    words = "Headset 1 64.00 to 60.00 mm, from which S2DHand reduces by 6.7 %, S2DHand+ by 11.7 %"
    for output in (Table.markdown, Table.html):
        assert words in output(table_of(scores()))
        same = scores()
        same.loc[same["variant"] == "source_rays", "dual_m_mm"] += 4
        assert "rotation's share" not in output(table_of(same))


def test_rows_of_what_a_configuration_leaves_out_are_not_printed() -> None:
    without = table_of(scores()[lambda frame: frame["variant"] != "s2dhand_plus"])
    assert "S2DHand+ " not in without.markdown().replace("S2DHand+ reads", "").replace("S2DHand+ by n/a", "")
    assert row(without.frame, "2-3")["needs"] == ""


def test_overall_is_the_unweighted_mean_over_pairs_and_its_deviation_is_over_seeds() -> None:
    """Pairs have 100 to 600 samples, which must not matter."""
    found = row(table_of(scores()).frame, "overall")
    assert found["baseline_mm"] == 65
    assert found["s2dhand_mm"] == 57
    assert found["s2dhand_std_mm"] == pytest.approx(1)
    assert found["reduction_pct"] == pytest.approx(100 * (1 - 57 / 65), abs=1e-3)
    assert found["samples"] == 2100


def test_deviation_of_the_overall_is_not_the_mean_deviation() -> None:
    """Opposite swings of two pairs cancel in the overall of each seed."""
    frame = scores(("1-2", "1-3"), seeds=(1, 2))
    swing = {("1-2", 1): 30.0, ("1-2", 2): 34.0, ("1-3", 1): 44.0, ("1-3", 2): 40.0}
    for (pair, seed), value in swing.items():
        chosen = (frame["variant"] == "s2dhand") & (frame["pair"] == pair) & (frame["seed"] == seed)
        frame.loc[chosen, "mono_m_mm"] = value
    table = table_of(frame).frame
    assert row(table, "1-2")["s2dhand_std_mm"] == pytest.approx(2 * math.sqrt(2), abs=1e-4)
    assert row(table, "overall")["s2dhand_std_mm"] == 0


def test_a_single_seed_has_no_deviation() -> None:
    found = row(table_of(scores(seeds=(7,))).frame, "1-2")
    assert math.isnan(found["s2dhand_std_mm"])
    assert found["seeds"] == 1


def test_a_seed_that_lacks_a_pair_does_not_enter_the_overall() -> None:
    frame = scores()
    frame = frame[~((frame["variant"] == "s2dhand") & (frame["pair"] == "3-4") & (frame["seed"] == 3))]
    found = row(table_of(frame).frame, "overall")
    assert found["seeds"] == 2
    assert found["s2dhand_mm"] == pytest.approx(30 + 25 + 1.5)


def test_unmeasured_rows_say_what_they_need() -> None:
    table = table_of(scores(("1-3", "2-4"))).frame
    absent = row(table, "1-2")
    assert math.isnan(absent["baseline_mm"])
    assert absent["needs"] == "add 1-2 to pairs"
    assert absent["paper_baseline_mm"] == 67.93
    assert row(table, "overall")["baseline_mm"] == 45
    assert row(table, "overall")["needs"] == "add 1-2, 1-4, 2-3, 3-4 to pairs: mean over 2 of 6 pairs"
    assert row(table, "1-2", headset="headset2")["needs"] == "add headset2 to headsets"
    without = table_of(scores()[lambda frame: frame["variant"] != "s2dhand"]).frame
    assert row(without, "2-3")["needs"] == "adapt with variant s2dhand"


@pytest.mark.parametrize("setting", ["in", "cross"])
def test_the_papers_overall_is_the_mean_of_its_six_pairs(setting: str) -> None:
    """All 16 printed cells agree to 0.01 or its rounding."""
    paper = paper_values(setting)
    assert len(paper) == 2 * 7 * 2
    for _, group in paper.groupby(["headset", "metric"]):
        pairs = group[group["pair"] != "overall"]
        overall = group[group["pair"] == "overall"].iloc[0]
        for column in ("baseline_mm", "s2dhand_mm"):
            assert pairs[column].mean() == pytest.approx(overall[column], abs=0.0151)


def test_markdown_marks_the_best_of_every_column_and_fits_a_screen() -> None:
    text = table_of(pd.concat([scores(), scores(headset="headset2")])).markdown()
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert sum(line.count("**") for line in lines if line.startswith("| S2DHand+ |")) == 2 * 4 * 7
    assert not any("**" in line for line in lines if line.startswith("| Baseline"))
    assert any("32.00 ± 1.00" in line for line in lines if line.startswith("| S2DHand |"))
    assert "| *paper: reduces by* |" in text
    assert "## Headset 1, Dual-M" in text
    assert "| mm | Cam 1,2 | Cam 1,3 |" in text
    assert max(map(len, lines)) < 160
    assert "`demo`" in text


def test_markdown_tells_the_overall_of_every_seed() -> None:
    text = table_of(scores(seeds=(1, 2))).markdown()
    assert "- headset1, overall Mono-M per seed (mm): S2DHand 1: 56.0000, 2: 57.0000; S2DHand+ 1: 54.0000" in text
    assert "per seed (mm)" not in table_of(scores(seeds=(1,))).markdown()


def test_html_has_the_same_numbers_and_what_is_missing() -> None:
    text = table_of(scores(("1-3",))).html()
    assert text.count("<b>29.00</b>") == 2  # the pair and the overall over it
    assert "n/a" in text
    assert "headset2, 1-2, 1-3, 1-4, 2-3, 2-4, 3-4, overall: add headset2 to headsets" in text


def test_headsets_and_cameras_that_only_the_scores_have_get_rows_after_the_papers() -> None:
    own = pd.concat([scores(), scores(("1-3", "5-6"), headset="headset3")])
    table = table_of(own).frame
    assert list(dict.fromkeys(table["headset"])) == ["headset1", "headset2", "headset3"]
    assert list(dict.fromkeys(table["pair"])) == [*PAIRS, "5-6", "overall"]
    found = row(table, "5-6", headset="headset3")
    assert found["baseline_mm"] == 50
    assert math.isnan(found["paper_baseline_mm"])


def test_the_stage_writes_three_files(tmp_path: Path) -> None:
    paths = []
    for headset in ("headset1", "headset2"):
        paths.append(tmp_path / f"{headset}.csv")
        scores(headset=headset).to_csv(paths[-1], index=False)
    outputs = [tmp_path / f"s2d_cross.{suffix}" for suffix in ("csv", "md", "html")]
    write_s2d_table(paths, *outputs, setting="cross", fidelity="fixed", preset="demo")
    table = pd.read_csv(outputs[0], keep_default_na=False, na_values=[""])
    assert len(table) == 28
    assert table["s2dhand_mm"].notna().all()
    assert outputs[1].read_text().startswith("# S2DHand, cross-dataset")
    assert "</html>" in outputs[2].read_text()


def test_scores_of_another_setting_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    scores().to_csv(path, index=False)
    outputs = [tmp_path / name for name in ("a.csv", "a.md", "a.html")]
    with pytest.raises(InputError, match=r"scores.csv: holds setting \['cross'\]"):
        write_s2d_table([path], *outputs, setting="in", fidelity="fixed", preset="demo")
    path.write_text("headset,pair\n")
    with pytest.raises(InputError, match=r"scores.csv: lacks"):
        write_s2d_table([path], *outputs, setting="in", fidelity="fixed", preset="demo")
    with pytest.raises(InputError, match=r"absent.csv: no such file"):
        write_s2d_table([tmp_path / "absent.csv"], *outputs, setting="in", fidelity="fixed", preset="demo")


def test_without_labels_the_views_distance_is_shown_and_the_rest_says_why() -> None:
    known, blind = scores(), scores(headset="headset2")
    blind = blind.assign(views_apart_mm=blind["mono_m_mm"] / 2, mono_m_mm=math.nan, dual_m_mm=math.nan)
    found = pd.concat([known.assign(unlabelled=""), blind.assign(unlabelled="seq has no labels: why")])
    table = table_of(found)
    assert set(table.frame.loc[table.frame["headset"] == "headset1", "metric"]) == {"mono_m", "dual_m"}
    for metric in ("mono_m", "dual_m"):
        empty = row(table.frame, "1-2", metric, "headset2")
        assert math.isnan(empty["baseline_mm"])
        assert math.isnan(empty["s2dhand_mm"])
        assert empty["needs"] == "labels: seq has no labels: why"
    apart = row(table.frame, "1-2", "views_apart", "headset2")
    assert (apart["baseline_mm"], apart["s2dhand_mm"], apart["needs"]) == (20, 16, "")
    assert row(table.frame, "1-2").equals(row(table_of(known).frame, "1-2"))
    printed = table.markdown()
    assert "Views apart" in printed
    assert "views can agree on a wrong pose" in printed
    assert "labels: seq has no labels: why" in printed
