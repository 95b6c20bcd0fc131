"""The table of S2DHand as the paper prints it: a block per headset, cameras across, methods down, the best in bold."""

from collections.abc import Callable, Hashable, Sequence
from html import escape
from typing import Any, NamedTuple

import pandas as pd

METHODS = (
    ("Baseline", "baseline_mm", "no_spread"),  # one network, so no spread over seeds
    ("S2DHand", "s2dhand_mm", "s2dhand_std_mm"),
    ("S2DHand, synchronised R", "s2dhand_sync_mm", "s2dhand_sync_std_mm"),
)
RAYS = ("Baseline, R with viewing rays", "baseline_rays_mm", "no_spread")
REDUCTIONS = (("S2DHand reduces by", "reduction_pct"), ("synchronised R by", "s2dhand_sync_reduction_pct"))
RAYS_REDUCTION = ("R with viewing rays alone by", "baseline_rays_reduction_pct")
PUBLISHED = (("paper: Baseline", "paper_baseline_mm"), ("paper: S2DHand", "paper_s2dhand_mm"))
METRIC_NAMES = {"mono_m": "Mono-M", "dual_m": "Dual-M"}
SETTING_NAMES = {"in": "in-dataset", "cross": "cross-dataset"}
ABSENT = "n/a"

STYLE = """
body { font-family: system-ui, sans-serif; margin: 2em; color: #222; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: 1.2em 0 .4em; }
th, td { padding: .25em .6em; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead tr:last-child th { border-bottom: 1.5px solid #222; font-weight: normal; }
thead tr:first-child th { border-top: 1.5px solid #222; text-align: center; }
tbody tr:last-child td { border-bottom: 1.5px solid #222; }
tr.published td { color: #777; }
tr.reduction td { color: #0a5a8a; }
.spread { color: #777; font-size: 85%; }
"""


class Cell(NamedTuple):
    """A printed value, its spread over seeds, and whether it is the best of its column."""

    text: str
    spread: str = ""
    best: bool = False


class PrintedRow(NamedTuple):
    """A line of a block: its name, its kind (method, reduction, published) and its cells, column by column."""

    name: str
    kind: str
    cells: list[Cell]


def printed_rows(block: pd.DataFrame, *, rays: bool = True) -> list[PrintedRow]:
    """The lines of one headset's block; `block` has one row per column of the print.

    Without `rays`, those of the baseline with viewing rays are left out.
    """
    columns = block.to_dict("records")
    shown = (METHODS[0], RAYS, *METHODS[1:]) if rays else METHODS
    methods = [
        PrintedRow(name, "method", [_method_cell(column, mean, deviation, shown) for column in columns])
        for name, mean, deviation in shown
    ]
    reductions = [
        PrintedRow(name, "reduction", [Cell(_percent(column[key])) for column in columns])
        for name, key in (*REDUCTIONS, *((RAYS_REDUCTION,) if rays else ()))
    ]
    published = [
        PrintedRow(name, "published", [Cell(_number(column[key])) for column in columns]) for name, key in PUBLISHED
    ]
    return methods + reductions + published


def uses_rays(table: pd.DataFrame) -> bool:
    """Whether viewing rays made any difference to the baseline: never with a ray share of 0, as published."""
    measured = table.dropna(subset=["baseline_mm", "baseline_rays_mm"])
    return bool((measured["baseline_mm"] != measured["baseline_rays_mm"]).any())


def _method_cell(
    column: dict[Hashable, Any], mean: str, deviation: str, methods: Sequence[tuple[str, str, str]]
) -> Cell:
    """One method's value in one column; it is the best if no other method's looks lower as printed."""
    printed = [round(column[key], 2) for _, key, _ in methods if pd.notna(column[key])]
    value, spread = column[mean], column.get(deviation)
    best = pd.notna(value) and round(value, 2) == min(printed)
    return Cell(_number(value), "" if pd.isna(spread) else f" ± {spread:.2f}", bool(best))


def as_markdown(table: pd.DataFrame, setting: str) -> str:
    """The table in Markdown."""
    lines = [f"# S2DHand, {SETTING_NAMES[setting]}", "", _explanation(table, lambda text: f"`{text}`"), ""]
    for headset, block in table.groupby("headset", sort=False):
        heads = [f"{_column(row.pair)} {METRIC_NAMES[str(row.metric)]}" for row in block.itertuples()]
        lines += [f"## {_headset(str(headset))}", "", "| mm | " + " | ".join(heads) + " |"]
        lines += ["|---|" + "---:|" * len(heads)]
        for row in printed_rows(block, rays=uses_rays(table)):
            shown = [f"**{cell.text}**{cell.spread}" if cell.best else cell.text + cell.spread for cell in row.cells]
            name = f"*{row.name}*" if row.kind == "published" else row.name
            lines.append(f"| {name} | " + " | ".join(shown) + " |")
        lines.append("")
    lines += [f"- {line}" for line in (*_rays(table), *_seeds(table), *_needs(table))]
    return "\n".join(lines).rstrip() + "\n"


