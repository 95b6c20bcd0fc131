"""HOLD's tables: `hold.csv`, methods by sequence beside the paper's values, and `hold_ablation.csv`, its phases.

A row that was not run stays empty and says in `needs` what would fill it; a row of another method says there which
frames its file lacks. Nothing is taken from the paper but the columns named `paper_`. Printed, metrics go across,
methods or phases down, sequence by sequence.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from handloom.evaluation.benchmarks import wall_seconds
from handloom.evaluation.table import Block, Cell, Column, ColumnHead, Row, Table, needs, published
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json

METRICS = (
    Column("mpjpe_mm", "MPJPE", "mm", "low", 1),
    Column("chamfer_cm2", "CD", "cm²", "low", 2),
    Column("f5_pct", "F5", "%", "high", 1),
    Column("f10_pct", "F10", "%", "high", 1),
    Column("chamfer_hand_cm2", "CD_h", "cm²", "low", 1),
    Column("mrrpe_mm", "MRRPE", "mm", "low", 1),
    Column("coverage_pct", "coverage", "%", None, 0),
)
SECONDS = Column("seconds", "seconds", digits=0)
MEAN = "mean"
METHODS = ("HOLD", "iHOI", "DiffHOI")
VARIANTS = {
    "hull": "visual hull",
    "phase1": "phase 1",
    "phase3_unrefined": "phase 3 without refinement",
    "phase3": "phase 3 with refinement",
}
"""The rows of the ablation: `variant` of the scores, and its name in the table."""
_KEYS = [metric.key for metric in METRICS]
_PROTOCOLS = {
    "faithful": "CD, F5 and F10 are of the first valid frame after similarity ICP",
    "per_frame": "CD, F5 and F10 are means over frames, each after similarity ICP",
}


@dataclass(frozen=True)
class Compared:
    """What tells the two tables apart."""

    title: str
    key: str
    """The column that names the rows."""
    names: Mapping[str, str]
    """What is compared, as the scores and as the table name it."""


COMPARISON = Compared("HOLD and other methods", "method", {name: name for name in METHODS})
ABLATION = Compared("HOLD, phase by phase", "variant", VARIANTS)


def write_hold_table(
    scores: Sequence[Path],
    csv: Path,
    markdown: Path,
    html: Path,
    *,
    ablation: str,
    sequences: Sequence[str],
    benchmarks: Mapping[str, Mapping[str, Sequence[Path]]],
) -> None:
    """Stage: gather scores of HOLD and other methods, or with `ablation` of HOLD's phases, into a table, and print it.

    `benchmarks` are, by row (method or phase) and sequence, Snakemake's benchmark files of all the rules behind it:
    their seconds are added up. Raises InputError for unreadable scores or scores of different protocols.
    """
    seconds = {
        (name, sequence): wall_seconds(paths)
        for name, of_sequence in benchmarks.items()
        for sequence, paths in of_sequence.items()
    }
    hold_table(_read(scores), sequences, seconds, ABLATION if ablation else COMPARISON).write(csv, markdown, html)


def hold_table(
    scores: pd.DataFrame, sequences: Sequence[str], seconds: Mapping[tuple[str, str], float], compared: Compared
) -> Table:
    """Per method or phase a row for every sequence, then their plain mean, with the paper's values beside it."""
    paper = published("hold").set_index("method") if compared is COMPARISON else pd.DataFrame()
    rows: list[dict[str, Any]] = []
    for name, printed in compared.names.items():
        of_name = _rows(scores[scores[compared.key] == name], name, sequences, seconds)
        if len(paper):
            of_name[-1] |= {f"paper_{column}": value for column, value in paper.loc[name].items()}
        rows += [{compared.key: printed, **row} for row in of_name]
    numbers = [*_KEYS, SECONDS.key, *(f"paper_{column}" for column in paper)]
    frame = pd.DataFrame(rows).reindex(columns=[compared.key, "sequence", *numbers, "needs"])
    frame[numbers] = frame[numbers].astype(float).round(4)
    protocol = str(scores["protocol"].iloc[0]) if len(scores) else ""
    frame.insert(len(frame.columns) - 1, "protocol", protocol)
    order = [MEAN, *(name for name in dict.fromkeys(frame["sequence"]) if name != MEAN)]
    return Table(
        title=compared.title,
        frame=frame,
        blocks=[_block(sequence, frame[frame["sequence"] == sequence], compared) for sequence in order],
        explanation=_explanation(protocol, compared),
        notes=needs(frame, compared.key, "sequence"),
    )


