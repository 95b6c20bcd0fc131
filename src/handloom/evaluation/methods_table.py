"""The table of adaptation methods: one CSV row per method, budget and headset, and the same as the paper prints it."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from handloom.evaluation.method_scores import STANDARD
from handloom.evaluation.printed_methods import as_html, as_markdown
from handloom.evaluation.tables import HEADSETS, OVERALL, PAIRS, paper_values
from handloom.runtime.config.methods import MethodsSettings
from handloom.runtime.files import read_table, write_table, write_text

PAPER = "paper_methods.csv"
LONG = "long"
METRICS = ("mono_m_mm", "dual_m_mm")
SCORES = ("headset", "pair", "method", "budget", "seed", "updates", "seconds", *METRICS, "dual_m_own_r_mm")
_PROPOSED = "attachment to DetNet proposed here, the paper's is unpublished"


class MethodFacts(NamedTuple):
    """What the table says about a method besides numbers."""

    name: str
    source_free: bool
    labels: str
    """Whose labels the adaptation uses."""
    note: str


def method_facts(settings: MethodsSettings, fidelity: str) -> dict[str, MethodFacts]:
    """Every method of the table, in its order."""
    dagen, regda, sfdahpe = settings.dagen, settings.regda, settings.sfdahpe
    discriminated = "mean feature" if settings.adda.features == "pooled" else "feature of each cell"
    embedded = "per joint" if dagen.form == "joint" else "of the whole hand"
    own = "its adapted R" if fidelity == "fixed" else "R(0)"
    return {
        "source_only": MethodFacts("Source-only", True, "none", "R(0) as published"),
        "source_only_rays": MethodFacts("Source-only, R(0) with viewing rays", True, "none", "R(0) as for all below"),
        "fine_tune": MethodFacts(
            "Fine-tune",
            True,
            "target",
            "batch norm statistics frozen; on the scored pairs: the paper's recipe is unknown",
        ),
        "fine_tune_bn": MethodFacts(
            "Fine-tune, batch norm trained",
            True,
            "target",
            "batch norm statistics trained; on the scored pairs: the paper's recipe is unknown",
        ),
        "adda": MethodFacts("ADDA", False, "none", f"{_PROPOSED}: discriminator on the trunk's {discriminated}"),
        "dagen": MethodFacts(
            "DAGEN",
            False,
            "source",
            f"{_PROPOSED}: embeddings {embedded}, {dagen.neighbours} neighbours of {dagen.bank} source samples",
        ),
        "regda": MethodFacts(
            "RegDA",
            False,
            "source",
            f"{_PROPOSED}: second heat-map head; ramp of lambda {regda.ramp_updates:g} updates, long budget "
            f"{regda.ramp_updates_long:g} (published 1000)",
        ),
        "sfdahpe": MethodFacts(
            "SFDAHPE",
            True,
            "none",
            f"repaired, the released code does not run; {_PROPOSED}: momentum {sfdahpe.momentum:g}, long budget "
            f"{sfdahpe.momentum_long:g} (published 0.999)",
        ),
        "s2dhand": MethodFacts("S2DHand", True, "none", f"views merged by {own}"),
    }


def write_methods_table(
    scores: Sequence[Path],
    csv: Path,
    markdown: Path,
    html: Path,
    *,
    settings: MethodsSettings,
    fidelity: str,
    preset: str,
) -> None:
    """Stage: gather the headsets' `method_scores` into the table; raises InputError for files that hold none."""
    frame = pd.concat([read_table(path, SCORES) for path in scores], ignore_index=True)
    table = methods_table(frame, settings, fidelity, preset)
    write_table(csv, table)
    write_text(markdown, as_markdown(table))
    write_text(html, as_html(table))


def methods_table(scores: pd.DataFrame, settings: MethodsSettings, fidelity: str, preset: str) -> pd.DataFrame:
    """One row per method, budget and headset.

    Each seed's value is the unweighted mean over the pairs; `..._std_mm` is over seeds, empty for one. `updates` and
    `seconds` are means per adaptation. A method or headset that the run left out has no numbers, and says so in `note`.
    """
    facts = method_facts(settings, fidelity)
    paper = paper_means()
    rows = []
    for name, fact in facts.items():
        for budget in (STANDARD, LONG) if name in settings.long_names else (STANDARD,):
            for headset in HEADSETS:
                of = scores[(scores["method"] == name) & (scores["budget"] == budget) & (scores["headset"] == headset)]
                published = paper.get((headset, name), {})
                left_out = name not in (*settings.names, "source_only", "source_only_rays", "s2dhand")
                lacking = "add it to methods.names" if left_out else f"add {headset} to headsets"
                pairs = [pair for pair in PAIRS if pair in set(of["pair"])]
                rows.append(
                    {
                        "method": fact.name,
                        "source_free": "yes" if fact.source_free else "no",
                        "labels": fact.labels,
                        "headset": headset,
                        "budget": budget,
                        **_numbers(of),
                        **{f"paper_{metric}": published.get(metric, np.nan) for metric in METRICS},
                        "pairs": " ".join(pairs),
                        "fidelity": fidelity,
                        "preset": preset,
                        "note": fact.note if len(of) else f"{fact.note}; not run: {lacking}",
                    }
                )
    table = pd.DataFrame(rows)
    types = {str(column): float for column in table if str(column).endswith("_mm")}
    return table.astype(types).round(4).astype({"seeds": "Int64"})


def paper_means() -> dict[tuple[str, str], dict[str, float]]:
    """The paper's means over six pairs, cross-dataset, by headset and method (facts/comparisons.md 1.1).

    Source-only and S2DHand are the overall rows of the paper's main table; RegDA's come from a reader's note. Of the
    other methods no number is known here.
    """
    found: dict[tuple[str, str], dict[str, float]] = {}
    main = paper_values("cross")
    for row in main[main["pair"] == OVERALL].to_dict("records"):
        for name, column in (("source_only", "baseline_mm"), ("s2dhand", "s2dhand_mm")):
            found.setdefault((row["headset"], name), {})[f"{row['metric']}_mm"] = row[column]
    with resources.files("handloom.data").joinpath(PAPER).open(encoding="utf-8") as file:
        for row in pd.read_csv(file).to_dict("records"):
            found[row["headset"], row["method"]] = {metric: row[metric] for metric in METRICS}
    return found


def _numbers(scores: pd.DataFrame) -> dict[str, object]:
    """Means over pairs, then over seeds, of one method's scores."""
    if scores.empty:
        nothing = dict.fromkeys(
            ["updates", "seconds", *(f"{m[:-3]}{end}" for m in METRICS for end in ("_mm", "_std_mm"))], np.nan
        )
        return {**nothing, "dual_m_own_r_mm": np.nan, "seeds": 0}
    by_seed = scores.groupby(scores["seed"].fillna(-1))[[*METRICS, "dual_m_own_r_mm"]].mean()
    mean, deviation = by_seed.mean(), by_seed.std(ddof=1)
    numbers: dict[str, object] = {
        "updates": round(float(scores["updates"].mean()), 1),
        "seconds": round(float(scores["seconds"].mean()), 1),
    }
    for metric in METRICS:
        numbers |= {metric: float(mean[metric]), f"{metric[:-3]}_std_mm": float(deviation[metric])}
    seeds = int(scores["seed"].notna().any() and len(by_seed))
    return {**numbers, "dual_m_own_r_mm": float(mean["dual_m_own_r_mm"]), "seeds": seeds}
