"""HOLD's tables as the paper prints them: metrics across, methods or phases down, the best mean in bold."""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from handloom.evaluation.printed_tables import ABSENT, STYLE, Cell, PrintedRow, html_cell

_COLUMNS = (
    ("mpjpe_mm", "MPJPE mm", 1),
    ("chamfer_cm2", "CD cm²", 2),
    ("f5_pct", "F5 %", 1),
    ("f10_pct", "F10 %", 1),
    ("chamfer_hand_cm2", "CD_h cm²", 1),
    ("mrrpe_mm", "MRRPE mm", 1),
    ("coverage_pct", "coverage %", 0),
    ("seconds", "seconds", 0),
)
_LESS, _MORE = ("mpjpe_mm", "chamfer_cm2", "chamfer_hand_cm2", "mrrpe_mm"), ("f5_pct", "f10_pct")
_MEAN = "mean"
_PROTOCOLS = {
    "faithful": "CD, F5 and F10 are of the first valid frame after similarity ICP",
    "per_frame": "CD, F5 and F10 are means over frames, each after similarity ICP",
}


@dataclass(frozen=True)
class HoldPrint:
    """What tells the two tables apart."""

    title: str
    key: str
    """The column that names the rows."""
    published: bool


COMPARISON = HoldPrint("HOLD and other methods", "method", published=True)
ABLATION = HoldPrint("HOLD, phase by phase", "variant", published=False)


def printed_blocks(table: pd.DataFrame, layout: HoldPrint) -> list[tuple[str, list[PrintedRow]]]:
    """The means of all methods (and the paper's), then a block for every sequence that was scored."""
    blocks = []
    for sequence in [_MEAN, *(name for name in dict.fromkeys(table["sequence"]) if name != _MEAN)]:
        of_sequence = table[table["sequence"] == sequence]
        rows = [
            PrintedRow(
                str(row[layout.key]), "method", [_cell(row, name, digits, of_sequence) for name, _, digits in _COLUMNS]
            )
            for row in of_sequence.to_dict("records")
        ]
        if sequence == _MEAN and layout.published:
            rows += [
                PrintedRow(
                    f"paper: {row[layout.key]}",
                    "published",
                    [Cell(_number(row.get(f"paper_{name}"), digits)) for name, _, digits in _COLUMNS],
                )
                for row in of_sequence.to_dict("records")
            ]
        blocks.append((sequence, rows))
    return blocks


def as_markdown(table: pd.DataFrame, layout: HoldPrint) -> str:
    """The table in Markdown."""
    lines = [f"# {layout.title}", "", _explanation(table, layout, lambda text: f"`{text}`"), ""]
    for sequence, rows in printed_blocks(table, layout):
        lines += [f"## {_heading(sequence)}", "", "| | " + " | ".join(head for _, head, _ in _COLUMNS) + " |"]
        lines += ["|---|" + "---:|" * len(_COLUMNS)]
        for row in rows:
            name = f"*{row.name}*" if row.kind == "published" else row.name
            cells = [f"**{cell.text}**" if cell.best else cell.text for cell in row.cells]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    lines += [f"- {line}" for line in _needs(table, layout)]
    return "\n".join(lines).rstrip() + "\n"


def as_html(table: pd.DataFrame, layout: HoldPrint) -> str:
    """The table as one HTML file that needs nothing else."""
    heads = "".join(f"<th>{escape(head)}</th>" for _, head, _ in _COLUMNS)
    blocks = []
    for sequence, rows in printed_blocks(table, layout):
        body = "".join(
            f'<tr class="{row.kind}"><td>{escape(row.name)}</td>{"".join(map(html_cell, row.cells))}</tr>\n'
            for row in rows
        )
        blocks.append(
            f"<table>\n<caption>{escape(_heading(sequence))}</caption>\n<thead><tr><th></th>{heads}</tr></thead>\n"
            f"<tbody>\n{body}</tbody>\n</table>\n"
        )
    remarks = "".join(f"<li>{escape(line)}</li>" for line in _needs(table, layout))
    explanation = _explanation(table, layout, lambda text: f"<code>{escape(text)}</code>")
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{layout.title}</title><style>{STYLE}'
        f"</style></head>\n<body>\n<h1>{layout.title}</h1>\n<p>{explanation}</p>\n"
        + "".join(blocks)
        + (f"<ul>{remarks}</ul>\n" if remarks else "")
        + "</body>\n</html>\n"
    )


def _cell(row: Any, name: str, digits: int, rows: pd.DataFrame) -> Cell:
    """A value; it is the best if no other method's looks better as printed, and there is another."""
    value, others = row[name], rows[name].dropna().round(digits)
    if pd.isna(value) or len(others) < 2 or name not in (*_LESS, *_MORE):
        return Cell(_number(value, digits))
    best = others.min() if name in _LESS else others.max()
    return Cell(_number(value, digits), best=bool(round(value, digits) == best))


def _explanation(table: pd.DataFrame, layout: HoldPrint, code: Callable[[str], str]) -> str:
    protocol = str(table["protocol"].iloc[0]) if len(table) else ""
    meaning = _PROTOCOLS.get(protocol, "nothing was scored")
    text = (
        f"Protocol {code(protocol or 'none')}: {meaning}; MPJPE, CD_h and MRRPE are means over the valid frames, of "
        "which coverage is the share that was predicted. Lower is better but for F5, F10 and coverage; bold is best."
    )
    if layout.published:
        text += " The paper's numbers belong to HO3D-v3's sequences; only on these can the two be compared."
    return text


def _needs(table: pd.DataFrame, layout: HoldPrint) -> list[str]:
    """Every distinct reason for an empty or partial cell, with the rows that it concerns."""
    rows = table[table["needs"] != ""]
    return [
        f"{name}, {', '.join(dict.fromkeys(group['sequence']))}: {need}"
        for (name, need), group in rows.groupby([layout.key, "needs"], sort=False)
    ]


def _heading(sequence: str) -> str:
    return "Mean over the sequences" if sequence == _MEAN else sequence


def _number(value: Any, digits: int) -> str:
    return ABSENT if value is None or pd.isna(value) else f"{value:.{digits}f}"