def as_html(table: pd.DataFrame, setting: str) -> str:
    """The table as one HTML file that needs nothing else."""
    blocks = []
    for headset, block in table.groupby("headset", sort=False):
        pairs = list(dict.fromkeys(block["pair"]))
        top = "".join(f'<th colspan="2">{_column(pair)}</th>' for pair in pairs)
        second = "".join(f"<th>{METRIC_NAMES[metric]}</th>" for metric in block["metric"])
        body = "".join(
            f'<tr class="{row.kind}"><td>{escape(row.name)}</td>{"".join(map(html_cell, row.cells))}</tr>\n'
            for row in printed_rows(block, rays=uses_rays(table))
        )
        blocks.append(
            f"<table>\n<caption>{_headset(str(headset))}, mm</caption>\n<thead><tr><th></th>{top}</tr>\n"
            f"<tr><th></th>{second}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n"
        )
    remarks = "".join(f"<li>{escape(line)}</li>" for line in (*_rays(table), *_seeds(table), *_needs(table)))
    title = f"S2DHand, {SETTING_NAMES[setting]}"
    explanation = _explanation(table, lambda text: f"<code>{escape(text)}</code>")
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
        f"</head>\n<body>\n<h1>{title}</h1>\n<p>{explanation}</p>\n"
        + "".join(blocks)
        + (f"<ul>{remarks}</ul>\n" if remarks else "")
        + "</body>\n</html>\n"
    )


def html_cell(cell: Cell) -> str:
    """A cell of an HTML table."""
    value = f"<b>{cell.text}</b>" if cell.best else cell.text
    spread = f'<span class="spread">{cell.spread}</span>' if cell.spread else ""
    return f"<td>{value}{spread}</td>"


def _explanation(table: pd.DataFrame, code: Callable[[str], str]) -> str:
    seeds = int(table["seeds"].max())
    spread = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    return (
        f"Lower is better; the best of each column is bold. {spread.capitalize()}; Overall is the unweighted mean over "
        f"the pairs. Preset {code(str(table['preset'].iloc[0]))}, fidelity {code(str(table['fidelity'].iloc[0]))}. The "
        "paper's numbers belong to the paper's data; only on these can the two be compared."
    )


def _rays(table: pd.DataFrame) -> list[str]:
    """What the baseline with viewing rays is, where the table shows it."""
    meaning = (
        "Baseline, R with viewing rays: the source network's poses, merged by the rotation that S2DHand starts from; "
        "Mono-M does not depend on it. What it gains in Dual-M is the rotation's share of S2DHand's gain; what S2DHand "
        "gains beyond it is adaptation's."
    )
    return [meaning] if uses_rays(table) else []


def _seeds(table: pd.DataFrame) -> list[str]:
    """The overall of every seed, one line per headset and metric; none for a single seed."""
    rows = table[(table["pair"] == "overall") & (table["seeds"] > 1)]
    return [
        f"{row.headset}, overall {METRIC_NAMES[str(row.metric)]} per seed (mm): S2DHand {row.s2dhand_per_seed}; "
        f"synchronised R {row.s2dhand_sync_per_seed}"
        for row in rows.itertuples()
    ]


def _needs(table: pd.DataFrame) -> list[str]:
    """Every distinct reason for an empty cell, with the rows that it concerns."""
    rows = table[table["needs"] != ""]
    return [
        f"{headset}, {', '.join(dict.fromkeys(group['pair']))}: {need}"
        for (headset, need), group in rows.groupby(["headset", "needs"], sort=False)
    ]


def _column(pair: object) -> str:
    return "Overall" if pair == "overall" else f"Cam {str(pair).replace('-', ',')}"


def _headset(name: str) -> str:
    return f"Headset {name.removeprefix('headset')}"


def _number(value: float) -> str:
    return ABSENT if pd.isna(value) else f"{value:.2f}"


def _percent(value: float) -> str:
    return ABSENT if pd.isna(value) else f"{value:.1f} %"
