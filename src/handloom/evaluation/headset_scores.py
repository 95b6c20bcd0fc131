"""Scores of the networks of a headset: S2DHand's, and those of the methods it is compared with.

One row per pair of cameras, network and seed. A new metric is a line of `scores_of`, then a column of both files. Only
arrays are read, so that the jobs that score and draw need not import torch.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from handloom.adaptation.pair_predictions import PairPredictions, SourcePredictions, first_rotation
from handloom.datasets.assembly_hands import camera_numbers, views_of
from handloom.datasets.views import HandLabels, pair_rows
from handloom.evaluation.pose_metrics import (
    PlacedPoses,
    auc,
    bone_length,
    joint_errors,
    mean_over_instances,
    mean_per_joint,
    median_m,
    merge_views,
    mono_m,
    place_on_ground_truth,
    rotation_error_deg,
    views_apart,
)
from handloom.hand.joints import SNAP_NAMES
from handloom.runtime.artifacts import Artifact
from handloom.runtime.errors import InputError
from handloom.runtime.files import write_table
from handloom.runtime.finished import seconds_of

SOURCE, SOURCE_RAYS, SOURCE_TURNED = "source", "source_rays", "source_turned"
"""The source network: as published, merged by the rotation that adaptation starts from, and its poses turned as well by
their viewing rays, as S2DHand+ reads them out."""
SOURCE_SEED = -1
"""Stands for "no seed" in arrays; tables leave the cell empty."""
STANDARD = "standard"
METHOD_OF_VARIANT = {SOURCE: "source_only", SOURCE_RAYS: "source_only_rays", SOURCE_TURNED: "source_only_turned"}


@dataclass(frozen=True)
class SampleErrors(
    Artifact,
    kind="sample_errors",
    units="mm",
    joint_order="SNAP",
    may_be_nan=("mono_1_mm", "mono_2_mm", "dual_1_mm", "dual_2_mm"),
):
    """Each network's mean errors over the valid joints of every pair of hands; NaN for a view without any.

    `apart_mm` is how far the two views' poses are apart, which needs no label.
    """

    setting: str
    headset: str
    pair: np.ndarray
    variant: np.ndarray
    seed: Int[np.ndarray, " hands"]
    row_1: Int[np.ndarray, " hands"]
    row_2: Int[np.ndarray, " hands"]
    sequence: np.ndarray
    frame: Int[np.ndarray, " hands"]
    is_left: Bool[np.ndarray, " hands"]
    mono_1_mm: Float[np.ndarray, " hands"]
    mono_2_mm: Float[np.ndarray, " hands"]
    dual_1_mm: Float[np.ndarray, " hands"]
    dual_2_mm: Float[np.ndarray, " hands"]
    apart_mm: Float[np.ndarray, " hands"]
    valid_1: Int[np.ndarray, " hands"]
    valid_2: Int[np.ndarray, " hands"]


@dataclass(frozen=True)
class ScoredPair:
    """A network's poses of the pairs of hands of two cameras, placed on their annotations."""

    network: PairPredictions
    poses: PlacedPoses
    valid: Float[np.ndarray, "pairs 2 21"]
    apart_mm: Float[np.ndarray, " pairs"]
    """How far the two views' poses are apart, merged by the network's rotation."""
    unlabelled: str
    """Which sequences have no labels, and why."""
    true_rotation_12: Float[np.ndarray, "3 3"]
    """Between the calibrated cameras: `R_w2c,1 R_w2c,2^T`, averaged over the pairs."""

    @classmethod
    def of(cls, network: PairPredictions, views: tuple[HandLabels, HandLabels]) -> "ScoredPair":
        """The network's poses, and the annotations of its rows; raises InputError for a hand without a bone 0-9."""
        if not (bone_length(network.joints) > 0).all():
            raise InputError(
                f"pair {network.pair}, {network.variant}: a predicted hand has no size (joints 0 and 9 coincide), so "
                "it cannot be scaled; the network is broken, train it again"
            )
        joints_m, valid, cameras = (
            np.stack([getattr(view, name)[rows] for view, rows in zip(views, network.rows.T, strict=True)], axis=1)
            for name in ("joints_cam_m", "joint_valid", "cam_from_world_rotation")
        )
        cameras = cameras.astype(np.float64)
        u, _, vt = np.linalg.svd((cameras[:, 0] @ np.swapaxes(cameras[:, 1], -1, -2)).mean(axis=0))
        rotation = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
        poses = place_on_ground_truth(network.joints, joints_m, network.root_joint)
        apart_mm = views_apart(network.joints, network.root_joint, network.rotation_12)
        return cls(network, poses, valid.astype(np.float64), apart_mm, views[0].unlabelled, rotation)

    def mono_errors_mm(self) -> Float[np.ndarray, "pairs 2 21"]:
        """Errors of each view's poses alone."""
        return joint_errors(self.poses.predicted_mm, self.poses.true_mm)

    def dual_errors_mm(self, rotation_12: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "pairs 2 21"]:
        """Errors of both views' poses, merged by a rotation."""
        return joint_errors(merge_views(self.poses.predicted_mm, self.valid, rotation_12), self.poses.true_mm)


