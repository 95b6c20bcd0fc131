"""What jobs cost, from Snakemake's benchmark files: seconds for the tables, and a table of every rule."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from handloom.runtime.errors import InputError
from handloom.runtime.files import write_table

TOTAL = "all rules"


def write_cost(finished: Sequence[Path], table: Path, *, benchmarks: Path) -> None:
    """Stage: one row a rule from `benchmarks/{rule}/...tsv` or `benchmarks/{rule}.tsv`: jobs, seconds, most memory.

    `finished` are the files to wait for. `seconds` and `cpu_seconds` are sums over the jobs as each was last run,
    `longest_seconds` and `max_rss_mb` maxima. Jobs that ended before Snakemake could measure memory leave it empty.
    Raises InputError for a broken file.
    """
    paths = sorted(benchmarks.rglob("*.tsv"))
    if not paths:
        raise InputError(f"{benchmarks}: has no benchmark files, but at least one was expected; run the workflow first")
    jobs = [
        _read(path, "s", "cpu_time", "max_rss").assign(rule=path.relative_to(benchmarks).parts[0].removesuffix(".tsv"))
        for path in paths
    ]
    write_table(table, cost_table(pd.concat(jobs, ignore_index=True)))


def cost_table(jobs: pd.DataFrame) -> pd.DataFrame:
    """Jobs (columns rule, s, cpu_time, max_rss) summed up by rule, dearest first, with a total row."""

    def summary(group: pd.DataFrame) -> dict[str, object]:
        return {
            "jobs": len(group),
            "seconds": round(float(group["s"].sum()), 1),
            "longest_seconds": round(float(group["s"].max()), 1),
            "cpu_seconds": round(float(group["cpu_time"].sum()), 1),
            "max_rss_mb": round(float(group["max_rss"].max()), 0),
        }

    rows = [{"rule": str(rule), **summary(group)} for rule, group in jobs.groupby("rule")]
    table = pd.DataFrame(rows).sort_values(["seconds", "rule"], ascending=[False, True], ignore_index=True)
    return pd.concat([table, pd.DataFrame([{"rule": TOTAL, **summary(jobs)}])], ignore_index=True)


def wall_seconds(benchmarks: Sequence[Path]) -> float:
    """Wall time of jobs, added up; NaN without a benchmark file or where one is gone.

    Raises InputError for a file that is no benchmark.
    """
    if not benchmarks or not all(path.is_file() for path in benchmarks):
        return math.nan
    return sum(float(_read(path, "s")["s"].sum()) for path in benchmarks)


def _read(path: Path, *columns: str) -> pd.DataFrame:
    try:
        # Snakemake writes "NA" or "-" for what it could not measure.
        return pd.read_csv(path, sep="\t", na_values=["NA", "-"])[list(columns)].astype(float)
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read as a benchmark ({error}); expected columns {', '.join(columns)}; delete it and "
            "run its rule again"
        ) from error
