"""The table of adaptation methods: one CSV row per method, budget and headset, and the same as the paper prints it.

Printed, methods go down and headsets across.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from handloom.datasets.assembly_hands import headset_name
from handloom.evaluation.headset_scores import STANDARD
from handloom.evaluation.s2d_table import OVERALL, headsets_and_pairs, paper_values
from handloom.evaluation.table import Block, Cell, Column, ColumnHead, Row, Table, published
from handloom.runtime.config.methods import METHODS, MethodsSettings
from handloom.runtime.files import read_table

METRICS = (
    Column("mono_m_mm", "Mono-M", "mm", "low"),
    Column("dual_m_mm", "Dual-M", "mm", "low"),
    Column("dual_m_own_r_mm", "Dual-M, own R", "mm"),
)
COMPARED = tuple(metric for metric in METRICS if metric.best)
"""Those with a spread over seeds, a published value, and a best in bold."""
COSTS = (Column("updates", "updates", digits=0), Column("seconds", "seconds", digits=0))
LONG = "long"
_KEYS = [metric.key for metric in METRICS]


def write_methods_table(
    scores: Sequence[Path],
    csv: Path,
    markdown: Path,
    html: Path,
    *,
    methods: MethodsSettings,
    fidelity: str,
    preset: str,
) -> None:
    """Stage: gather the headsets' `method_scores` into the table; raises InputError for files that hold none."""
    columns = ("headset", "pair", "method", "budget", "seed", *_KEYS, *(cost.key for cost in COSTS))
    frame = pd.concat([read_table(path, columns) for path in scores], ignore_index=True)
    methods_table(frame, methods, fidelity, preset).write(csv, markdown, html)


def methods_table(scores: pd.DataFrame, settings: MethodsSettings, fidelity: str, preset: str) -> Table:
    """One row per method, budget and headset.

    Each seed's value is the unweighted mean over the pairs; `..._std_mm` is over seeds, empty for one. `updates` and
    `seconds` are means per adaptation. A method or headset that the run left out has no numbers, and says so in `note`.
    """
    paper = paper_means()
    headsets, pairs = headsets_and_pairs(scores, paper_values("cross"))
    rows = []
    for name, (title, source_free, labels, note) in _methods(settings, fidelity).items():
        lacking = "add it to methods.names" if name in METHODS and name not in settings.names else ""
        lacking = "set sources.cross.plus, for DetNet and fidelity fixed" if name == "s2dhand_plus" else lacking
        for budget in (STANDARD, LONG) if name in settings.long_names else (STANDARD,):
            for headset in headsets:
                of = scores[(scores["method"] == name) & (scores["budget"] == budget) & (scores["headset"] == headset)]
                published = paper.get((headset, name), {})
                need = lacking or f"add {headset} to headsets"
                rows.append(
                    {
                        "method": title,
                        "source_free": "yes" if source_free else "no",
                        "labels": labels,
                        "headset": headset,
                        "budget": budget,
                        **_numbers(of),
                        **{f"paper_{metric.key}": published.get(metric.key, np.nan) for metric in COMPARED},
                        "pairs": " ".join(pair for pair in pairs if pair in set(of["pair"])),
                        "fidelity": fidelity,
                        "preset": preset,
                        "note": f"{note}{_without_labels(of)}" if len(of) else f"{note}; not run: {need}",
                    }
                )
    table = pd.DataFrame(rows)
    types = {str(column): float for column in table if str(column).endswith("_mm")}
    frame = table.astype(types).round(4).astype({"seeds": "Int64"})
    notes = dict.fromkeys(f"{row['method']}: {row['note']}" for row in frame.to_dict("records"))
    return Table("Adaptation methods, cross-dataset", frame, [_block(frame)], _explanation(frame), list(notes))


def _methods(settings: MethodsSettings, fidelity: str) -> dict[str, tuple[str, bool, str, str]]:
    """Title, whether source-free, whose labels it uses, and a note: the source network, compared methods, S2DHand."""
    own = "its adapted R" if fidelity == "fixed" else "R(0)"
    compared = {}
    for name, row in METHODS.items():
        labels = "target" if row.with_labels else "source" if row.source == "labels" else "none"
        compared[name] = row.title, row.source == "none", labels, row.note(settings.of(name))
    return {
        "source_only": ("Source-only", True, "none", "R(0) as published"),
        "source_only_rays": ("Source-only, R(0) with viewing rays", True, "none", "R(0) as for all below"),
        "source_only_turned": ("Source-only, viewing rays", True, "none", "poses turned by their viewing rays, too"),
        **compared,
        "s2dhand": ("S2DHand", True, "none", f"views merged by {own}"),
        "s2dhand_plus": ("S2DHand+", True, "none", "poses turned by their viewing rays; views merged by its own R"),
    }


