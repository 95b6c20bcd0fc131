"""HOLD's tables: `hold.csv`, methods by sequence beside the paper's values, and `hold_ablation.csv`, its phases.

A row that was not run stays empty and says in `needs` what would fill it; a row of another method says there which
frames its file lacks. Nothing is taken from the paper but the columns named `paper_`.
"""

import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from handloom.evaluation.hold_printed import ABLATION, COMPARISON, HoldPrint, as_html, as_markdown
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json, write_table, write_text

MEAN = "mean"
METRICS = ("mpjpe_mm", "chamfer_cm2", "f5_pct", "f10_pct", "chamfer_hand_cm2", "mrrpe_mm", "coverage_pct")
METHODS = ("HOLD", "iHOI", "DiffHOI")
VARIANTS = {
    "phase1": "phase 1",
    "phase3_unrefined": "phase 3 without refinement",
    "phase3": "phase 3 with refinement",
}
"""The rows of the ablation: `variant` of the scores, and its name in the table."""
PAPER = "paper_hold.csv"
_NEEDED = ("method", "variant", "sequence", "protocol", *METRICS)


def paper_hold_values() -> pd.DataFrame:
    """The published means over HO3D-v3's 18 sequences, indexed by method (facts/hold.md 4)."""
    with resources.files("handloom.data").joinpath(PAPER).open(encoding="utf-8") as file:
        return pd.read_csv(file, index_col="method")


def write_hold_table(
    scores: Sequence[Path],
    csv: Path,
    markdown: Path,
    html: Path,
    *,
    sequences: Sequence[str],
    benchmarks: Mapping[str, Sequence[Path]] | None = None,
) -> None:
    """Stage: gather HOLD's and other methods' scores into `hold.csv`, and print it.

    `benchmarks` are, per sequence, Snakemake's benchmark files of all of HOLD's rules: their seconds are added up.
    Raises InputError for unreadable scores or scores of different protocols.
    """
    seconds = {sequence: benchmark_seconds(paths) for sequence, paths in (benchmarks or {}).items()}
    table = hold_table(_read(scores), sequences, seconds)
    _write(table, csv, markdown, html, COMPARISON)


def write_hold_ablation(
    scores: Sequence[Path],
    csv: Path,
    markdown: Path,
    html: Path,
    *,
    sequences: Sequence[str],
    benchmarks: Mapping[str, Mapping[str, Sequence[Path]]] | None = None,
) -> None:
    """Stage: gather the scores of HOLD's phases into `hold_ablation.csv`, and print it.

    `benchmarks` are per variant and sequence. Raises InputError as `write_hold_table` does.
    """
    seconds = {
        variant: {sequence: benchmark_seconds(paths) for sequence, paths in of_sequence.items()}
        for variant, of_sequence in (benchmarks or {}).items()
    }
    table = hold_ablation(_read(scores), sequences, seconds)
    _write(table, csv, markdown, html, ABLATION)


def hold_table(scores: pd.DataFrame, sequences: Sequence[str], seconds: Mapping[str, float]) -> pd.DataFrame:
    """Per method a row for every sequence, then their plain mean with the paper's values beside it."""
    paper = paper_hold_values()
    rows: list[dict[str, Any]] = []
    for method in METHODS:
        found = scores[scores["method"] == method]
        need = _missing_text(method)
        of_method = _rows(found, sequences, seconds if method == "HOLD" else {}, need)
        of_method[-1] |= {f"paper_{name}": value for name, value in paper.loc[method].items()}
        rows += [{"method": method, **row} for row in of_method]
    return _table(rows, "method", [f"paper_{name}" for name in paper.columns], scores)


def hold_ablation(
    scores: pd.DataFrame, sequences: Sequence[str], seconds: Mapping[str, Mapping[str, float]]
) -> pd.DataFrame:
    """Per variant of HOLD a row for every sequence, then their plain mean."""
    rows: list[dict[str, Any]] = []
    for variant, name in VARIANTS.items():
        found = scores[(scores["method"] == "HOLD") & (scores["variant"] == variant)]
        of_variant = _rows(found, sequences, seconds.get(variant, {}), f"score variant {variant}")
        rows += [{"variant": name, **row} for row in of_variant]
    return _table(rows, "variant", [], scores)