def score_headset(
    labels: Sequence[Path],
    source_predictions: Path,
    rotations: Path,
    predictions: Sequence[Path],
    scores: Path,
    sample_errors: Path,
    *,
    setting: str,
    headset: str,
    pairs: Sequence[str],
    code: str = "",
) -> None:
    """Stage: score the source network and every adapted one; write a row each, and the errors of every hand.

    `labels` are those of cameras 1, 2, ...; without labels, what needs a truth is empty, and `unlabelled` says why. The
    source network is scored with its published first rotation (`source`), with the one that adaptation starts from
    (`source_rays`), and with that one and its poses turned by their viewing rays (`source_turned`); an adapted network
    with the rotation saved with its predictions. Only Dual-M depends on the rotation. Raises InputError for files that
    do not belong together or poses that are not finite.
    """
    samples = [HandLabels.load(path) for path in labels]
    rows: list[dict[str, Any]] = []
    hands: list[dict[str, np.ndarray]] = []
    for scored, _ in _scored_pairs(source_predictions, rotations, predictions, samples, pairs):
        network = scored.network
        names = {"pair": network.pair, "variant": network.variant, "seed": network.seed}
        rows.append(
            {"setting": setting, "headset": headset, **names, **scores_of(scored), "unlabelled": scored.unlabelled}
        )
        hands.append(_errors_by_hand(scored, views_of(samples, network.pair)[0]))
    write_table(scores, pd.DataFrame(rows).astype({"seed": "Int64"}))
    columns = {name: np.concatenate([each[name] for each in hands]) for name in hands[0]}
    SampleErrors(setting=setting, headset=headset, **columns).save(sample_errors, code=code)


