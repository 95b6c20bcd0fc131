"""The quality tables of all sequences in one: what to film or set better, the poorest first."""

from collections.abc import Hashable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from handloom.evaluation.sequence_quality import COLUMNS, FAIR, GOOD, POOR, UNKNOWN
from handloom.runtime.files import read_table, write_table, write_text

_TITLE = "How well each stage of HOLD did"
_STYLE = """
body { font-family: system-ui, sans-serif; margin: 1.5em; color: #222; max-width: 80em; }
table { border-collapse: collapse; } td, th { padding: .25em .7em; text-align: left; vertical-align: top; }
tr { border-bottom: 1px solid #ddd; } td.number { text-align: right; white-space: nowrap; }
td.good { color: #2a7a2a; } td.fair { color: #9a6a00; font-weight: 600; } td.poor { color: #b02020; font-weight: 600; }
p { color: #555; }
"""
_SHOWN = ("stage", "measure", "value", "good", "verdict", "advice", "frames")


def write_quality_table(parts: Sequence[Path], csv: Path, html: Path) -> None:
    """Stage: gather sequences' `quality.csv` into one table; raises InputError for a file that is none."""
    table = pd.concat([read_table(path, COLUMNS) for path in parts], ignore_index=True)
    table[["unit", "frames", "advice"]] = table[["unit", "frames", "advice"]].fillna("")
    write_table(csv, table)
    write_text(html, quality_html(table))


def quality_html(table: pd.DataFrame) -> str:
    """The table as one HTML file that needs nothing else, one block a sequence."""
    blocks = []
    for sequence, rows in table.groupby("sequence", sort=False):
        counts = ", ".join(f"{(rows['verdict'] == name).sum()} {name}" for name in (GOOD, FAIR, POOR, UNKNOWN))
        body = "".join(_row(row) for row in rows.to_dict("records"))
        heads = "".join(f"<th>{name}</th>" for name in _SHOWN)
        blocks.append(
            f"<h2>{escape(str(sequence))}</h2>\n<p>{counts}</p>\n<table><thead><tr>{heads}</tr></thead>\n"
            f"<tbody>\n{body}</tbody></table>\n"
        )
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{_TITLE}</title><style>{_STYLE}'
        f"</style></head>\n<body>\n<h1>{_TITLE}</h1>\n<p>No annotation is needed for these. Frames are those to look "
        "at, by the names they came with.</p>\n" + "".join(blocks) + "</body>\n</html>\n"
    )


def _row(row: Mapping[Hashable, Any]) -> str:
    value = "-" if pd.isna(row["value"]) else f"{row['value']:g} {row['unit']}"
    cells = {**{name: escape(str(row[name])) for name in _SHOWN}, "value": escape(value)}
    style = {"value": "number", "verdict": str(row["verdict"]).replace(" ", "-")}
    return "<tr>" + "".join(f'<td class="{style.get(name, "")}">{cells[name]}</td>' for name in _SHOWN) + "</tr>\n"
