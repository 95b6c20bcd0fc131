"""The rotation between two cameras from what their views show of hands: by poses, or by key points' viewing rays.

`faithful` averages the poses' rotations as the code behind the released R_config.json must have, or reads that file.
`fixed` takes a robust mean of proper rotations, of the poses as they are (`published`) and after the turn by a share of
their viewing rays that they lack (`single`).
A user's pair has the rotation of its poses, and a better one of its key points. Calibration enters only
`rotation_errors`, whose figures are for logs and plots.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from handloom.adaptation.clocks import Clock, fit_clock
from handloom.adaptation.learner import Poses
from handloom.adaptation.pair_predictions import SourcePredictions, rotation_in
from handloom.adaptation.pairs import ray_turned
from handloom.adaptation.pseudo_labels import AlignedPoses, align_poses
from handloom.adaptation.rotation_guided_refinement import LEAST_COMMON_JOINTS
from handloom.datasets.assembly_hands import camera_numbers, headset_number, views_of
from handloom.datasets.views import OWN_PAIR, FramePairs, HandCrops, HandLabels, pair_rows
from handloom.estimators.hands.found import FoundHands
from handloom.geometry.camera import turns_to_rays
from handloom.geometry.rotations import (
    angle_deg,
    mean_rotation_robust,
    mean_rotation_unsigned,
    nearest_orthogonal,
    rotation_between,
)
from handloom.hand.joints import BONE, WRIST
from handloom.runtime.config.adaptation import AdaptationSettings
from handloom.runtime.config.base import Fidelity
from handloom.runtime.config.cameras import KnownCamera
from handloom.runtime.errors import InputError
from handloom.runtime.files import write_json

HEADSET_ROTATIONS = ("published", "single")
ROTATION_PAIRS = 512
"""R(0) is estimated from at most so many pairs of hands."""


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
            "joints valid in both views; check the crops, or lower the learning rate"
        )
    p1, p2, w = p1[usable], p2[usable], w[usable]
    share = (w / w.sum(-1, keepdim=True)).unsqueeze(-1)
    each = rotation_between(p1 - (share * p1).sum(1, keepdim=True), p2 - (share * p2).sum(1, keepdim=True), w)
    rotation = mean_rotation_robust(each, w.sum(-1))
    return PairRotation(rotation, float(angle_deg(each, rotation).median()), len(each))


def estimate_rotation(
    poses_1: Poses,
    poses_2: Poses,
    *,
    root_joint: int,
    fidelity: Fidelity,
    true_common: Bool[Tensor, "pairs 21"] | None = None,
    turns: Float[Tensor, "2 pairs 3 3"] | None = None,
) -> PairRotation:
    """R(0) of one camera pair from the source network's poses of it.

    `faithful` needs the annotated joints valid in both views (`true_common`), as the released code used them; `fixed`
    must not be given them and takes what the network is confident about. `turns` are what the poses lack of the turns
    to their hands; the released code knows none.
    """
    if (fidelity == "faithful") != (true_common is not None):
        raise ValueError("estimate_rotation: annotated validity belongs to faithful, and only to it")
    if fidelity == "faithful" and turns is not None:
        raise ValueError("estimate_rotation: turns by viewing rays belong to fixed; give faithful a ray share of 0")
    aligned = align_poses(poses_1.joints.double(), poses_2.joints.double(), root_joint)
    if true_common is not None:
        return _released_estimate(aligned, true_common)
    c1, c2 = poses_1.confidence, poses_2.confidence
    common = (c1 > 0) & (c2 > 0)
    poses = [aligned.view_1, aligned.view_2] if turns is None else ray_turned([aligned.view_1, aligned.view_2], turns)
    return consensus_rotation(poses[0], poses[1], common * c1 * c2)


def _released_estimate(aligned: AlignedPoses, common: Tensor) -> PairRotation:
    each = rotation_between(aligned.view_1, aligned.view_2, common.double(), proper=False)
    each = each[common.sum(-1) >= LEAST_COMMON_JOINTS]
    if len(each) == 0:
        raise InputError(
            "rotation of a camera pair: no pair has 3 joints annotated as valid in both views; "
            "without labels set fidelity: fixed"
        )
    rotation = mean_rotation_unsigned(each)
    return PairRotation(rotation, float(angle_deg(each, rotation).median()), len(each))


def start_rotations(
    crops: Sequence[Path],
    labels: Sequence[Path],
    predictions: Path,
    rotations: Path,
    *,
    adaptation: AdaptationSettings,
    fidelity: Fidelity,
    headset: str,
    ray_share: float,
) -> None:
    """Stage: estimate R(0) of all pairs of a headset and write them as JSON.

    `estimates`, of the module's two kinds, is what adaptation and scores read; `diagnostics` compares them with the
    calibration, for plots and logs only. Rotations of `adaptation.rotations` replace published and single ones.
    Pairs that share no hand are named on stderr and left out: other pairs do without them, and whoever asks for them
    gets the error. Raises InputError when no pair is left.
    """
    source = SourcePredictions.load(predictions)
    views, known = [HandCrops.load(path) for path in crops], [HandLabels.load(path) for path in labels]
    published: dict[str, PairRotation] = {}
    singles: dict[str, PairRotation] = {}
    for a, b in combinations(range(len(views)), 2):
        pair = f"{a + 1}-{b + 1}"
        try:
            rows = tuple(index[:ROTATION_PAIRS] for index in pair_rows(views[a], views[b]))
        except InputError as error:
            print(f"pair {pair} has no rotation: {error}", file=sys.stderr)
            continue
        both, leak = list(zip((a, b), rows, strict=True)), None
        if fidelity == "faithful":
            valid_1, valid_2 = (known[view].joint_valid[index] > 0 for view, index in both)
            leak = torch.from_numpy(valid_1 & valid_2)
        estimate = partial(
            estimate_rotation,
            *(Poses(*(torch.from_numpy(values[index]) for values in source.of_camera(view))) for view, index in both),
            root_joint=source.root_joint,
            fidelity=fidelity,
            true_common=leak,
        )
        published[pair] = singles[pair] = estimate()
        if ray_share > 0 and not source.turned:
            rays = (torch.from_numpy(views[view].rays[index]) for view, index in both)
            singles[pair] = estimate(turns=torch.stack([turns_to_rays(each, ray_share) for each in rays]))
    if not singles:
        raise InputError("no two cameras of the headset share a hand; expected frames that several annotate")
    if adaptation.rotations is not None:
        given = _released_rotations(Path(adaptation.rotations), headset, list(singles))
        published, singles = (
            {pair: found._replace(rotation_12=given[pair]) for pair, found in kind.items()}
            for kind in (published, singles)
        )
    estimates = {
        pair: {
            "published": published[pair].rotation_12.tolist(),
            "single": single.rotation_12.tolist(),
            "spread_deg": single.spread_deg,
            "samples": single.samples,
        }
        for pair, single in singles.items()
    }
    errors = {pair: rotation_errors(known, pair, estimates[pair]) for pair in estimates}
    write_json(rotations, {"headset": headset, "fidelity": fidelity, "estimates": estimates, "diagnostics": errors})


def own_pair_rotations(
    hands: tuple[Path, Path],
    pairs: Path,
    rotations: Path,
    *,
    adaptation: AdaptationSettings,
    cameras: tuple[KnownCamera, KnownCamera],
) -> None:
    """Stage: the first rotation of a user's camera pair, from its poses (`poses`) and its key points (`keypoints`).

    The one of key points has the least epipolar error; it starts from the poses' rotation. A hand's joints err
    together, so its key points count as one observation. A network's poses are off in the same way while the hand faces
    the camera alike: on a rendered pair their rotation was 16 degrees off, this one 3. Its deviation holds what the
    clock leaves open, and by how much it turns when the focal lengths are moved as far as they may be off.
    """
    found, moments = (FoundHands.load(hands[0]), FoundHands.load(hands[1])), FramePairs.load(pairs)
    every = moments.rows("left"), moments.rows("right")
    chosen = chosen_pairs(len(every[0]), adaptation)
    rows = every[0][chosen], every[1][chosen]
    poses = (
        Poses(*(torch.from_numpy(values[index]).double() for values in (view.joints_cam, view.confidence)))
        for view, index in zip(found, rows, strict=True)
    )
    of_poses = estimate_rotation(*poses, root_joint=WRIST, fidelity="fixed")
    fit = partial(fit_clock, found, (moments.left_s, moments.right_s), rows, Clock(*moments.clock.tolist()))
    start = of_poses.rotation_12.numpy().T
    fitted = fit(start, around=True)
    by_rays = fitted.rotation
    of_keypoints = torch.from_numpy(by_rays.second_from_first.T.copy())
    turned = [
        float(angle_deg(torch.from_numpy(moved.rotation.second_from_first.T.copy()), of_keypoints))
        for moved in (fit(start, focal_scales=scales) for scales in focal_extremes(*cameras))
    ]
    deviation_deg = math.hypot(by_rays.deviation_deg, max(turned))
    print(
        f"rotation of key points: {float(angle_deg(of_keypoints, of_poses.rotation_12)):.1f} degrees from that of the "
        f"poses, standard deviation {deviation_deg:.1f}, of which the field of view {max(turned):.1f}",
        file=sys.stderr,
    )
    estimate = {
        "poses": of_poses.rotation_12.tolist(),
        "keypoints": of_keypoints.tolist(),
        "spread_deg": of_poses.spread_deg,
        "keypoints_deviation_deg": deviation_deg if math.isfinite(deviation_deg) else None,
        "field_of_view_deviation_deg": max(turned),
        "epipolar_error_percent": fitted.error_percent,
        "direction": by_rays.direction.tolist(),
        "cameras": [camera.model_dump() for camera in cameras],
        "samples": len(chosen),
    }
    write_json(rotations, {"estimates": {OWN_PAIR: estimate}})


def focal_extremes(left: KnownCamera, right: KnownCamera) -> list[tuple[float, float]]:
    """Factors on both cameras' focal lengths at the ends of what they may be: both alike, and each alone."""
    alike = [(left.least_focal, right.least_focal), (left.most_focal, right.most_focal)]
    alone = [(end, 1.0) for end in (left.least_focal, left.most_focal)]
    return [*alike, *alone, *((1.0, end) for end in (right.least_focal, right.most_focal))]


