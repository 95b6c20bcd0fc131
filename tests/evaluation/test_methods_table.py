"""The methods' table: the order of averaging, both budgets, the paper's column, what is bold, and what was not run."""

import math
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from handloom.evaluation.methods_table import methods_table, write_methods_table
from handloom.evaluation.table import Table
from handloom.runtime.config.methods import MethodsSettings
from handloom.runtime.errors import InputError

SETTINGS = MethodsSettings(names=("fine_tune", "adda", "regda"), long_names=("adda",), pairs=("1-4", "2-3"))
MONO = {"source_only": 40.0, "source_only_rays": 40.0, "fine_tune": 10.0, "adda": 30.0, "regda": 35.0, "s2dhand": 28.0}


def scores(headset: str = "headset1") -> pd.DataFrame:
    """Mono-M of pair 2-3 is 2 more than of 1-4, of seed s it is s more; Dual-M 5 less, by the own R 4 less."""
    rows = []
    for method, mono in MONO.items():
        for budget in ("standard", "long") if method == "adda" else ("standard",):
            for pair in ("1-4", "2-3"):
                for seed in (None,) if method.startswith("source") else (1, 3):
                    value = mono + 2 * (pair == "2-3") + (seed or 0) + 0.5 * (budget == "long")
                    rows.append(
                        {"headset": headset, "pair": pair, "method": method, "budget": budget, "seed": seed}
                        | {"updates": 100, "seconds": 30.0 + 10 * (pair == "2-3"), "mono_m_mm": value}
                        | {"dual_m_mm": value - 5, "dual_m_own_r_mm": value - 4}
                    )
    return pd.DataFrame(rows).astype({"seed": "Int64"})


@cache
def table() -> Table:
    return methods_table(scores(), SETTINGS, "fixed", "demo")


def row(name: str, budget: str = "standard", headset: str = "headset1") -> "pd.Series[float]":
    return table().frame.set_index(["method", "budget", "headset"]).loc[(name, budget, headset)]


def test_means_are_over_pairs_then_seeds() -> None:
    adda = row("ADDA")
    assert adda["mono_m_mm"] == 30 + 1 + 2
    assert adda["mono_m_std_mm"] == pytest.approx(math.sqrt(2), abs=1e-4)
    assert adda["dual_m_mm"] == adda["mono_m_mm"] - 5
    assert adda["dual_m_own_r_mm"] == adda["mono_m_mm"] - 4
    assert (adda["updates"], adda["seconds"], adda["seeds"], adda["pairs"]) == (100, 35, 2, "1-4 2-3")
    assert row("ADDA", "long")["mono_m_mm"] == adda["mono_m_mm"] + 0.5


def test_the_source_network_has_no_seed_and_no_spread() -> None:
    source = row("Source-only")
    assert source["mono_m_mm"] == 41
    assert math.isnan(source["mono_m_std_mm"])
    assert source["seeds"] == 0


def test_the_paper_has_its_own_columns_and_fills_nothing_else() -> None:
    assert (row("RegDA")["paper_mono_m_mm"], row("RegDA")["paper_dual_m_mm"]) == (51.41, 47.85)
    assert (row("S2DHand")["paper_mono_m_mm"], row("S2DHand")["paper_dual_m_mm"]) == (48.44, 45.92)
    assert math.isnan(row("ADDA")["paper_mono_m_mm"])
    assert math.isnan(row("S2DHand", headset="headset2")["mono_m_mm"])
    assert row("S2DHand", headset="headset2")["paper_mono_m_mm"] == 53.11


def test_what_was_not_run_says_so() -> None:
    assert "not run: add it to methods.names" in row("DAGEN")["note"]
    assert "not run: add headset2 to headsets" in row("ADDA", headset="headset2")["note"]
    assert "not run" not in row("ADDA")["note"]


def test_attachments_that_are_ours_and_source_free_methods_are_told() -> None:
    for name in ("ADDA", "RegDA", "DAGEN"):
        assert row(name)["source_free"] == "no"
        assert "proposed here" in row(name)["note"]
    for name in ("SFDAHPE", "S2DHand", "Fine-tune"):
        assert row(name)["source_free"] == "yes"
    assert "the released code does not run" in row("SFDAHPE")["note"]
    assert row("Fine-tune")["labels"] == "target"


def test_the_best_without_target_labels_is_bold_in_print() -> None:
    text = table().markdown()
    line = {part.split(" | ")[0].strip("| "): part for part in text.splitlines() if part.startswith("| ")}
    assert "**31.00** ± 1.41" in line["S2DHand"]
    assert "**" not in line["Fine-tune"]
    assert "**" not in line["RegDA"]
    assert "n/a" in line["DAGEN"]
    html = table().html()
    assert "<b>31.00</b>" in html
    assert html.count("<tr class") == len([name for name in text.splitlines() if name.startswith("| ")]) - 1


def test_the_stage_writes_three_files_and_names_a_table_of_something_else(tmp_path: Path) -> None:
    scores().to_csv(tmp_path / "scores.csv", index=False)
    outputs = [tmp_path / f"table.{suffix}" for suffix in ("csv", "md", "html")]
    write_methods_table([tmp_path / "scores.csv"], *outputs, methods=SETTINGS, fidelity="fixed", preset="demo")
    assert len(pd.read_csv(outputs[0])) == 2 * len(table().frame.groupby(["method", "budget"]))
    pd.DataFrame({"headset": ["headset1"]}).to_csv(tmp_path / "scores.csv", index=False)
    with pytest.raises(InputError, match=r"scores\.csv: lacks the columns"):
        write_methods_table([tmp_path / "scores.csv"], *outputs, methods=SETTINGS, fidelity="fixed", preset="demo")
