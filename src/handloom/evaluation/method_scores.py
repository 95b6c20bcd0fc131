"""Scores of the adaptation methods on one headset: Mono-M and Dual-M of every pair, method, budget and seed."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from handloom.datasets.views import ViewSamples, load_views
from handloom.evaluation.pair_predictions import (
    SOURCE,
    SOURCE_RAYS,
    PairPredictions,
    align,
    load_pair_predictions,
    pair_truth,
    source_pair_predictions,
    views_of,
)
from handloom.evaluation.pose_metrics import joint_errors, mean_over_instances, merge_views, mono_m
from handloom.runtime.artifacts import read_arrays
from handloom.runtime.config.datasets import Headset
from handloom.runtime.errors import InputError
from handloom.runtime.files import write_table

STANDARD = "standard"
METHOD_OF_VARIANT = {SOURCE: "source_only", SOURCE_RAYS: "source_only_rays", "s2dhand": "s2dhand"}


@dataclass(frozen=True)
class Adapted:
    """The predictions of one adapted network, and the benchmark file of the job that made them."""

    predictions: Path
    benchmark: Path


def score_methods(
    views: Sequence[Path],
    source_predictions: Path,
    rotations: Path,
    adapted: Sequence[Adapted],
    output: Path,
    *,
    headset: Headset,
    pairs: Sequence[str],
    root_joint: int,
    epochs: Mapping[str, int],
    adaptation_pairs: int,
    batch_size: int,
) -> None:
    """Stage: one row per network: headset, pair, method, budget, seed, updates, seconds and its scores.

    `epochs` are the passes over the adaptation pairs of each budget. `dual_m_mm` merges views by the rotation saved as
    the network's (R(0); S2DHand: the one it adapted), `dual_m_own_r_mm` by the one that its own poses show. `seconds`
    are the wall time of the job, empty where it has no benchmark file. Raises InputError as `score_headset` does.
    """
    samples = [load_views(path) for path in views]
    rows: list[dict[str, Any]] = []
    for variant in (SOURCE, SOURCE_RAYS):
        for pair in pairs:
            scored = source_pair_predictions(source_predictions, rotations, samples, pair, root_joint, variant)
            rows.append(_row(scored, None, samples, root_joint) | {"updates": 0, "seconds": 0.0})
    pairs_of = {row["pair"]: row["samples"] for row in rows}
    for network in adapted:
        scored = load_pair_predictions(network.predictions, root_joint)
        if pairs_of.get(scored.pair) != len(scored.rows):
            raise InputError(
                f"{network.predictions}: has {len(scored.rows)} pairs of cameras {scored.pair}, but the crops have "
                f"{pairs_of.get(scored.pair, 0)}; they were made again since, so adapt again"
            )
        row = _row(scored, own_rotation(network.predictions), samples, root_joint)
        batches = -(-min(adaptation_pairs, len(scored.rows)) // batch_size)
        rows.append(row | {"updates": batches * epochs[row["budget"]], "seconds": wall_seconds(network.benchmark)})
    table = pd.DataFrame({"headset": headset, **row} for row in rows)
    write_table(output, table.astype({"seed": "Int64", "seconds": float}))


def own_rotation(predictions: Path) -> Float[np.ndarray, "3 3"] | None:
    """The rotation that a network's own poses show, if its file has one."""
    arrays, _ = read_arrays(predictions, "pair_predictions")
    found = arrays.get("own_rotation_12")
    return None if found is None else found.astype(np.float64)


def wall_seconds(benchmark: Path) -> float:
    """Wall time of a job from its benchmark file; NaN where there is none."""
    if not benchmark.is_file():
        return float("nan")
    try:
        return float(pd.read_csv(benchmark, sep="\t", na_values=["NA", "-"])["s"].iloc[0])
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(
            f"{benchmark}: cannot be read as a benchmark ({error}); delete it and run its rule again"
        ) from error


def _row(
    predictions: PairPredictions,
    own: Float[np.ndarray, "3 3"] | None,
    samples: Sequence[ViewSamples],
    root_joint: int,
) -> dict[str, Any]:
    truth = pair_truth(views_of(samples, predictions.pair), predictions.rows)
    poses = align(predictions, truth, root_joint)

    def dual_mm(rotation_12: Float[np.ndarray, "3 3"]) -> float:
        merged = merge_views(poses.predicted_mm, truth.valid, rotation_12)
        return mean_over_instances(joint_errors(merged, poses.true_mm), truth.valid)

    variant, _, budget = predictions.variant.partition("/")
    row = {
        "pair": predictions.pair,
        "method": METHOD_OF_VARIANT.get(variant, variant),
        "budget": budget or STANDARD,
        "seed": predictions.seed,
        "samples": len(predictions.rows),
        "mono_m_mm": mono_m(joint_errors(poses.predicted_mm, poses.true_mm), truth.valid),
        "dual_m_mm": dual_mm(predictions.rotation_12),
        "dual_m_own_r_mm": dual_mm(predictions.rotation_12 if own is None else own),
    }
    print(
        f"{row['pair']} {row['method']} {row['budget']}: Mono-M {row['mono_m_mm']:.2f}, "
        f"Dual-M {row['dual_m_mm']:.2f} mm",
        file=sys.stderr,
    )
    return row