def benchmark_seconds(paths: Sequence[Path]) -> float:
    """Wall-clock seconds of Snakemake benchmark files, added up; raises InputError for one that is none."""
    total = 0.0
    for path in paths:
        try:
            total += float(pd.read_csv(path, sep="\t")["s"].astype(float).sum())
        except (FileNotFoundError, KeyError, ValueError) as error:
            raise InputError(f"{path}: is no benchmark file of Snakemake ({error}); run its rule again") from error
    return total if paths else math.nan


def _missing_text(method: str) -> str:
    if method == "HOLD":
        return "reconstruct and score it"
    return f"run {method} and name its file in hold.interchange.{method} (docs/interchange.md)"


def _rows(
    scores: pd.DataFrame, sequences: Sequence[str], seconds: Mapping[str, float], need: str
) -> list[dict[str, Any]]:
    """A row for every sequence, and the mean; only the mean when nothing was run."""
    twice = sorted(set(scores.loc[scores["sequence"].duplicated(), "sequence"]))
    if twice:
        raise InputError(
            f"scores of {scores['method'].iloc[0]}: hold {twice} twice; give one file a sequence and variant"
        )
    by_sequence = scores.set_index("sequence")
    rows = [_row(by_sequence, sequence, seconds, need) for sequence in sequences]
    known = pd.DataFrame(rows, columns=["sequence", *METRICS, "seconds", "needs"])
    means = {name: _mean(known[name].to_numpy(float)) for name in (*METRICS, "seconds")}
    scored = [row["sequence"] for row in rows if not any(math.isnan(row[name]) for name in METRICS)]
    if not scored and not len(scores):
        return [{"sequence": MEAN, **means, "needs": need}]
    short = "" if len(scored) == len(rows) else f"mean over {len(scored)} of {len(rows)} sequences"
    return [*rows, {"sequence": MEAN, **means, "needs": short}]


def _row(by_sequence: pd.DataFrame, sequence: str, seconds: Mapping[str, float], need: str) -> dict[str, Any]:
    if sequence not in by_sequence.index:
        return {"sequence": sequence, **dict.fromkeys((*METRICS, "seconds"), np.nan), "needs": need}
    found = by_sequence.loc[[sequence]].iloc[0]
    values = {name: float(found[name]) for name in METRICS}
    failed = [name for name in METRICS if math.isnan(values[name])]
    notes = [f"no frame could be scored for {', '.join(failed)}"] if failed else []
    return {
        "sequence": sequence,
        **values,
        "seconds": seconds.get(sequence, np.nan),
        "needs": "; ".join(notes + [found["remark"]] * bool(found["remark"])),
    }


def _table(rows: list[dict[str, Any]], first: str, more: list[str], scores: pd.DataFrame) -> pd.DataFrame:
    columns = [first, "sequence", *METRICS, "seconds", *more]
    table = pd.DataFrame(rows).reindex(columns=[*columns, "needs"])
    table[columns[2:]] = table[columns[2:]].astype(float).round(4)
    table["protocol"] = str(scores["protocol"].iloc[0]) if len(scores) else ""
    return table[[*columns, "protocol", "needs"]]


def _read(paths: Sequence[Path]) -> pd.DataFrame:
    """One row a score file, NaN for null."""
    rows = []
    for path in paths:
        values = read_json(path)
        missing = [name for name in _NEEDED if not isinstance(values, dict) or name not in values]
        if missing:
            raise InputError(f"{path}: lacks {missing}, so it holds no scores of a sequence; score it again")
        rows.append({name: values[name] for name in _NEEDED} | {"remark": values.get("remark", "")})
    table = pd.DataFrame(rows, columns=[*_NEEDED, "remark"]).astype(dict.fromkeys(METRICS, float))
    protocols = sorted(set(table["protocol"]))
    if len(protocols) > 1:
        raise InputError(f"{paths[0]} and others: are of protocols {protocols}, but one table needs one; score again")
    return table


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _write(table: pd.DataFrame, csv: Path, markdown: Path, html: Path, layout: HoldPrint) -> None:
    write_table(csv, table)
    write_text(markdown, as_markdown(table, layout))
    write_text(html, as_html(table, layout))
