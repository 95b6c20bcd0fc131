"""The table of sequences with two hands, in ARCTIC's measures: `hold_two_hands.csv`.

As HOLD's `code/src/utils/eval_modules_arctic.py` has them: MPJPE of each hand relative to its own wrist, the object's
chamfer distance relative to each hand's wrist, both also as the mean over the hands (`_h`), and the object's alone
after similarity ICP. Distances are not squared here, so CD is in cm; HO3D's table squares them. The released code
compares squared distances with un-squared ones where it chooses among alignments; here all are squared.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from handloom.evaluation.benchmarks import wall_seconds
from handloom.evaluation.table import Block, Cell, Column, ColumnHead, Row, Table
from handloom.hand.joints import SIDES
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json

_OF_HAND = {"mpjpe_ra": "mpjpe_mm", "cd": "chamfer_hand_cm"}
_OF_OBJECT = {"cd_icp": "chamfer_cm", "f5_icp": "f5_pct", "f10_icp": "f10_pct"}
METRICS = (
    Column("mpjpe_ra_r", "MPJPE right", "mm", "low", 1),
    Column("mpjpe_ra_l", "MPJPE left", "mm", "low", 1),
    Column("mpjpe_ra_h", "MPJPE both", "mm", "low", 1),
    Column("cd_r", "CD right", "cm", "low", 2),
    Column("cd_l", "CD left", "cm", "low", 2),
    Column("cd_h", "CD both", "cm", "low", 2),
    Column("cd_icp", "CD", "cm", "low", 3),
    Column("f5_icp", "F5", "%", "high", 1),
    Column("f10_icp", "F10", "%", "high", 1),
    Column("coverage_pct", "coverage", "%", None, 0),
    Column("seconds", "seconds", digits=0),
)
MEAN = "mean"


def write_two_hands_table(
    scores: Sequence[Path], csv: Path, markdown: Path, html: Path, *, benchmarks: Mapping[str, Sequence[Path]]
) -> None:
    """Stage: the scores of sequences with two hands as a table; `benchmarks` are those of all rules behind each.

    Raises InputError for scores of one hand or of different protocols.
    """
    rows = [_row(path) for path in scores]
    frame = pd.DataFrame(rows)
    if len(protocols := sorted(set(frame["protocol"]))) > 1:
        raise InputError(f"{scores[0]} and others: are of protocols {protocols}; one table needs one; score again")
    frame["seconds"] = [wall_seconds(benchmarks[name]) for name in frame["sequence"]]
    numbers = [column.key for column in METRICS]
    frame.loc[len(frame)] = {"sequence": MEAN, **frame[numbers].mean(), "protocol": protocols[0]}
    frame = frame[["sequence", *numbers, "protocol"]]
    frame[numbers] = frame[numbers].astype(float).round(4)
    heads = [ColumnHead("", text=True), *(ColumnHead(f"{column.name} {column.unit}".strip()) for column in METRICS)]
    shown = [
        Row([Cell(str(row["sequence"])), *(column.cell(row[column.key]) for column in METRICS)])
        for row in frame.to_dict("records")
    ]
    Table(
        title="HOLD with two hands, in ARCTIC's measures",
        frame=frame,
        blocks=[Block(heads, shown, "Sequences")],
        explanation="MPJPE is relative to each hand's wrist, CD right and left are of the object relative to that "
        "wrist, CD, F5 and F10 of the object after similarity ICP. Distances are not squared, unlike in HO3D's table. "
        "No readable source tells HOLD's own scores on ARCTIC; the challenge's winner has a CD both of 38.69 "
        "in that challenge's unit (arXiv 2409.19215), on other sequences.",
    ).write(csv, markdown, html)


def _row(path: Path) -> dict[str, Any]:
    values = read_json(path)
    if not isinstance(values, dict) or set(values.get("hands", ())) != set(SIDES):
        raise InputError(
            f"{path}: holds no scores of a right and a left hand; name the sequence's hands, score it again"
        )
    row: dict[str, Any] = {name: values[name] for name in ("sequence", "protocol", "coverage_pct")}
    for name, ours in _OF_HAND.items():
        own = {side[0]: values["hands"][side][ours] for side in SIDES}
        known = [np.nan if value is None else value for value in own.values()]
        row |= {f"{name}_{letter}": value for letter, value in own.items()} | {f"{name}_h": float(np.mean(known))}
    return row | {name: values[ours] for name, ours in _OF_OBJECT.items()}
