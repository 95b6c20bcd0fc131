"""The papers' tables of S2DHand: one CSV row per headset, pair and metric, and the same as the paper prints it.

Printed, each headset is a block with cameras across, methods down.
"""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from handloom.datasets.assembly_hands import headset_name
from handloom.evaluation.headset_scores import SOURCE, SOURCE_RAYS, SOURCE_TURNED
from handloom.evaluation.table import Block, Cell, Column, ColumnHead, Row, Table, needs, number, published
from handloom.hand.proportions import NOMINAL_BONE_M
from handloom.runtime.config.sources import SETTING_NAMES
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_table

METRICS = (Column("mono_m", "Mono-M", "mm", "low"), Column("dual_m", "Dual-M", "mm", "low"))
APART = Column("views_apart", "Views apart", "mm")
"""Shown where there are no labels."""
_METRIC_OF = {metric.key: metric for metric in (*METRICS, APART)}
OVERALL = "overall"
_METHODS = (
    ("Baseline", "baseline_mm", ""),  # one network, so no spread over seeds
    ("Baseline, viewing rays", "baseline_turned_mm", ""),
    ("S2DHand", "s2dhand_mm", "s2dhand_std_mm"),
    ("S2DHand+", "s2dhand_plus_mm", "s2dhand_plus_std_mm"),
)
_REDUCTIONS = (
    ("S2DHand reduces by", "reduction_pct"),
    ("S2DHand+ reduces by", "s2dhand_plus_reduction_pct"),
    ("of the baseline with viewing rays, by", "s2dhand_plus_of_turned_pct"),
)
_PUBLISHED = (("paper: Baseline", "paper_baseline_mm"), ("paper: S2DHand", "paper_s2dhand_mm"))


def write_s2d_table(
    scores: Sequence[Path], csv: Path, markdown: Path, html: Path, *, setting: str, fidelity: str, preset: str
) -> None:
    """Stage: gather the scores of the headsets of one setting into its table, as CSV, Markdown and HTML.

    Raises InputError for scores of another setting.
    """
    frames = [_read_scores(path, setting) for path in scores]
    s2d_table(pd.concat(frames, ignore_index=True), setting, fidelity, preset).write(csv, markdown, html)


def paper_values(setting: str) -> pd.DataFrame:
    """The published numbers of one setting: headset, pair, metric, baseline_mm, s2dhand_mm (its main tables)."""
    table = published("s2d")
    return table[table["setting"] == setting].drop(columns="setting")


