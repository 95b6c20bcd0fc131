"""Costs, from benchmark files as Snakemake writes them."""

import math
from pathlib import Path

import pandas as pd
import pytest

from handloom.evaluation.benchmarks import wall_seconds, write_cost
from handloom.runtime.errors import InputError

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def benchmark(path: Path, line: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEAD + line + "\n")
    return path


def test_jobs_are_summed_by_rule_and_dearest_come_first(tmp_path: Path) -> None:
    for path, line in (
        (tmp_path / "crop_views/val/headset1/camera1.tsv", "2.5\t0:00:02\t120.5\t1\t1\t1\t0\t0\t90\t2.25"),
        (tmp_path / "crop_views/val/headset1/camera2.tsv", "1.5\t0:00:01\t130.0\t1\t1\t1\t0\t0\t90\t1.25"),
        (tmp_path / "table.tsv", "10.0\t0:00:10\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA"),
    ):
        benchmark(path, line)
    write_cost([], tmp_path / "cost.csv", benchmarks=tmp_path)
    table = pd.read_csv(tmp_path / "cost.csv").set_index("rule")
    assert table.index.tolist() == ["table", "crop_views", "all rules"]
    crops = table.loc["crop_views"]
    assert crops.to_dict() == {"jobs": 2, "seconds": 4, "longest_seconds": 2.5, "cpu_seconds": 3.5, "max_rss_mb": 130}
    assert pd.isna(table.loc["table", "max_rss_mb"])
    assert table.loc["all rules", "seconds"] == 14


def test_dashes_of_jobs_too_short_to_measure_are_empty(tmp_path: Path) -> None:
    benchmark(tmp_path / "quick.tsv", "0.1\t0:00:00\t-\t-\t-\t-\t-\t-\t-\t0.0")
    write_cost([], tmp_path / "cost.csv", benchmarks=tmp_path)
    assert pd.read_csv(tmp_path / "cost.csv")["max_rss_mb"].isna().all()


@pytest.mark.parametrize("content", ["", "seconds\n1\n", HEAD + "1\tx\tmuch\t\t\t\t\t\t\t\n"])
def test_a_broken_benchmark_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "rule.tsv"
    path.write_text(content)
    with pytest.raises(InputError, match=r"rule.tsv: cannot be read as a benchmark"):
        write_cost([], tmp_path / "cost.csv", benchmarks=tmp_path)


def test_no_benchmarks_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no benchmark files"):
        write_cost([], tmp_path / "cost.csv", benchmarks=tmp_path)


def test_seconds_of_jobs_are_added_up_and_not_known_where_a_file_is_gone(tmp_path: Path) -> None:
    paths = [benchmark(tmp_path / f"{seconds}.tsv", f"{seconds}\t-\t-\t-\t-\t-\t-\t-\t-\t-") for seconds in (1.5, 2.0)]
    assert wall_seconds(paths) == 3.5
    assert math.isnan(wall_seconds([*paths, tmp_path / "gone.tsv"]))
    assert math.isnan(wall_seconds([]))
    paths[0].write_text("nothing\n")
    with pytest.raises(InputError, match=r"1.5.tsv: cannot be read as a benchmark"):
        wall_seconds(paths)
