"""Scores of one setting and headset: Mono-M, Dual-M and rotation error of every pair, network and seed."""

import sys
from collections.abc import Sequence
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
from handloom.evaluation.pose_metrics import (
    auc,
    joint_errors,
    mean_over_instances,
    mean_per_joint,
    median_m,
    merge_views,
    mono_m,
    rotation_error_deg,
)
from handloom.hand.joints import SNAP_NAMES
from handloom.runtime.artifacts import Header, read_arrays, write_arrays
from handloom.runtime.config.datasets import Headset
from handloom.runtime.errors import InputError
from handloom.runtime.files import write_table

SAMPLE_ERRORS = "sample_errors"
SOURCE_SEED = -1
"""Stands for "no seed" in arrays; tables leave the cell empty."""


def score_headset(
    views: Sequence[Path],
    source_predictions: Path,
    rotations: Path,
    predictions: Sequence[Path],
    output: Path,
    sample_errors: Path,
    *,
    setting: str,
    headset: Headset,
    pairs: Sequence[str],
    root_joint: int,
    code: str = "",
) -> None:
    """Stage: score the source network and every adapted one; write a row each, and the errors of every hand.

    `views` are the crops of cameras 1 to 4, `predictions` the adapted networks' `pair_predictions`. The source
    network is scored with its published first rotation (`source`) and with the one that adaptation starts from
    (`source_rays`), an adapted network with the one saved with its predictions; only Dual-M depends on it.
    Raises InputError for files that do not belong together or poses that are not finite.
    """
    samples = [load_views(path) for path in views]
    source = [
        source_pair_predictions(source_predictions, rotations, samples, pair, root_joint, variant)
        for variant in (SOURCE, SOURCE_RAYS)
        for pair in pairs
    ]
    rows: list[dict[str, Any]] = []
    hands: list[dict[str, np.ndarray]] = []
    for scored in source:
        _add_scores(scored, samples, root_joint, rows, hands)
    source_rows = {scored.pair: scored.rows for scored in source}
    for path in predictions:
        scored = load_pair_predictions(path, root_joint)
        if scored.pair not in source_rows or not np.array_equal(scored.rows, source_rows[scored.pair]):
            raise InputError(
                f"{path}: its {len(scored.rows)} pairs of cameras {scored.pair} are not those of the crops; "
                "the crops were made again since, so adapt again"
            )
        _add_scores(scored, samples, root_joint, rows, hands)
    table = pd.DataFrame({"setting": setting, "headset": headset, **row} for row in rows)
    table["seed"] = table["seed"].astype("Int64")
    write_table(output, table)
    columns = {name: np.concatenate([part[name] for part in hands]) for name in hands[0]}
    notes = {"setting": setting, "headset": headset}
    write_arrays(sample_errors, columns, Header(SAMPLE_ERRORS, units="mm", joint_order="SNAP", code=code, extra=notes))


def load_sample_errors(path: Path) -> pd.DataFrame:
    """The errors of every pair of hands, one row each; see `errors_by_hand` for the columns."""
    arrays, _ = read_arrays(path, SAMPLE_ERRORS)
    return pd.DataFrame(arrays)


def _add_scores(
    predictions: PairPredictions,
    samples: Sequence[ViewSamples],
    root_joint: int,
    rows: list[dict[str, Any]],
    hands: list[dict[str, np.ndarray]],
) -> None:
    views = views_of(samples, predictions.pair)
    truth = pair_truth(views, predictions.rows)
    poses = align(predictions, truth, root_joint)
    mono = joint_errors(poses.predicted_mm, poses.true_mm)
    dual = joint_errors(merge_views(poses.predicted_mm, truth.valid, predictions.rotation_12), poses.true_mm)
    row = {
        "pair": predictions.pair,
        "variant": predictions.variant,
        "seed": predictions.seed,
        **scores_of(mono, dual, truth.valid),
        "rotation_error_deg": rotation_error_deg(predictions.rotation_12, truth.rotation_12),
    }
    rows.append(row)
    hands.append(errors_by_hand(predictions, views[0], mono, dual, truth.valid))
    seed = "" if predictions.seed is None else f" seed {predictions.seed}"
    print(
        f"{predictions.pair} {predictions.variant}{seed}: Mono-M {row['mono_m_mm']:.2f} mm, Dual-M "
        f"{row['dual_m_mm']:.2f} mm, rotation {row['rotation_error_deg']:.1f} deg off, {row['samples']} pairs of hands",
        file=sys.stderr,
    )


def scores_of(
    mono_errors_mm: Float[np.ndarray, "pairs 2 21"],
    dual_errors_mm: Float[np.ndarray, "pairs 2 21"],
    valid: Float[np.ndarray, "pairs 2 21"],
) -> dict[str, float | int]:
    """All numbers of a network on a pair of cameras; `samples` counts pairs of hands, `{joint}_mm` are joint means."""
    per_joint, _ = mean_per_joint(mono_errors_mm, valid)
    return {
        "samples": len(valid),
        "valid_joints": int((valid > 0).sum()),
        "mono_m_mm": mono_m(mono_errors_mm, valid),
        "dual_m_mm": mean_over_instances(dual_errors_mm, valid),
        "median_m_mm": median_m(mono_errors_mm, valid),
        "auc_20_50": auc(mono_errors_mm, valid),
        **{f"{name}_mm": float(error) for name, error in zip(SNAP_NAMES, per_joint, strict=True)},
    }


def errors_by_hand(
    predictions: PairPredictions,
    view_1: ViewSamples,
    mono_errors_mm: Float[np.ndarray, "pairs 2 21"],
    dual_errors_mm: Float[np.ndarray, "pairs 2 21"],
    valid: Float[np.ndarray, "pairs 2 21"],
) -> dict[str, np.ndarray]:
    """Columns with one row a pair of hands: which it is, and its mean errors over valid joints, NaN without any."""
    count = len(valid)
    seen = valid.sum(axis=-1)
    means = {
        name: np.divide((errors * valid).sum(axis=-1), seen, out=np.full(seen.shape, np.nan), where=seen > 0)
        for name, errors in (("mono", mono_errors_mm), ("dual", dual_errors_mm))
    }
    row_1 = predictions.rows[:, 0]
    return {
        "pair": np.full(count, predictions.pair),
        "variant": np.full(count, predictions.variant, dtype="<U16"),
        "seed": np.full(count, SOURCE_SEED if predictions.seed is None else predictions.seed),
        "row_1": row_1,
        "row_2": predictions.rows[:, 1],
        "sequence": view_1.sequence[row_1],
        "frame": view_1.frame[row_1],
        "is_left": view_1.is_left[row_1],
        **{f"{name}_{view + 1}_mm": means[name][:, view] for name in means for view in range(2)},
        **{f"valid_{view + 1}": seen[:, view].astype(np.int64) for view in range(2)},
    }
