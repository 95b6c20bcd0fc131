"""The papers' tables of S2DHand: one CSV row per headset, pair and metric, and the same as the paper prints it."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from handloom.evaluation.pair_predictions import SOURCE, SOURCE_RAYS
from handloom.evaluation.printed_tables import as_html, as_markdown
from handloom.runtime.errors import InputError
from handloom.runtime.files import write_table, write_text

HEADSETS = ("headset1", "headset2")
PAIRS = ("1-2", "1-3", "1-4", "2-3", "2-4", "3-4")
OVERALL = "overall"
METRICS = ("mono_m", "dual_m")
PAPER = "paper_s2d.csv"


@dataclass(frozen=True)
class RunNotes:
    """What a table says about the run it comes from."""

    setting: str  # in or cross
    fidelity: str
    preset: str


def paper_values(setting: str) -> pd.DataFrame:
    """The published numbers of one setting: headset, pair, metric, baseline_mm, s2dhand_mm (facts/s2dhand.md 4.5)."""
    with resources.files("handloom.data").joinpath(PAPER).open(encoding="utf-8") as file:
        table = pd.read_csv(file)
    return table[table["setting"] == setting].drop(columns="setting")


def write_s2d_tables(
    scores: Sequence[Path], csv: Path, markdown: Path, html: Path, *, setting: str, fidelity: str, preset: str
) -> None:
    """Stage: gather the scores of the headsets of one setting into its table, as CSV, Markdown and HTML.

    Raises InputError for scores of another setting.
    """
    frames = [_read_scores(path, setting) for path in scores]
    notes = RunNotes(setting, fidelity, preset)
    table = s2d_table(pd.concat(frames, ignore_index=True), notes)
    write_table(csv, table)
    write_text(markdown, as_markdown(table, setting))
    write_text(html, as_html(table, setting))


def s2d_table(scores: pd.DataFrame, notes: RunNotes) -> pd.DataFrame:
    """One row per headset x pair x metric, then `overall`: the unweighted mean over the pairs.

    Standard deviations are over seeds, of the overall for the overall; empty with a single seed. `..._per_seed` lists
    every seed's value in mm. `samples` counts pairs of hands. Rows that the run did not cover stay empty and say in
    `needs` what would fill them.
    """
    paper = {
        (row["headset"], row["pair"], row["metric"]): row for row in paper_values(notes.setting).to_dict("records")
    }
    rows = [
        {
            "headset": headset,
            "pair": pair,
            "metric": metric,
            **_cells(scores[scores["headset"] == headset], headset, pair, metric, paper[headset, pair, metric]),
            "fidelity": notes.fidelity,
            "preset": notes.preset,
        }
        for headset in HEADSETS
        for pair in (*PAIRS, OVERALL)
        for metric in METRICS
    ]
    table = pd.DataFrame(rows)
    types = {str(name): float for name in table if str(name).endswith(("_mm", "_pct"))}
    return table.astype(types).round(4).astype({"samples": "Int64", "seeds": "Int64"})


def _read_scores(path: Path, setting: str) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path)
    except (FileNotFoundError, pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise InputError(f"{path}: cannot be read as scores ({error}); run the rule that makes it again") from error
    missing = {"setting", "headset", "pair", "variant", "seed", "samples", "mono_m_mm", "dual_m_mm"} - set(frame)
    if missing or set(frame["setting"]) != {setting}:
        found = f"lacks {sorted(missing)}" if missing else f"holds setting {sorted(set(frame['setting']))}"
        raise InputError(f"{path}: {found}, but scores of setting {setting} were expected; make them again")
    return frame


def _cells(
    scores: pd.DataFrame, headset: str, pair: str, metric: str, published: Mapping[Hashable, Any]
) -> dict[str, object]:
    """The measured and published cells of one row, from the scores of its headset."""
    present = [name for name in PAIRS if name in set(scores["pair"])]
    absent = [name for name in PAIRS if name not in present]
    chosen = present if pair == OVERALL else [name for name in present if name == pair]
    baseline = _by_seed(scores, SOURCE, chosen, metric)
    adapted = _by_seed(scores, "s2dhand", chosen, metric)
    synchronised = _by_seed(scores, "s2dhand_sync", chosen, metric)
    with_rays = _by_seed(scores, SOURCE_RAYS, chosen, metric)
    return {
        "baseline_mm": _mean(baseline),
        "s2dhand_mm": _mean(adapted),
        "s2dhand_std_mm": _deviation(adapted),
        "s2dhand_sync_mm": _mean(synchronised),
        "s2dhand_sync_std_mm": _deviation(synchronised),
        "reduction_pct": _reduction_pct(_mean(baseline), _mean(adapted)),
        "seeds": len(adapted),
        "paper_baseline_mm": published["baseline_mm"],
        "paper_s2dhand_mm": published["s2dhand_mm"],
        "baseline_rays_mm": _mean(with_rays),
        "baseline_rays_reduction_pct": _reduction_pct(_mean(baseline), _mean(with_rays)),
        "s2dhand_sync_reduction_pct": _reduction_pct(_mean(baseline), _mean(synchronised)),
        "paper_reduction_pct": _reduction_pct(published["baseline_mm"], published["s2dhand_mm"]),
        "samples": _samples(scores, chosen),
        "s2dhand_per_seed": _listed(adapted),
        "s2dhand_sync_per_seed": _listed(synchronised),
        "needs": _needs(headset, pair, present, absent, adapted, synchronised),
    }


def _by_seed(scores: pd.DataFrame, variant: str, pairs: Sequence[str], metric: str) -> "pd.Series[float]":
    """The unweighted mean over the pairs, for every seed that has all of them; the index is the seed."""
    rows = scores[(scores["variant"] == variant) & scores["pair"].isin(pairs)]
    of_seed = rows.groupby(rows["seed"].fillna(-1))[f"{metric}_mm"]
    return of_seed.mean()[of_seed.count() == len(pairs)].astype(float)


def _listed(by_seed: "pd.Series[float]") -> str:
    """Every seed with its value in mm, as `1: 33.8512, 2: 33.8723`."""
    return ", ".join(f"{seed:g}: {value:.4f}" for seed, value in by_seed.items())


def _mean(by_seed: "pd.Series[float]") -> float:
    return float(by_seed.mean()) if len(by_seed) else np.nan


def _deviation(by_seed: "pd.Series[float]") -> float:
    """Sample standard deviation over the seeds; NaN for fewer than two."""
    return float(by_seed.std(ddof=1)) if len(by_seed) > 1 else np.nan


def _reduction_pct(before: float, after: float) -> float:
    return 100 * (1 - after / before)


def _samples(scores: pd.DataFrame, pairs: Sequence[str]) -> int | None:
    counted = scores[(scores["variant"] == SOURCE) & scores["pair"].isin(pairs)]["samples"]
    return int(counted.sum()) if len(counted) else None


def _needs(
    headset: str,
    pair: str,
    present: Sequence[str],
    absent: Sequence[str],
    adapted: "pd.Series[float]",
    synchronised: "pd.Series[float]",
) -> str:
    """What would fill the empty cells of a row, or make its overall the paper's; empty when nothing is missing."""
    if not present:
        return f"add {headset} to headsets"
    if pair in absent:
        return f"add {pair} to pairs"
    needs = (
        [f"add {', '.join(absent)} to pairs: mean over {len(present)} of 6 pairs"] if pair == OVERALL and absent else []
    )
    for name, values in (("s2dhand", adapted), ("s2dhand_sync", synchronised)):
        if not len(values):
            needs.append(f"adapt with variant {name}")
    return "; ".join(needs)
