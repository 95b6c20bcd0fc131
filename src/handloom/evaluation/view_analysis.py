"""What limits labels without annotations: how good the views' poses could be if something were known of them.

For the source network's answers as they are, turned by their viewing rays, and on average over draws of the crops, and
for the adapted networks' own: Mono-M, that of both views merged by the pair's rotation and by the calibrated one, with
every hand's orientation repaired by an oracle, with the better view of each hand chosen by an oracle, and how alike the
two views' errors are. Only what the views do not err in alike can be gained from two views. For plots and docs; nothing
reads it.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from handloom.adaptation.pair_predictions import DrawnAnswers, PairPredictions
from handloom.datasets.assembly_hands import camera_numbers, views_of
from handloom.datasets.views import HandLabels
from handloom.evaluation.headset_scores import (
    SOURCE_RAYS,
    SOURCE_TURNED,
    ScoredPair,
    load_pair_predictions,
    source_pair_predictions,
)
from handloom.evaluation.pose_metrics import joint_errors, merge_views, mono_m
from handloom.runtime.files import write_table

DRAWN = "drawn"
PairJoints = Float[np.ndarray, "pairs 2 21 3"]
OfPairJoints = Float[np.ndarray, "pairs 2 21"]
COLUMNS = ("mono_mm", "merged_mm", "merged_true_mm", "oriented_mm", "best_view_mm", "correlation")


def analyse_views(
    labels: Sequence[Path],
    source_predictions: Path,
    rotations: Path,
    predictions: Sequence[Path],
    analysis: Path,
    *,
    setting: str,
    headset: str,
    pairs: Sequence[str],
    answers: Path | None = None,
) -> None:
    """Stage: one row per pair of cameras and network, the columns of this module's text; Mono-M in mm throughout.

    `predictions` are of adapted networks with one seed, `answers` the mean answers to draws. Without labels all is
    empty. Raises InputError as `score_headset` does.
    """
    known = [HandLabels.load(path) for path in labels]
    networks = [
        source_pair_predictions(source_predictions, rotations, known, pair, variant)
        for pair in pairs
        for variant in (SOURCE_RAYS, SOURCE_TURNED)
    ]
    if answers is not None:
        drawn = DrawnAnswers.load(answers)
        networks += [_of_draws(drawn, network) for network in networks if network.variant == SOURCE_TURNED]
    networks += [load_pair_predictions(path) for path in predictions]
    rows = []
    for network in networks:
        scored = ScoredPair.of(network, views_of(known, network.pair))
        named = {"setting": setting, "headset": headset, "pair": network.pair, "variant": network.variant}
        rows.append({**named, **figures_of(scored)})
    write_table(analysis, pd.DataFrame(rows))


def _of_draws(drawn: DrawnAnswers, like: PairPredictions) -> PairPredictions:
    views = [
        drawn.joints[drawn.camera == camera][like.rows[:, v]] for v, camera in enumerate(camera_numbers(like.pair))
    ]
    return replace(like, variant=DRAWN, joints=np.stack(views, axis=1))


def figures_of(scored: ScoredPair) -> dict[str, float]:
    """The columns of a network on a pair of cameras."""
    predicted, true = scored.poses
    valid, rotation = scored.valid, scored.true_rotation_12
    by_view = joint_errors(predicted, true)
    # A joint that is scored in neither view weighs nothing; in all others both views are merged alike.
    merged, merged_true = (
        merge_views(predicted, np.ones_like(valid), each) for each in (scored.network.rotation_12, rotation)
    )
    found = {
        "mono": predicted,
        "merged": merged,
        "merged_true": merged_true,
        "oriented": oriented(predicted, true, valid),
        "best_view": best_view(predicted, by_view, valid, rotation),
    }
    figures = {f"{name}_mm": mono_m(joint_errors(poses, true), valid) for name, poses in found.items()}
    return {**figures, "correlation": correlation(predicted - true, valid, rotation)}


def oriented(predicted: PairJoints, true: PairJoints, valid: OfPairJoints) -> PairJoints:
    """Each pose turned about its root by the rotation that leaves the least squared error of its valid joints."""
    u, _, vt = np.linalg.svd(np.einsum("...ji,...j,...jk->...ik", predicted, valid, true))
    u[..., 2] *= np.sign(np.linalg.det(u @ vt))[..., None]
    turned: np.ndarray = predicted @ (u @ vt)
    return turned


def best_view(
    predicted: PairJoints, errors: OfPairJoints, valid: OfPairJoints, rotation_12: Float[np.ndarray, "3 3"]
) -> PairJoints:
    """The pose of the view that errs less on each hand, in both views; a view without valid joints is not chosen."""
    seen = valid.sum(axis=-1)
    mean = np.divide((errors * valid).sum(axis=-1), seen, out=np.full(seen.shape, np.inf), where=seen > 0)
    first = (mean[:, 0] <= mean[:, 1])[:, None, None]
    in_first = np.where(first, predicted[:, 0], predicted[:, 1] @ rotation_12.T)
    return np.stack([in_first, in_first @ rotation_12], axis=1)


def correlation(errors: PairJoints, valid: OfPairJoints, rotation_12: Float[np.ndarray, "3 3"]) -> float:
    """sum e_1 . e_2 R12^T / sqrt(sum |e_1|^2 sum |e_2|^2) over joints that both views see; NaN without any."""
    both = (valid[:, 0] * valid[:, 1])[..., None]
    first, second = errors[:, 0] * both, errors[:, 1] @ rotation_12.T * both
    size = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / size) if size > 0 else float("nan")
