"""The first rotation R(0) of every camera pair of a headset, from the source network's predictions.

`faithful` averages as the code behind the released R_config.json must have (facts/s2dhand.md 3.3), or reads that file.
`fixed` takes a robust mean of proper rotations, of the poses as they are (`published`) and after the turn by their
viewing rays that they lack (`single`); `synchronised` lets the six single rotations correct each other.
Calibration enters only `rotation_errors`, whose figures are for logs and plots.
"""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from handloom.adaptation.pseudo_labels import AlignedPoses, Fidelity, align_poses
from handloom.adaptation.refinement import LEAST_COMMON_JOINTS
from handloom.adaptation.source_prediction import load_source_predictions
from handloom.adaptation.view_turns import ViewTurns, crop_rays, turned, view_turns
from handloom.datasets.views import ViewSamples, load_views, pair_samples
from handloom.estimators.detnet.prediction import Predictions
from handloom.geometry.rotations import (
    angle_deg,
    mean_rotation_robust,
    mean_rotation_unsigned,
    nearest_orthogonal,
    rotation_between,
)
from handloom.geometry.synchronisation import all_pairs, pair_rotations, synchronise_rotations
from handloom.runtime.config.adaptation import AdaptationSettings
from handloom.runtime.config.datasets import Headset
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json, write_json

RotationInit = Literal["published", "single", "synchronised"]
LEAST_SPREAD_DEG = 1.0


class PairRotation(NamedTuple):
    """A pair's rotation and the median angle of its single-sample rotations to it."""

    rotation_12: Float[Tensor, "3 3"]
    spread_deg: float
    samples: int


def consensus_rotation(
    poses_1: Float[Tensor, "pairs 21 3"], poses_2: Float[Tensor, "pairs 21 3"], weights: Float[Tensor, "pairs 21"]
) -> PairRotation:
    """The proper rotation that most pairs of poses agree on: the geodesic-L1 mean of the pairs' own rotations.

    Poses are centred on their weighted mean first, since the root joint's error would move all joints; a pair weighs as
    much as its joints together. Pairs with fewer than three weighted joints or unfinite poses do not count.
    Raises InputError when none counts.
    """
    p1, p2, w = poses_1.double(), poses_2.double(), weights.double()
    usable = ((w > 0).sum(-1) >= LEAST_COMMON_JOINTS) & (p1 + p2).isfinite().all(-1).all(-1)
    if not bool(usable.any()):
        raise InputError(
            f"rotation of a camera pair: none of {len(w)} pairs of poses is finite and has {LEAST_COMMON_JOINTS} "
            "joints valid in both views; check the crops, or lower adaptation.confidence_threshold or the learning rate"
        )
    p1, p2, w = p1[usable], p2[usable], w[usable]
    share = (w / w.sum(-1, keepdim=True)).unsqueeze(-1)
    each = rotation_between(p1 - (share * p1).sum(1, keepdim=True), p2 - (share * p2).sum(1, keepdim=True), w)
    rotation = mean_rotation_robust(each, w.sum(-1))
    return PairRotation(rotation, float(angle_deg(each, rotation).median()), len(each))


def estimate_rotation(
    predictions_1: Predictions,
    predictions_2: Predictions,
    *,
    root_joint: int,
    fidelity: Fidelity,
    confidence_threshold: float = 0.0,
    true_common: Bool[Tensor, "pairs 21"] | None = None,
    turns: ViewTurns | None = None,
) -> PairRotation:
    """R(0) of one camera pair from the paired predictions of the source network.

    `faithful` needs the annotated joints valid in both views (`true_common`), as the released code used them; `fixed`
    must not be given them and takes what the network is confident about. `turns` are what the poses lack of the turns
    to their hands; the released code knows none.
    """
    if (fidelity == "faithful") != (true_common is not None):
        raise ValueError("estimate_rotation: annotated validity belongs to faithful, and only to it")
    if fidelity == "faithful" and turns is not None:
        raise ValueError("estimate_rotation: turns by viewing rays belong to fixed; give faithful a ray share of 0")
    aligned = align_poses(predictions_1.joints.double(), predictions_2.joints.double(), root_joint)
    if true_common is not None:
        return _released_estimate(aligned, true_common)
    c1, c2 = predictions_1.confidence, predictions_2.confidence
    common = (c1 > confidence_threshold) & (c2 > confidence_threshold)
    return consensus_rotation(*turned(aligned, turns), common * c1 * c2)


