"""HOLD's tables: means, honest cells, the paper's values in their own columns, and wrong score files."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from handloom.evaluation.hold_tables import METRICS, write_hold_table
from handloom.runtime.errors import InputError
from handloom.runtime.files import write_json

COLUMNS = [
    *("method", "sequence", "mpjpe_mm", "chamfer_cm2", "f5_pct", "f10_pct", "chamfer_hand_cm2", "mrrpe_mm"),
    *("coverage_pct", "seconds", "paper_mpjpe_mm", "paper_chamfer_cm2", "paper_f10_pct", "paper_chamfer_hand_cm2"),
    *("protocol", "needs"),
]
NAMES = [metric.key for metric in METRICS]


def scores(folder: Path, sequence: str, value: float | None, **notes: str) -> Path:
    values = {"method": "HOLD", "variant": "phase3", "protocol": "faithful", "sequence": sequence, **notes}
    path = folder / f"{values['method']}_{values['variant']}_{sequence}.json"
    write_json(path, {**values, **dict.fromkeys(NAMES, value)})
    return path


def table(
    folder: Path, files: list[Path], ablation: str = "", benchmarks: dict[str, Any] | None = None
) -> pd.DataFrame:
    outputs = (folder / f"t.{suffix}" for suffix in ("csv", "md", "html"))
    write_hold_table(files, *outputs, ablation=ablation, sequences=("mug", "lamp"), benchmarks=benchmarks or {})
    return pd.read_csv(folder / "t.csv", keep_default_na=False, na_values=[""])


def benchmark(folder: Path, name: str, seconds: float) -> Path:
    path = folder / name
    path.write_text(f"s\tcpu_time\n{seconds}\t1\n")
    return path


def test_rows_columns_means_and_paper_values(tmp_path: Path) -> None:
    files = [scores(tmp_path, "mug", 1), scores(tmp_path, "lamp", 2)]
    files += [scores(tmp_path, "mug", 3, method="iHOI"), scores(tmp_path, "lamp", 5, method="iHOI")]
    clock = {"mug": [benchmark(tmp_path, "a", 10), benchmark(tmp_path, "b", 5)], "lamp": [benchmark(tmp_path, "c", 25)]}
    found = table(tmp_path, files, benchmarks={"HOLD": clock})
    assert list(found) == COLUMNS
    rows = found.set_index(["method", "sequence"])
    assert list(rows.index) == [
        *(("HOLD", "mug"), ("HOLD", "lamp"), ("HOLD", "mean")),
        *(("iHOI", "mug"), ("iHOI", "lamp"), ("iHOI", "mean"), ("DiffHOI", "mean")),
    ]
    assert rows.loc[("HOLD", "mean"), "mpjpe_mm"] == 1.5
    assert rows.loc[("iHOI", "mean"), "f10_pct"] == 4
    assert rows.loc[("HOLD", "mug"), "seconds"] == 15
    assert rows.loc[("HOLD", "mean"), "seconds"] == 20
    assert rows.loc[("HOLD", "mean"), "paper_mpjpe_mm"] == 24.2
    assert rows.loc[("iHOI", "mean"), "paper_chamfer_hand_cm2"] == 41.7
    assert rows.loc[("DiffHOI", "mean"), "paper_f10_pct"] == 68.8
    assert rows["paper_mpjpe_mm"].drop("mean", level=1).isna().all()


def test_methods_that_were_not_run_say_what_they_need(tmp_path: Path) -> None:
    found = table(tmp_path, [scores(tmp_path, "mug", 1), scores(tmp_path, "lamp", 2)])
    absent = found[found["method"] == "DiffHOI"].iloc[0]
    assert absent[list(NAMES)].isna().all()
    assert "run DiffHOI" in absent["needs"]
    assert "interchange" in absent["needs"]
    assert "run iHOI" in (tmp_path / "t.md").read_text()


def test_a_missing_sequence_and_a_failed_one_are_told(tmp_path: Path) -> None:
    found = table(tmp_path, [scores(tmp_path, "mug", 4)]).set_index(["method", "sequence"])
    assert found.loc[("HOLD", "lamp"), "needs"] == "reconstruct and score it"
    assert found.loc[("HOLD", "mean"), "needs"] == "mean over 1 of 2 sequences"
    found = table(tmp_path, [scores(tmp_path, "mug", 4), scores(tmp_path, "lamp", None)])
    found = found.set_index(["method", "sequence"])
    assert pd.isna(found.loc[("HOLD", "lamp"), "chamfer_cm2"])
    assert "no frame could be scored for mpjpe_mm" in found.loc[("HOLD", "lamp"), "needs"]
    assert found.loc[("HOLD", "mean"), "needs"] == "mean over 1 of 2 sequences"


def test_a_remark_of_another_method_is_in_its_row_and_empties_nothing(tmp_path: Path) -> None:
    files = [scores(tmp_path, "mug", 3, method="iHOI", remark="2 frames failed (frames 0001, 0002)")]
    files += [scores(tmp_path, "lamp", None, method="iHOI", remark="9 frames failed")]
    found = table(tmp_path, files).set_index(["method", "sequence"])
    assert found.loc[("iHOI", "mug"), "needs"] == "2 frames failed (frames 0001, 0002)"
    assert found.loc[("iHOI", "mug"), "mpjpe_mm"] == 3
    assert found.loc[("iHOI", "lamp"), "needs"].endswith(
        "f10_pct, chamfer_hand_cm2, mrrpe_mm, coverage_pct; 9 frames failed"
    )
    assert found.loc[("iHOI", "mean"), "needs"] == "mean over 1 of 2 sequences"
    assert "- iHOI, mug: 2 frames failed" in (tmp_path / "t.md").read_text()


def test_a_method_whose_every_frame_failed_keeps_its_rows(tmp_path: Path) -> None:
    found = table(tmp_path, [scores(tmp_path, "mug", None, method="iHOI")]).set_index(["method", "sequence"])
    assert "no frame could be scored" in found.loc[("iHOI", "mug"), "needs"]
    assert found.loc[("iHOI", "mean"), "needs"] == "mean over 0 of 2 sequences"


def test_nothing_scored_still_prints(tmp_path: Path) -> None:
    found = table(tmp_path, [])
    assert list(found["sequence"]) == ["mean"] * 3
    assert found[list(NAMES)].isna().all().all()


def test_ablation_has_the_hull_and_the_variants_in_order(tmp_path: Path) -> None:
    files = [
        scores(tmp_path, sequence, value, variant=variant)
        for variant, value in (("hull", 4.0), ("phase1", 3.0), ("phase3_unrefined", 2.0), ("phase3", 1.0))
        for sequence in ("mug", "lamp")
    ]
    found = table(tmp_path, files, "_ablation", {"phase1": {"mug": [benchmark(tmp_path, "x", 7)]}})
    means = found[found["sequence"] == "mean"]
    assert list(means["variant"]) == ["visual hull", "phase 1", "phase 3 without refinement", "phase 3 with refinement"]
    assert list(means["chamfer_cm2"]) == [4, 3, 2, 1]
    assert not [name for name in found if name.startswith("paper_")]
    assert found["seconds"].dropna().tolist() == [7, 7]
    assert "**1.00**" in (tmp_path / "t.md").read_text()


def test_print_marks_the_best_by_direction_and_escapes(tmp_path: Path) -> None:
    files = [scores(tmp_path, "mug", 1), scores(tmp_path, "lamp", 1)]
    files += [scores(tmp_path, "mug", 2, method="iHOI"), scores(tmp_path, "lamp", 2, method="iHOI")]
    table(tmp_path, files)
    lines = (tmp_path / "t.md").read_text().splitlines()
    hold = next(line for line in lines if line.startswith("| HOLD"))
    ihoi = next(line for line in lines if line.startswith("| iHOI"))
    assert hold == "| HOLD | **1.0** | **1.00** | 1.0 | 1.0 | **1.0** | **1.0** | 1 | n/a |"
    assert ihoi == "| iHOI | 2.0 | 2.00 | **2.0** | **2.0** | 2.0 | 2.0 | 2 | n/a |"
    assert "| *paper: HOLD* | 24.2 | 0.40 | n/a | 96.5 | 11.3 | n/a | n/a | n/a |" in lines
    page = (tmp_path / "t.html").read_text()
    assert page.count("<table>") == 3
    assert "<b>1.00</b>" in page
    assert "http" not in page


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="protocols"):
        table(tmp_path, [scores(tmp_path, "mug", 1), scores(tmp_path, "lamp", 1, protocol="per_frame")])
    with pytest.raises(InputError, match="twice"):
        table(tmp_path, [scores(tmp_path, "mug", 1), scores(tmp_path, "mug", 1, variant="phase1")])
    write_json(tmp_path / "x.json", {"method": "HOLD"})
    with pytest.raises(InputError, match="lacks"):
        table(tmp_path, [tmp_path / "x.json"])
