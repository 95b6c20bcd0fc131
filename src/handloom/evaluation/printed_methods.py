"""The table of adaptation methods as the paper prints it: methods down, headsets across, the best in bold."""

from html import escape
from typing import Any

import pandas as pd

from handloom.evaluation.printed_tables import ABSENT, STYLE, Cell, html_cell

TITLE = "Adaptation methods, cross-dataset"
HEADS = (
    ("mono_m_mm", "mono_m_std_mm", "Mono-M"),
    ("dual_m_mm", "dual_m_std_mm", "Dual-M"),
    ("dual_m_own_r_mm", "", "Dual-M, own R"),
    ("paper_mono_m_mm", "", "paper Mono-M"),
    ("paper_dual_m_mm", "", "paper Dual-M"),
)
DECIDED = ("mono_m_mm", "dual_m_mm")
"""The columns whose best value is bold, among the methods that use no target labels."""


def printed_rows(table: pd.DataFrame) -> list[tuple[list[str], list[Cell]]]:
    """A row per method and budget: its name, source-free, labels, budget, updates, seconds; then its numbers."""
    best = {
        (headset, column): rows.loc[rows["labels"] != "target", column].round(2).min()
        for headset, rows in table.groupby("headset", sort=False)
        for column in DECIDED
    }
    printed = []
    for _, rows in table.groupby(["method", "budget"], sort=False):
        first = rows.iloc[0]
        seconds = rows["seconds"].mean()
        told = [
            str(first["method"]),
            str(first["source_free"]),
            str(first["labels"]),
            str(first["budget"]),
            _plain(rows["updates"].mean()),
            _plain(seconds),
        ]
        printed.append((told, [_cell(row, *head[:2], best) for row in rows.to_dict("records") for head in HEADS]))
    return printed


def as_markdown(table: pd.DataFrame) -> str:
    """The table in Markdown."""
    headsets = list(dict.fromkeys(table["headset"]))
    heads = ["method", "source-free", "labels", "budget", "updates", "seconds"]
    heads += [f"{_headset(headset)} {name}" for headset in headsets for *_, name in HEADS]
    lines = [f"# {TITLE}", "", _explanation(table), "", "| " + " | ".join(heads) + " |"]
    lines.append("|---|---|---|---|" + "---:|" * (len(heads) - 4))
    for told, cells in printed_rows(table):
        shown = [f"**{cell.text}**{cell.spread}" if cell.best else cell.text + cell.spread for cell in cells]
        lines.append("| " + " | ".join([*told, *shown]) + " |")
    return "\n".join([*lines, "", *(f"- {line}" for line in _notes(table))]) + "\n"


def as_html(table: pd.DataFrame) -> str:
    """The table as one HTML file that needs nothing else."""
    headsets = list(dict.fromkeys(table["headset"]))
    top = "".join(f'<th colspan="{len(HEADS)}">{_headset(headset)}, mm</th>' for headset in headsets)
    told_heads = ("source-free", "labels", "budget", "updates", "seconds")
    second = "".join(f"<th>{head}</th>" for head in (*told_heads, *(name for _ in headsets for *_, name in HEADS)))
    body = "".join(
        "<tr>"
        + "".join(f"<td>{escape(text)}</td>" for text in told)
        + "".join(html_cell(cell) for cell in cells)
        + "</tr>\n"
        for told, cells in printed_rows(table)
    )
    notes = "".join(f"<li>{escape(line)}</li>" for line in _notes(table))
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{TITLE}</title><style>{STYLE}</style>'
        f"</head>\n<body>\n<h1>{TITLE}</h1>\n<p>{escape(_explanation(table))}</p>\n<table>\n<thead><tr><th></th>"
        f'<th colspan="{len(told_heads)}"></th>{top}</tr>\n<tr><th></th>{second}</tr></thead>\n'
        f"<tbody>\n{body}</tbody>\n</table>\n<ul>{notes}</ul>\n</body>\n</html>\n"
    )


def _cell(row: dict[Any, Any], column: str, spread: str, best: dict[tuple[Any, str], float]) -> Cell:
    value, deviation = row[column], row.get(spread)
    bold = column in DECIDED and row["labels"] != "target" and pd.notna(value)
    return Cell(
        ABSENT if pd.isna(value) else f"{value:.2f}",
        "" if deviation is None or pd.isna(deviation) else f" ± {deviation:.2f}",
        bool(bold and round(value, 2) == best[row["headset"], column]),
    )


def _explanation(table: pd.DataFrame) -> str:
    measured = table[table["pairs"] != ""]
    pairs = sorted({pair for listed in measured["pairs"] for pair in str(listed).split()})
    seeds = int(table["seeds"].max())
    spread = f"± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    return (
        "Millimetres, lower is better; the best of each column without target labels is bold. Mean over the camera "
        f"pairs {', '.join(pairs)}, {spread}. All methods start from the same network and see the same images in the "
        "same order; the last update is scored, whatever its score. Dual-M merges the views by R(0), that of S2DHand "
        "by its own; Dual-M, own R, by the rotation that the adapted network's poses show. Seconds are wall time per "
        f"adaptation. Preset {table['preset'].iloc[0]}, fidelity {table['fidelity'].iloc[0]}. The paper's numbers are "
        "means over six pairs of its own data."
    )


def _notes(table: pd.DataFrame) -> list[str]:
    """Each method's remark, once."""
    return list(dict.fromkeys(f"{row['method']}: {row['note']}" for row in table.to_dict("records")))


def _headset(name: object) -> str:
    return f"Headset {str(name).removeprefix('headset')}"


def _plain(value: float) -> str:
    return ABSENT if pd.isna(value) else f"{value:.0f}"