def _released_estimate(aligned: AlignedPoses, common: Tensor) -> PairRotation:
    each = rotation_between(aligned.view_1, aligned.view_2, common.double(), proper=False)
    each = each[common.sum(-1) >= LEAST_COMMON_JOINTS]
    if len(each) == 0:
        raise InputError("rotation of a camera pair: no pair has 3 joints annotated as valid in both views")
    rotation = mean_rotation_unsigned(each)
    return PairRotation(rotation, float(angle_deg(each, rotation).median()), len(each))


def synchronise_pairs(singles: Mapping[str, PairRotation], cameras: int) -> dict[str, Float[Tensor, "3 3"]]:
    """All pairs' rotations made consistent, pair estimates weighted by their inverse squared spread."""
    if not singles:
        raise InputError("no two cameras of the headset share a hand; expected frames that several annotate")
    edges = torch.tensor([_cameras_of(pair) for pair in singles])
    rotations = torch.stack([single.rotation_12 for single in singles.values()])
    spreads = torch.tensor([single.spread_deg for single in singles.values()], dtype=rotations.dtype)
    camera_rotations = synchronise_rotations(
        edges, rotations, 1 / spreads.clamp_min(LEAST_SPREAD_DEG) ** 2, cameras=cameras
    )
    every = all_pairs(cameras)
    return {
        f"{a + 1}-{b + 1}": rotation
        for (a, b), rotation in zip(every.tolist(), pair_rotations(camera_rotations, every), strict=True)
    }


def start_rotations(
    settings: AdaptationSettings,
    source_predictions: Path,
    views: Sequence[Path],
    output: Path,
    *,
    root_joint: int,
    fidelity: Fidelity,
    headset: Headset,
    ray_share: float = 0.0,
) -> None:
    """Stage: estimate R(0) of all pairs of a headset and write them as JSON.

    `estimates` is what adaptation and scores read: `published`, from the poses as they are; `single`, from poses turned
    by `ray_share` of their viewing rays; `synchronised`, from the single ones. `diagnostics` compares them with the
    calibration, for plots and logs only. Rotations of `settings.rotations` replace published and single ones.
    Pairs that share no hand are named on stderr and left out: other pairs do without them, and whoever asks for them
    gets the error. Raises InputError when the remaining pairs do not connect all cameras.
    """
    predictions = load_source_predictions(source_predictions, root_joint)
    samples = [load_views(path) for path in views]
    rays = [crop_rays(view.crop_offset_half_widths, settings.field_of_view_deg) for view in samples]
    published: dict[str, PairRotation] = {}
    singles: dict[str, PairRotation] = {}
    for a, b in combinations(range(len(samples)), 2):
        try:
            index_1, index_2 = (rows[: settings.rotation_pairs] for rows in pair_samples(samples[a], samples[b]))
        except InputError as error:
            print(f"pair {a + 1}-{b + 1} has no rotation: {error}", file=sys.stderr)
            continue
        leak = _true_common(samples[a], samples[b], index_1, index_2) if fidelity == "faithful" else None
        estimate = partial(
            estimate_rotation,
            *(
                Predictions(*(values[index] for values in predictions[view]))
                for view, index in ((a, index_1), (b, index_2))
            ),
            root_joint=root_joint,
            fidelity=fidelity,
            confidence_threshold=settings.confidence_threshold,
            true_common=leak,
        )
        pair, turns = f"{a + 1}-{b + 1}", view_turns(rays[a][index_1], rays[b][index_2], ray_share)
        published[pair] = estimate()
        singles[pair] = published[pair] if turns is None else estimate(turns=turns)
    if settings.rotations is not None:
        given = _released_rotations(Path(settings.rotations), headset, list(singles))
        published, singles = (
            {pair: found._replace(rotation_12=given[pair]) for pair, found in kind.items()}
            for kind in (published, singles)
        )
    synchronised = synchronise_pairs(singles, len(samples))
    estimates = {
        pair: {
            "published": published[pair].rotation_12.tolist(),
            "single": single.rotation_12.tolist(),
            "synchronised": synchronised[pair].tolist(),
            "spread_deg": single.spread_deg,
            "samples": single.samples,
        }
        for pair, single in singles.items()
    }
    write_json(
        output,
        {
            "headset": headset,
            "fidelity": fidelity,
            "estimates": estimates,
            "diagnostics": {pair: rotation_errors(samples, pair, estimates[pair]) for pair in estimates},
        },
    )


