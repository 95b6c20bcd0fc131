"""One table: columns with unit, best direction and digits, blocks of rows, notes; printed as CSV, Markdown and HTML."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Literal, NamedTuple

import jinja2
import pandas as pd

from handloom.runtime.files import write_table, write_text

ABSENT = "n/a"

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{{ table.title }}</title><style>
body { font-family: system-ui, sans-serif; margin: 2em; color: #222; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: 1.2em 0 .4em; }
caption span { color: #555; font-weight: normal; }
th, td { padding: .25em .6em; text-align: right; white-space: nowrap; vertical-align: top; }
th.text, td.text { text-align: left; white-space: normal; max-width: 30em; }
thead tr:last-child th { border-bottom: 1.5px solid #222; font-weight: normal; }
thead tr:first-child th { border-top: 1.5px solid #222; }
th[colspan] { text-align: center; }
tbody tr:last-child td { border-bottom: 1.5px solid #222; }
tr.published td { color: #777; }
tr.reduction td { color: #0a5a8a; }
.spread { color: #777; font-size: 85%; }
.good { color: #2a7a2a; } .fair { color: #9a6a00; font-weight: 600; } .poor { color: #b02020; font-weight: 600; }
</style></head>
<body>
<h1>{{ table.title }}</h1>
<p>{% for part in table.explanation.split('`') %}
{% if loop.index is even %}<code>{{ part }}</code>{% else %}{{ part }}{% endif %}
{% endfor %}</p>
{% for block in table.blocks %}
<table>
{% if block.caption %}
<caption>{{ block.caption }}{% if block.note %} <span>{{ block.note }}</span>{% endif %}</caption>
{% endif %}
<thead>
{% if block.groups %}
<tr>
{%- for name, width in block.groups %}<th colspan="{{ width }}">{{ name }}</th>{% endfor -%}
</tr>
{% endif %}
<tr>{% for head in block.heads %}<th{% if head.text %} class="text"{% endif %}>{{ head.name }}</th>{% endfor %}</tr>
</thead>
<tbody>
{% for row in block.rows %}
<tr class="{{ row.kind }}">
{%- for head, cell in zip(block.heads, row.cells) -%}
<td{% if head.text or cell.style %} class="{{ ['text' if head.text, cell.style]|select|join(' ') }}"{% endif %}>
{%- if cell.best %}<b>{{ cell.text }}</b>{% else %}{{ cell.text }}{% endif -%}
{% if cell.spread %}<span class="spread">{{ cell.spread }}</span>{% endif %}</td>
{%- endfor -%}
</tr>
{% endfor %}
</tbody>
</table>
{% endfor %}
{% if table.notes %}
<ul>{% for note in table.notes %}<li>{{ note }}</li>{% endfor %}</ul>
{% endif %}
</body>
</html>
"""


class Cell(NamedTuple):
    """A printed value, its spread over seeds, whether it is the best, and a class of the HTML's style."""

    text: str
    spread: str = ""
    best: bool = False
    style: str = ""


class Row(NamedTuple):
    """A line of a block; the kind is method, reduction or published."""

    cells: Sequence[Cell]
    kind: str = "method"


class ColumnHead(NamedTuple):
    """What stands above a column; heads of one group stand side by side below its name."""

    name: str
    group: str = ""
    text: bool = False


@dataclass(frozen=True)
class Column:
    """A quantity: its column in the CSV, its name and unit, whether low or high values are best, its digits."""

    key: str
    name: str
    unit: str = ""
    best: Literal["low", "high"] | None = None
    digits: int = 2

    def cell(self, value: float | None, spread: float | None = None, rivals: Iterable[float] = ()) -> Cell:
        """A value as printed; it is the best if none of its rivals looks better as printed, and there is another.

        The value is one of its rivals.
        """
        text = number(value, self.digits)
        printed = [float(number(rival, self.digits)) for rival in rivals if not pd.isna(rival)]
        best = len(printed) > 1 and self.best is not None and text != ABSENT
        if best:
            best = float(text) == (min if self.best == "low" else max)(printed)
        return Cell(text, "" if spread is None or pd.isna(spread) else f" ± {spread:.{self.digits}f}", best)


@dataclass(frozen=True)
class Block:
    """Rows below one row of heads, the first of which is the rows' name."""

    heads: Sequence[ColumnHead]
    rows: Sequence[Row]
    caption: str = ""
    note: str = ""

    @cached_property
    def groups(self) -> list[tuple[str, int]]:
        """Names and widths of the groups of heads; empty without any."""
        found = [(name, len(list(heads))) for name, heads in groupby(self.heads, lambda head: head.group)]
        return found if any(name for name, _ in found) else []


@dataclass(frozen=True)
class Table:
    """The numbers as the CSV holds them, and how they are printed; backticks in the explanation mark code."""

    title: str
    frame: pd.DataFrame
    blocks: Sequence[Block]
    explanation: str
    notes: Sequence[str] = ()

    def write(self, csv: Path, markdown: Path | None = None, html: Path | None = None) -> None:
        """Write the files."""
        write_table(csv, self.frame)
        if markdown is not None:
            write_text(markdown, self.markdown())
        if html is not None:
            write_text(html, self.html())

    def markdown(self) -> str:
        """The table in Markdown."""
        lines = [f"# {self.title}", "", self.explanation, ""]
        for block in self.blocks:
            lines += [f"## {block.caption}", ""] if block.caption else []
            lines += [block.note, ""] if block.note else []
            lines += [_line(f"{head.group} {head.name}".strip() for head in block.heads)]
            lines += ["|" + "".join("---|" if head.text else "---:|" for head in block.heads)]
            for row in block.rows:
                name, *values = (f"**{c.text}**{c.spread}" if c.best else c.text + c.spread for c in row.cells)
                lines.append(_line([f"*{name}*" if row.kind == "published" else name, *values]))
            lines.append("")
        lines += [f"- {note}" for note in self.notes]
        return "\n".join(lines).rstrip() + "\n"

    def html(self) -> str:
        """The table as one HTML file that needs nothing else."""
        environment = jinja2.Environment(autoescape=True, trim_blocks=True, keep_trailing_newline=True)
        return environment.from_string(_PAGE).render(table=self, zip=zip)


def number(value: float | None, digits: int, unit: str = "") -> str:
    """A number with so many digits; `n/a` for none."""
    return ABSENT if value is None or pd.isna(value) else f"{value:.{digits}f}{unit}"


def published(table: str) -> pd.DataFrame:
    """A paper's numbers as handloom ships them: `paper_hold.csv`, `paper_s2d.csv` or `paper_methods.csv`."""
    with resources.files("handloom.data").joinpath(f"paper_{table}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


def needs(frame: pd.DataFrame, of: str, listed: str) -> list[str]:
    """Every distinct reason (column `needs`) for an empty or partial cell, with the rows that it concerns."""
    rows = frame[frame["needs"] != ""]
    return [
        f"{name}, {', '.join(dict.fromkeys(group[listed]))}: {need}"
        for (name, need), group in rows.groupby([of, "needs"], sort=False)
    ]


def _line(cells: Iterable[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)