def chosen_pairs(count: int, settings: AdaptationSettings) -> Int[np.ndarray, " chosen"]:
    """The pairs to adapt on: the first so many, as published, or so many that are spread evenly over the footage."""
    if settings.spread_pairs:
        return np.unique(np.linspace(0, count - 1, min(settings.pairs, count)).round().astype(int))
    return np.arange(min(settings.pairs, count))


def disagreement(aligned: AlignedPoses, rotation_12: Float[Tensor, "3 3"]) -> float:
    """Mean distance |q1 R12 - q2| of the views' joints at the first view's size, in its bones 0-9: needs no label."""
    bone = torch.linalg.vector_norm(aligned.view_1[:, BONE[1]] - aligned.view_1[:, BONE[0]], dim=-1)
    apart = torch.linalg.vector_norm(aligned.view_1 @ rotation_12.to(aligned.view_1) - aligned.view_2, dim=-1)
    return float((apart / bone[:, None]).mean())


def calibrated_rotation(
    view_1: HandLabels, view_2: HandLabels, index_1: Int[np.ndarray, " pairs"], index_2: Int[np.ndarray, " pairs"]
) -> Float[Tensor, "3 3"]:
    """R12 = R_w2c,1 R_w2c,2^T of the pairs' calibrations, averaged; for measuring only."""
    r1, r2 = (
        torch.from_numpy(v.cam_from_world_rotation[i]).double() for v, i in ((view_1, index_1), (view_2, index_2))
    )
    return nearest_orthogonal((r1 @ r2.transpose(-1, -2)).mean(0))


def rotation_errors(samples: Sequence[HandLabels], pair: str, estimate: Mapping[str, Any]) -> dict[str, Any]:
    """Angles between a pair's estimates and its calibrated rotation."""
    views = views_of(samples, pair)
    truth = calibrated_rotation(*views, *pair_rows(*views))
    return {
        "calibrated": truth.tolist(),
        **{
            f"{name}_error_deg": float(angle_deg(torch.tensor(estimate[name], dtype=truth.dtype), truth))
            for name in HEADSET_ROTATIONS
        },
    }


def _released_rotations(path: Path, headset: str, pairs: Sequence[str]) -> dict[str, Tensor]:
    """R_pred of every pair from a file in R_config.json's layout: keys `set{0,1}-{a,b}` with 0-based cameras."""
    remedy, found = "name a file in R_config.json's layout in adaptation.rotations, or set it to null", {}
    for pair in pairs:
        key = f"set{headset_number(headset)}-{','.join(map(str, camera_numbers(pair)))}"
        found[pair] = torch.from_numpy(rotation_in(path, key, "R_pred", what=f"3x3 matrix {key}.R_pred", remedy=remedy))
    return found