def read_rotation(path: Path, pair: str, rotation_init: RotationInit) -> Float[Tensor, "3 3"]:
    """A pair's R(0) in float64; raises InputError when the file lacks it or it is no rotation."""
    try:
        values = read_json(path)["estimates"][pair][rotation_init]
        rotation = torch.tensor(values, dtype=torch.float64).reshape(3, 3)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{path}: has no {rotation_init} 3x3 rotation of pair {pair} ({error}); run the rule that makes it again"
        ) from error
    _require_orthogonal(rotation, f"{path}: {rotation_init} rotation of pair {pair}")
    return rotation


def calibrated_rotation(view_1: ViewSamples, view_2: ViewSamples, index_1: np.ndarray, index_2: np.ndarray) -> Tensor:
    """R12 = R_w2c,1 R_w2c,2^T of the pairs' calibrations, averaged; for measuring only."""
    r1, r2 = (
        torch.from_numpy(v.cam_from_world_rotation[i]).double() for v, i in ((view_1, index_1), (view_2, index_2))
    )
    return nearest_orthogonal((r1 @ r2.transpose(-1, -2)).mean(0))


def rotation_errors(samples: Sequence[ViewSamples], pair: str, estimate: Mapping[str, Any]) -> dict[str, Any]:
    """Angles between a pair's estimates and its calibrated rotation."""
    view_1, view_2 = (samples[camera] for camera in _cameras_of(pair))
    truth = calibrated_rotation(view_1, view_2, *pair_samples(view_1, view_2))
    return {
        "calibrated": truth.tolist(),
        **{
            f"{name}_error_deg": float(angle_deg(torch.tensor(estimate[name], dtype=truth.dtype), truth))
            for name in get_args(RotationInit)
        },
    }


def _cameras_of(pair: str) -> tuple[int, int]:
    first, second = pair.split("-")
    return int(first) - 1, int(second) - 1


def _true_common(view_1: ViewSamples, view_2: ViewSamples, index_1: np.ndarray, index_2: np.ndarray) -> Tensor:
    return torch.from_numpy((view_1.joint_valid[index_1] > 0) & (view_2.joint_valid[index_2] > 0))


def _released_rotations(path: Path, headset: Headset, pairs: Sequence[str]) -> dict[str, Tensor]:
    """R_pred of every pair from a file in R_config.json's layout: keys `set{0,1}-{a,b}` with 0-based cameras."""
    document, found = read_json(path), {}
    for pair in pairs:
        a, b = _cameras_of(pair)
        key = f"set{0 if headset == 'headset1' else 1}-{a},{b}"
        try:
            found[pair] = torch.tensor(document[key]["R_pred"], dtype=torch.float64).reshape(3, 3)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{path}: has no 3x3 matrix {key}.R_pred ({error}); name a file in R_config.json's layout in "
                "adaptation.rotations, or set it to null"
            ) from error
        _require_orthogonal(found[pair], f"{path}: {key}.R_pred")
    return found


def _require_orthogonal(rotation: Tensor, what: str) -> None:
    error = float((rotation.T @ rotation - torch.eye(3, dtype=rotation.dtype)).abs().max())
    if not (error < 1e-3 and float(torch.linalg.det(rotation)) > 0):
        raise InputError(f"{what} is not a rotation (orthogonal up to {error:.2g}); expected one; make the file again")
