"""The papers' tables of S2DHand: one CSV row per headset, pair and metric, and the same as the paper prints it.

Printed, each headset is a block with cameras across, methods down.
"""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from handloom.datasets.assembly_hands import headset_name
from handloom.evaluation.headset_scores import SOURCE, SOURCE_RAYS
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
    ("Baseline, R with viewing rays", "baseline_rays_mm", ""),
    ("S2DHand", "s2dhand_mm", "s2dhand_std_mm"),
    ("S2DHand, synchronised R", "s2dhand_sync_mm", "s2dhand_sync_std_mm"),
)
_REDUCTIONS = (
    ("S2DHand reduces by", "reduction_pct"),
    ("synchronised R by", "s2dhand_sync_reduction_pct"),
    ("R with viewing rays alone by", "baseline_rays_reduction_pct"),
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
        blocks=[_block(str(headset), block, rays) for headset, block in frame.groupby("headset", sort=False)],
        explanation=_explanation(frame),
        notes=[
            *([_RAYS_MEANING] if rays else []),
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
    baseline, with_rays, adapted, synchronised = (
        _by_seed(scores, variant, pairs, f"{metric.key}_mm")
        for variant in (SOURCE, SOURCE_RAYS, "s2dhand", "s2dhand_sync")
    )
    paper_baseline, paper_adapted = (paper.get(name, np.nan) for name in ("baseline_mm", "s2dhand_mm"))
    samples = scores.loc[(scores["variant"] == SOURCE) & scores["pair"].isin(pairs), "samples"]
    return {
        "baseline_mm": baseline.mean(),
        "s2dhand_mm": adapted.mean(),
        "s2dhand_std_mm": adapted.std(ddof=1),
        "s2dhand_sync_mm": synchronised.mean(),
        "s2dhand_sync_std_mm": synchronised.std(ddof=1),
        "reduction_pct": _reduction_pct(baseline.mean(), adapted.mean()),
        "seeds": len(adapted),
        "paper_baseline_mm": paper_baseline,
        "paper_s2dhand_mm": paper_adapted,
        "baseline_rays_mm": with_rays.mean(),
        "baseline_rays_reduction_pct": _reduction_pct(baseline.mean(), with_rays.mean()),
        "s2dhand_sync_reduction_pct": _reduction_pct(baseline.mean(), synchronised.mean()),
        "paper_reduction_pct": _reduction_pct(paper_baseline, paper_adapted),
        "samples": int(samples.sum()) if len(samples) else None,
        "s2dhand_per_seed": _listed(adapted),
        "s2dhand_sync_per_seed": _listed(synchronised),
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
    found += [f"adapt with variant {name}" for name in ("s2dhand", "s2dhand_sync") if not cells[f"{name}_per_seed"]]
    return "; ".join(found)


def _block(headset: str, frame: pd.DataFrame, rays: bool) -> Block:
    """A headset; without `rays`, the rows of the baseline with viewing rays are left out."""
    columns = [(_METRIC_OF[row["metric"]], row) for row in frame.to_dict("records")]
    methods = [method for method in _METHODS if rays or "rays" not in method[1]]
    reductions = [reduction for reduction in _REDUCTIONS if rays or "rays" not in reduction[1]]
    rows = [
        Row([Cell(name), *(m.cell(row[key], row.get(std), [row[k] for _, k, _ in methods]) for m, row in columns)])
        for name, key, std in methods
    ]
    rows += [
        Row([Cell(name), *(Cell(number(row[key], 1, " %")) for _, row in columns)], "reduction")
        for name, key in reductions
    ]
    rows += [Row([Cell(name), *(m.cell(row[key]) for m, row in columns)], "published") for name, key in _PUBLISHED]
    groups = ["Overall" if row["pair"] == OVERALL else f"Cam {row['pair'].replace('-', ',')}" for _, row in columns]
    heads = [ColumnHead(metric.name, group) for (metric, _), group in zip(columns, groups, strict=True)]
    return Block([ColumnHead("mm", text=True), *heads], rows, headset_name(headset))


def _uses_rays(frame: pd.DataFrame) -> bool:
    """Whether viewing rays made any difference to the baseline: never with a ray share of 0, as published."""
    measured = frame.dropna(subset=["baseline_mm", "baseline_rays_mm"])
    return bool((measured["baseline_mm"] != measured["baseline_rays_mm"]).any())


_RAYS_MEANING = (
    "Baseline, R with viewing rays: the source network's poses, merged by the rotation that S2DHand starts from; "
    "Mono-M does not depend on it. What it gains in Dual-M is the rotation's share of S2DHand's gain; what S2DHand "
    "gains beyond it is adaptation's."
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
        f"{row.headset}, overall {_METRIC_OF[str(row.metric)].name} per seed (mm): S2DHand {row.s2dhand_per_seed}; "
        f"synchronised R {row.s2dhand_sync_per_seed}"
        for row in rows.itertuples()
    ]