def headsets_and_pairs(scores: pd.DataFrame, paper: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The paper's headsets and pairs of cameras, then those that only the scores have."""
    every = pd.concat([paper[paper["pair"] != OVERALL], scores])
    return list(dict.fromkeys(every["headset"])), list(dict.fromkeys(every["pair"]))


def s2d_table(scores: pd.DataFrame, setting: str, fidelity: str, preset: str) -> Table:
    """One row per headset x pair x metric, then `overall`: the unweighted mean over the pairs.

    Standard deviations are over seeds, of the overall for the overall; empty with a single seed. `..._per_seed` lists
    every seed's value in mm. `samples` counts pairs of hands. Rows that the run did not cover, or that have no labels,
    stay empty and say in `needs` what would fill them; a headset of the latter has rows of how far its views are apart.
    """
    paper = paper_values(setting)
    headsets, pairs = headsets_and_pairs(scores, paper)
    paper_of = {(row["headset"], row["pair"], row["metric"]): row for row in paper.to_dict("records")}
    rows = []
    for headset in headsets:
        of_headset = scores[scores["headset"] == headset]
        present = [name for name in pairs if name in set(of_headset["pair"])]
        for pair in (*pairs, OVERALL):
            chosen = present if pair == OVERALL else [name for name in present if name == pair]
            unlabelled = _unlabelled(of_headset[of_headset["pair"].isin(chosen)])
            for metric in (*METRICS, APART) if _unlabelled(of_headset) else METRICS:
                cells = _cells(of_headset, chosen, metric, paper_of.get((headset, pair, metric.key), {}))
                need = _needs(headset, pair, pairs, present, cells)
                if unlabelled and metric is not APART and present:
                    need = f"labels: {unlabelled}"
                named = {"headset": headset, "pair": pair, "metric": metric.key}
                rows.append({**named, **cells, "needs": need, "fidelity": fidelity, "preset": preset})
    table = pd.DataFrame(rows)
    types = {str(name): float for name in table if str(name).endswith(("_mm", "_pct"))}
    frame = table.astype(types).round(4).astype({"samples": "Int64", "seeds": "Int64"})
    rays = _uses_rays(frame)
    return Table(
        title=f"S2DHand, {SETTING_NAMES[setting]}",
        frame=frame,
        blocks=[
            _block(str(headset), _METRIC_OF[str(metric)], block)
            for (headset, metric), block in frame.groupby(["headset", "metric"], sort=False)
        ],
        explanation=_explanation(frame),
        notes=[
            *([_TURNED_MEANING] if _optional(frame) else []),
            *([_rotations_share(frame)] if rays else []),
            *([_APART_MEANING] if APART.key in set(frame["metric"]) else []),
            *_seeds(frame),
            *needs(frame, "headset", "pair"),
        ],
    )


def _read_scores(path: Path, setting: str) -> pd.DataFrame:
    metrics = [f"{metric.key}_mm" for metric in METRICS]
    columns = ["setting", "headset", "pair", "variant", "seed", "samples", "unlabelled", f"{APART.key}_mm", *metrics]
    frame = read_table(path, columns)
    if set(frame["setting"]) != {setting}:
        raise InputError(
            f"{path}: holds setting {sorted(set(frame['setting']))}, but scores of setting {setting} were expected; "
            "make them again"
        )
    return frame


def _unlabelled(scores: pd.DataFrame) -> str:
    """Why some scores are empty: which sequences have no labels; nothing where all are there."""
    without = scores[scores["mono_m_mm"].isna()]
    return "; ".join(dict.fromkeys(without["unlabelled"].fillna("no joint is valid"))) if len(without) else ""


def _cells(
    scores: pd.DataFrame, pairs: Sequence[str], metric: Column, paper: Mapping[Hashable, Any]
) -> dict[str, object]:
    """The measured and published cells of one row: a headset's scores of some pairs."""
    baseline, with_rays, turned, adapted, plus = (
        _by_seed(scores, variant, pairs, f"{metric.key}_mm")
        for variant in (SOURCE, SOURCE_RAYS, SOURCE_TURNED, "s2dhand", "s2dhand_plus")
    )
    paper_baseline, paper_adapted = (paper.get(name, np.nan) for name in ("baseline_mm", "s2dhand_mm"))
    samples = scores.loc[(scores["variant"] == SOURCE) & scores["pair"].isin(pairs), "samples"]
    return {
        "baseline_mm": baseline.mean(),
        "s2dhand_mm": adapted.mean(),
        "s2dhand_std_mm": adapted.std(ddof=1),
        "s2dhand_plus_mm": plus.mean(),
        "s2dhand_plus_std_mm": plus.std(ddof=1),
        "reduction_pct": _reduction_pct(baseline.mean(), adapted.mean()),
        "s2dhand_plus_reduction_pct": _reduction_pct(baseline.mean(), plus.mean()),
        "seeds": len(adapted),
        "paper_baseline_mm": paper_baseline,
        "paper_s2dhand_mm": paper_adapted,
        "paper_reduction_pct": _reduction_pct(paper_baseline, paper_adapted),
        "baseline_rays_mm": with_rays.mean(),
        "baseline_rays_reduction_pct": _reduction_pct(baseline.mean(), with_rays.mean()),
        "s2dhand_of_rays_pct": _reduction_pct(with_rays.mean(), adapted.mean()),
        "s2dhand_plus_of_rays_pct": _reduction_pct(with_rays.mean(), plus.mean()),
        "baseline_turned_mm": turned.mean(),
        "baseline_turned_reduction_pct": _reduction_pct(baseline.mean(), turned.mean()),
        "s2dhand_plus_of_turned_pct": _reduction_pct(turned.mean(), plus.mean()),
        "samples": int(samples.sum()) if len(samples) else None,
        "s2dhand_per_seed": _listed(adapted),
        "s2dhand_plus_per_seed": _listed(plus),
    }


def _by_seed(scores: pd.DataFrame, variant: str, pairs: Sequence[str], column: str) -> "pd.Series[float]":
    """The unweighted mean over the pairs, for every seed that has all of them; the index is the seed."""
    rows = scores[(scores["variant"] == variant) & scores["pair"].isin(pairs)]
    of_seed = rows.groupby(rows["seed"].fillna(-1))[column]
    return of_seed.mean()[of_seed.count() == len(pairs)].astype(float)


def _listed(by_seed: "pd.Series[float]") -> str:
    """Every seed with its value in mm, as `1: 33.8512, 2: 33.8723`."""
    return ", ".join(f"{seed:g}: {value:.4f}" for seed, value in by_seed.items())


def _reduction_pct(before: float, after: float) -> float:
    return 100 * (1 - after / before)


def _needs(headset: str, pair: str, pairs: Sequence[str], present: Sequence[str], cells: Mapping[str, object]) -> str:
    """What would fill the empty cells of a row, or make its overall the paper's; empty when nothing is missing."""
    if not present:
        return f"add {headset} to headsets"
    if pair != OVERALL and pair not in present:
        return f"add {pair} to pairs"
    absent = ", ".join(name for name in pairs if name not in present)
    partial = f"add {absent} to pairs: mean over {len(present)} of {len(pairs)} pairs"
    found = [partial] if pair == OVERALL and absent else []
    found += [] if cells["s2dhand_per_seed"] else ["adapt with variant s2dhand"]
    return "; ".join(found)  # S2DHand+ is none of the paper's rows, and a configuration may leave it out


def _block(headset: str, metric: Column, frame: pd.DataFrame) -> Block:
    """One metric of a headset, pairs across; rows that nothing was measured for are left out."""
    columns = frame.to_dict("records")
    shown = ["baseline_mm", "s2dhand_mm", *_optional(frame)]
    methods = [method for method in _METHODS if method[1] in shown]
    rows = [
        Row([Cell(name), *(metric.cell(row[key], row.get(std), [row[k] for _, k, _ in methods]) for row in columns)])
        for name, key, std in methods
    ]
    rows += [
        Row([Cell(name), *(Cell(number(row[key], 1, " %")) for row in columns)], "reduction")
        for name, key in _REDUCTIONS
        if key == "reduction_pct" or frame[key].notna().any()
    ]
    rows += [Row([Cell(name), *(metric.cell(row[key]) for row in columns)], "published") for name, key in _PUBLISHED]
    reduced = [Cell(number(row["paper_reduction_pct"], 1, " %")) for row in columns]
    rows += [Row([Cell("paper: reduces by"), *reduced], "published")]
    heads = ["Overall" if row["pair"] == OVERALL else f"Cam {row['pair'].replace('-', ',')}" for row in columns]
    title = f"{headset_name(headset)}, {metric.name}"
    return Block([ColumnHead(metric.unit, text=True), *map(ColumnHead, heads)], rows, title)


def _optional(frame: pd.DataFrame) -> list[str]:
    """The rows of S2DHand+, which a configuration may leave out."""
    return ["baseline_turned_mm", "s2dhand_plus_mm"] if frame["s2dhand_plus_mm"].notna().any() else []


def _uses_rays(frame: pd.DataFrame) -> bool:
    """Whether viewing rays made any difference to the baseline: never with a ray share of 0, as published."""
    measured = frame.dropna(subset=["baseline_mm", "baseline_rays_mm"])
    return bool((measured["baseline_mm"] != measured["baseline_rays_mm"]).any())


def _rotations_share(frame: pd.DataFrame) -> str:
    """What the first rotation alone does to the baseline's overall Dual-M, and what is left for both methods."""
    rows = frame[(frame["pair"] == OVERALL) & (frame["metric"] == "dual_m") & frame["baseline_rays_mm"].notna()]
    told = [
        f"{headset_name(row['headset'])} {number(row['baseline_mm'], 2)} to {number(row['baseline_rays_mm'], 2)} mm, "
        f"from which S2DHand reduces by {number(row['s2dhand_of_rays_pct'], 1, ' %')}, "
        f"S2DHand+ by {number(row['s2dhand_plus_of_rays_pct'], 1, ' %')}"
        for row in rows.to_dict("records")
    ]
    return f"The rotation's share, overall Dual-M of the baseline merged by R with viewing rays: {'; '.join(told)}."


_TURNED_MEANING = (
    "Baseline, viewing rays: the source network's poses turned by a share of their crops' viewing rays, and merged by "
    "the rotation that S2DHand starts from: S2DHand+ reads its poses out in this way, so what this row gains is not "
    "adaptation's. S2DHand reads them out as published."
)


_APART_MEANING = (
    "Views apart: the mean distance of the two views' joints after the rotation between the cameras, with bone 0-9 of "
    f"{1000 * NOMINAL_BONE_M:g} mm in both. It needs no labels and is no error: views can agree on a wrong pose."
)


def _explanation(frame: pd.DataFrame) -> str:
    seeds = int(frame["seeds"].max())
    spread = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    return (
        f"Lower is better; the best of each column is bold. {spread.capitalize()}; Overall is the unweighted mean over "
        f"the pairs. Preset `{frame['preset'].iloc[0]}`, fidelity `{frame['fidelity'].iloc[0]}`. The paper's numbers "
        "belong to the paper's data; only on these can the two be compared."
    )


def _seeds(frame: pd.DataFrame) -> list[str]:
    """The overall of every seed, one line per headset and metric; none for a single seed."""
    rows = frame[(frame["pair"] == OVERALL) & (frame["seeds"] > 1)]
    return [
        f"{row['headset']}, overall {_METRIC_OF[row['metric']].name} per seed (mm): S2DHand {row['s2dhand_per_seed']}"
        + (f"; S2DHand+ {row['s2dhand_plus_per_seed']}" if row["s2dhand_plus_per_seed"] else "")
        for row in rows.to_dict("records")
    ]
