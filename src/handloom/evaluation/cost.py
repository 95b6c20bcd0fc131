"""What every rule costs: time and memory from Snakemake's benchmark files."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from handloom.runtime.errors import InputError
from handloom.runtime.files import write_table

TOTAL = "all rules"


def write_cost(benchmarks: Sequence[Path], folder: Path, output: Path) -> None:
    """Stage: one row a rule from `folder/{rule}/...tsv` or `folder/{rule}.tsv`: jobs, seconds, largest memory in MB.

    `seconds` and `cpu_seconds` are sums over the jobs as each was last run, `longest_seconds` and `max_rss_mb` maxima.
    Jobs that ended before Snakemake could measure memory leave it empty. Raises InputError for a broken file.
    """
    frames = [_read(path, folder) for path in benchmarks]
    if not frames:
        raise InputError(f"{folder}: has no benchmark files, but at least one was expected; run the workflow first")
    write_table(output, cost_table(pd.concat(frames, ignore_index=True)))


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


def _read(path: Path, folder: Path) -> pd.DataFrame:
    try:
        # Snakemake writes "NA" or "-" for what it could not measure.
        frame = pd.read_csv(path, sep="\t", na_values=["NA", "-"])
        measured = frame[["s", "cpu_time", "max_rss"]].astype(float)
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read as a benchmark below {folder} ({error}); expected columns s, cpu_time, "
            "max_rss; delete it and run its rule again"
        ) from error
    return measured.assign(rule=rule)