def _without_labels(scores: pd.DataFrame) -> str:
    """Why a method's scores are empty, to be put behind its note."""
    without = scores[scores["mono_m_mm"].isna()]
    return f"; no scores: {without['unlabelled'].iloc[0]}" if len(without) else ""


def paper_means() -> dict[tuple[str, str], dict[str, float]]:
    """The paper's means over six pairs, cross-dataset, by headset and method.

    Source-only and S2DHand are the overall rows of the paper's main table; RegDA's come from a reader's note. Of the
    other methods no number is known here.
    """
    found: dict[tuple[str, str], dict[str, float]] = {}
    main = paper_values("cross")
    for row in main[main["pair"] == OVERALL].to_dict("records"):
        for name, column in (("source_only", "baseline_mm"), ("s2dhand", "s2dhand_mm")):
            found.setdefault((row["headset"], name), {})[f"{row['metric']}_mm"] = row[column]
    for row in published("methods").to_dict("records"):
        found[row["headset"], row["method"]] = {str(name): row[name] for name in row if str(name).endswith("_mm")}
    return found


def _numbers(scores: pd.DataFrame) -> dict[str, object]:
    """Means over pairs, then over seeds, of one method's scores."""
    by_seed = scores.groupby(scores["seed"].fillna(-1))[_KEYS].mean()
    means, deviations = by_seed.mean(), by_seed.std(ddof=1)
    numbers: dict[str, object] = {cost.key: round(float(scores[cost.key].mean()), 1) for cost in COSTS}
    for metric in METRICS:
        numbers[metric.key] = float(means[metric.key])
        if metric in COMPARED:
            numbers[_spread(metric)] = float(deviations[metric.key])
    return {**numbers, "seeds": int(scores["seed"].notna().any() and len(by_seed))}


def _spread(metric: Column) -> str:
    return f"{metric.key.removesuffix('_mm')}_std_mm"


def _block(frame: pd.DataFrame) -> Block:
    headsets = list(dict.fromkeys(frame["headset"]))
    shown = [*METRICS, *(Column(f"paper_{metric.key}", f"paper {metric.name}") for metric in COMPARED)]
    heads = [ColumnHead(name, text=True) for name in ("method", "source-free", "labels", "budget")]
    heads += [ColumnHead(cost.name) for cost in COSTS]
    heads += [ColumnHead(column.name, headset_name(headset)) for headset in headsets for column in shown]
    rivals = frame[frame["labels"] != "target"]  # who adapts with the target's labels is no rival of the others
    rows = []
    for _, group in frame.groupby(["method", "budget"], sort=False):
        first = group.iloc[0]
        cells = [Cell(str(first[name])) for name in ("method", "source_free", "labels", "budget")]
        cells += [cost.cell(group[cost.key].mean()) for cost in COSTS]
        for row in group.to_dict("records"):
            others = rivals[(rivals["headset"] == row["headset"]) & (row["labels"] != "target")]
            cells += [column.cell(row[column.key], row.get(_spread(column)), others[column.key]) for column in shown]
        rows.append(Row(cells))
    return Block(heads, rows)


def _explanation(frame: pd.DataFrame) -> str:
    pairs = sorted({pair for listed in frame["pairs"] for pair in str(listed).split()})
    seeds = int(frame["seeds"].max())
    spread = f"± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    return (
        "Millimetres, lower is better; the best of each column without target labels is bold. Mean over the camera "
        f"pairs {', '.join(pairs)}, {spread}. All methods start from the same network and see the same images in the "
        "same order; the last update is scored, whatever its score. Dual-M merges the views by R(0), that of S2DHand "
        "by its own; Dual-M, own R, by the rotation that the adapted network's poses show. Seconds are wall time per "
        f"adaptation. Preset {frame['preset'].iloc[0]}, fidelity {frame['fidelity'].iloc[0]}. The paper's numbers are "
        "means over six pairs of its own data."
    )