def score_methods(
    labels: Sequence[Path],
    source_predictions: Path,
    rotations: Path,
    predictions: Sequence[Path],
    records: Sequence[Path],
    scores: Path,
    *,
    headset: str,
    pairs: Sequence[str],
    epochs: Mapping[str, int],
    adaptation_pairs: int,
    batch_size: int,
) -> None:
    """Stage: one row per network: headset, pair, method, budget, seed, its scores, updates and seconds.

    `epochs` are the passes over the adaptation pairs of each budget. `dual_m_mm` merges views by the rotation saved as
    the network's (R(0); S2DHand: the one it adapted), `dual_m_own_r_mm` by the one that its own poses show. `seconds`
    are an adaptation's wall time, by `records`, one of each of the `predictions`. Raises InputError as `score_headset`.
    """
    samples = [HandLabels.load(path) for path in labels]
    record_of = dict(zip(predictions, records, strict=True))
    rows: list[dict[str, Any]] = []
    for scored, path in _scored_pairs(source_predictions, rotations, predictions, samples, pairs):
        network = scored.network
        variant, _, budget = network.variant.partition("/")
        budget = budget or STANDARD
        own = network.rotation_12 if network.own_rotation_12 is None else network.own_rotation_12.astype(np.float64)
        batches = -(-min(adaptation_pairs, len(network.rows)) // batch_size)
        rows.append(
            {
                "headset": headset,
                "pair": network.pair,
                "method": METHOD_OF_VARIANT.get(variant, variant),
                "budget": budget,
                "seed": network.seed,
                **scores_of(scored),
                "unlabelled": scored.unlabelled,
                "dual_m_own_r_mm": mean_over_instances(scored.dual_errors_mm(own), scored.valid),
                "updates": 0 if path is None else batches * epochs.get(variant, epochs[budget]),
                "seconds": 0.0 if path is None else seconds_of(record_of[path]),
            }
        )
    write_table(scores, pd.DataFrame(rows).astype({"seed": "Int64", "seconds": float}))


def scores_of(scored: ScoredPair) -> dict[str, float | int]:
    """All numbers of a network on a pair of cameras; `samples` counts pairs of hands, `{joint}_mm` are joint means."""
    network, valid = scored.network, scored.valid
    mono_mm = scored.mono_errors_mm()
    per_joint, _ = mean_per_joint(mono_mm, valid)
    numbers = {
        "samples": len(valid),
        "valid_joints": int((valid > 0).sum()),
        "mono_m_mm": mono_m(mono_mm, valid),
        "dual_m_mm": mean_over_instances(scored.dual_errors_mm(network.rotation_12), valid),
        "median_m_mm": median_m(mono_mm, valid),
        "auc_20_50": auc(mono_mm, valid),
        **{f"{name}_mm": float(error) for name, error in zip(SNAP_NAMES, per_joint, strict=True)},
        "rotation_error_deg": rotation_error_deg(network.rotation_12, scored.true_rotation_12),
        "views_apart_mm": float(scored.apart_mm.mean()),
    }
    seed = "" if network.seed is None else f" seed {network.seed}"
    print(
        f"{network.pair} {network.variant}{seed}: Mono-M {numbers['mono_m_mm']:.2f} mm, Dual-M "
        f"{numbers['dual_m_mm']:.2f} mm, rotation {numbers['rotation_error_deg']:.1f} deg off, {numbers['samples']} "
        f"pairs of hands, views {numbers['views_apart_mm']:.2f} mm apart",
        file=sys.stderr,
    )
    return numbers


def _scored_pairs(
    source_predictions: Path,
    rotations: Path,
    predictions: Sequence[Path],
    samples: Sequence[HandLabels],
    pairs: Sequence[str],
) -> Iterator[tuple[ScoredPair, Path | None]]:
    """The source network in its three ways, then the adapted ones with their files."""
    rows: dict[str, Int[np.ndarray, "pairs 2"]] = {}
    for variant in (SOURCE, SOURCE_RAYS, SOURCE_TURNED):
        for pair in pairs:
            network = source_pair_predictions(source_predictions, rotations, samples, pair, variant)
            rows[pair] = network.rows
            yield ScoredPair.of(network, views_of(samples, pair)), None
    for path in predictions:
        network = load_pair_predictions(path)
        if network.pair not in rows or not np.array_equal(network.rows, rows[network.pair]):
            raise InputError(
                f"{path}: its {len(network.rows)} pairs of cameras {network.pair} are not those of the crops; "
                "the crops were made again since, so adapt again"
            )
        yield ScoredPair.of(network, views_of(samples, network.pair)), path


def load_pair_predictions(path: Path) -> PairPredictions:
    """Read an adapted network's poses; raises InputError for a file of another kind and for unfinite poses."""
    found = PairPredictions.load(path)
    _check_finite(path, found)
    return replace(found, rotation_12=found.rotation_12.astype(np.float64))


def source_pair_predictions(
    source_predictions: Path, rotations: Path, labels: Sequence[HandLabels], pair: str, variant: str = SOURCE
) -> PairPredictions:
    """The source network's poses of one pair with a first rotation R(0) of its own, as `score_headset` tells.

    What `source_rays` and `source_turned` gain on the baseline `source` is not adaptation's. Raises InputError as
    `load_pair_predictions` does, and for a pair without a rotation.
    """
    source = SourcePredictions.load(source_predictions)
    rows = np.stack(pair_rows(*views_of(labels, pair)), axis=1)
    answered = source.turned_joints() if variant == SOURCE_TURNED else source.joints
    joints = []
    for view, camera in enumerate(camera_numbers(pair)):
        found = answered[source.camera == camera]
        if len(found) != len(labels[camera]):
            raise InputError(
                f"{source_predictions}: has {len(found)} poses of camera {camera + 1}, but {len(labels[camera])} hands "
                "were cropped; run the rule that makes it again"
            )
        joints.append(found[rows[:, view]])
    rotation_12 = first_rotation(rotations, pair, "published" if variant == SOURCE else "single")
    network = PairPredictions(pair, variant, None, source.root_joint, rows, np.stack(joints, axis=1), rotation_12)
    _check_finite(source_predictions, network)
    return network


def _check_finite(path: Path, network: PairPredictions) -> None:
    broken = ~np.isfinite(network.joints).all(axis=(1, 2, 3))
    if broken.any():
        raise InputError(
            f"{path}: poses of {int(broken.sum())} of {len(broken)} hands (pair {network.pair}) are not finite: the "
            "network diverged; lower adaptation.learning_rate and adapt again"
        )


def _errors_by_hand(scored: ScoredPair, view_1: HandLabels) -> dict[str, np.ndarray]:
    """The columns of `SampleErrors` with one row a pair of hands."""
    network, valid = scored.network, scored.valid
    count, seen = len(valid), valid.sum(axis=-1)
    errors_mm = {"mono": scored.mono_errors_mm(), "dual": scored.dual_errors_mm(network.rotation_12)}
    means = {
        name: np.divide((errors * valid).sum(axis=-1), seen, out=np.full(seen.shape, np.nan), where=seen > 0)
        for name, errors in errors_mm.items()
    }
    row_1, row_2 = network.rows.T
    return {
        "pair": np.full(count, network.pair),
        "variant": np.full(count, network.variant, dtype="<U16"),
        "seed": np.full(count, SOURCE_SEED if network.seed is None else network.seed),
        "row_1": row_1,
        "row_2": row_2,
        "sequence": view_1.sequence[row_1],
        "frame": view_1.frame[row_1],
        "is_left": view_1.is_left[row_1],
        **{f"{name}_{view + 1}_mm": means[name][:, view] for name in means for view in range(2)},
        "apart_mm": scored.apart_mm,
        **{f"valid_{view + 1}": seen[:, view].astype(np.int64) for view in range(2)},
    }


def load_sample_errors(path: Path) -> pd.DataFrame:
    """The errors of every pair of hands, one row each."""
    errors = SampleErrors.load(path)
    return pd.DataFrame({name: values for name, values in asdict(errors).items() if isinstance(values, np.ndarray)})