def _rows(
    scores: pd.DataFrame, name: str, sequences: Sequence[str], seconds: Mapping[tuple[str, str], float]
) -> list[dict[str, Any]]:
    """A row of a method or phase for every sequence, and the mean; only the mean when nothing was run."""
    twice = sorted(set(scores.loc[scores["sequence"].duplicated(), "sequence"]))
    if twice:
        raise InputError(
            f"scores of {scores['method'].iloc[0]}: hold {twice} twice; give one file a sequence and variant"
        )
    if name in VARIANTS:
        need = f"score variant {name}"
    elif name == "HOLD":
        need = "reconstruct and score it"
    else:
        need = f"run {name} and name its file in hold.interchange.{name} (docs/interchange.md)"
    found: dict[Any, dict[Any, Any]] = {row["sequence"]: row for row in scores.to_dict("records")}
    columns = [*_KEYS, SECONDS.key]
    rows: list[dict[str, Any]] = []
    for sequence in sequences:
        if sequence not in found:
            rows.append({"sequence": sequence, **dict.fromkeys(columns, np.nan), "needs": need})
            continue
        values = {key: found[sequence][key] for key in _KEYS}
        failed = [key for key, value in values.items() if math.isnan(value)]
        notes = [f"no frame could be scored for {', '.join(failed)}"] if failed else []
        notes += [found[sequence]["remark"]] * bool(found[sequence]["remark"])
        values[SECONDS.key] = seconds.get((name, sequence), np.nan)
        rows.append({"sequence": sequence, **values, "needs": "; ".join(notes)})
    means = {str(key): float(mean) for key, mean in pd.DataFrame(rows, columns=columns).astype(float).mean().items()}
    if not len(scores):
        return [{"sequence": MEAN, **means, "needs": need}]
    scored = sum(not any(math.isnan(row[key]) for key in _KEYS) for row in rows)
    short = "" if scored == len(rows) else f"mean over {scored} of {len(rows)} sequences"
    return [*rows, {"sequence": MEAN, **means, "needs": short}]


def _read(paths: Sequence[Path]) -> pd.DataFrame:
    """One row a score file, NaN for null."""
    needed = ("method", "variant", "sequence", "protocol", *_KEYS)
    rows = []
    for path in paths:
        values = read_json(path)
        lacking = [name for name in needed if not isinstance(values, dict) or name not in values]
        if lacking:
            raise InputError(f"{path}: lacks {lacking}, so it holds no scores of a sequence; score it again")
        rows.append({name: values[name] for name in needed} | {"remark": values.get("remark", "")})
    table = pd.DataFrame(rows, columns=[*needed, "remark"]).astype(dict.fromkeys(_KEYS, float))
    protocols = sorted(set(table["protocol"]))
    if len(protocols) > 1:
        raise InputError(f"{paths[0]} and others: are of protocols {protocols}, but one table needs one; score again")
    return table


def _block(sequence: str, frame: pd.DataFrame, compared: Compared) -> Block:
    """The methods or phases of one sequence or, with the paper's values, of the mean."""
    shown, records = (*METRICS, SECONDS), frame.to_dict("records")
    rows = []
    for row in records:
        cells = [column.cell(row[column.key], rivals=frame[column.key]) for column in shown]
        rows.append(Row([Cell(str(row[compared.key])), *cells]))
    for row in records if sequence == MEAN and compared is COMPARISON else ():
        cells = [column.cell(row.get(f"paper_{column.key}")) for column in shown]
        rows.append(Row([Cell(f"paper: {row[compared.key]}"), *cells], "published"))
    heads = [ColumnHead("", text=True), *(ColumnHead(f"{column.name} {column.unit}".strip()) for column in shown)]
    return Block(heads, rows, "Mean over the sequences" if sequence == MEAN else sequence)


def _explanation(protocol: str, compared: Compared) -> str:
    text = (
        f"Protocol `{protocol or 'none'}`: {_PROTOCOLS.get(protocol, 'nothing was scored')}; MPJPE, CD_h and MRRPE are "
        "means over the valid frames, of which coverage is the share that was predicted. Lower is better but for F5, "
        "F10 and coverage; bold is best."
    )
    if compared is COMPARISON:
        text += " The paper's numbers belong to HO3D-v3's sequences; only on these can the two be compared."
    return text
