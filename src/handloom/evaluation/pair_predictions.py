"""What is scored: the poses that a network predicts for the pairs of two cameras, and their ground truth.

Only arrays are read here, so that the jobs that score and draw need not import torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from handloom.datasets.views import ViewSamples, pair_samples
from handloom.evaluation.alignment import AlignedPoses, bone_length, place_on_ground_truth
from handloom.runtime.artifacts import read_arrays
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json

SOURCE, SOURCE_RAYS = "source", "source_rays"
START_OF = {SOURCE: "published", SOURCE_RAYS: "single"}
"""The first rotation that each variant of the source network merges its views with."""
_AGAIN = "run the rule that makes it again"


@dataclass(frozen=True)
class PairPredictions:
    """Poses of the pairs of two cameras in network units and the true camera frames, left hands un-mirrored."""

    pair: str  # 1-based camera numbers, as in `1-3`
    variant: str  # source, source_rays, s2dhand or s2dhand_sync
    seed: int | None  # None for the source network
    rotation_12: Float[np.ndarray, "3 3"]  # what Dual-M merges the views with
    rows: Int[np.ndarray, "pairs 2"]  # rows of the two cameras' samples
    joints: Float[np.ndarray, "pairs 2 21 3"]


@dataclass(frozen=True)
class PairTruth:
    """The annotated poses of the pairs of two cameras, and the calibrated rotation between these."""

    joints_cam_m: Float[np.ndarray, "pairs 2 21 3"]
    valid: Float[np.ndarray, "pairs 2 21"]
    rotation_12: Float[np.ndarray, "3 3"]


def cameras_of(pair: str) -> tuple[int, int]:
    """The 0-based cameras of a pair: `1-3` is (0, 2)."""
    first, _, second = pair.partition("-")
    return int(first) - 1, int(second) - 1


def views_of(views: Sequence[ViewSamples], pair: str) -> tuple[ViewSamples, ViewSamples]:
    """The two cameras of a pair among a headset's four."""
    first, second = cameras_of(pair)
    return views[first], views[second]


def load_pair_predictions(path: Path, root_joint: int) -> PairPredictions:
    """Read a `pair_predictions` artifact.

    Raises InputError for a file of another kind or root joint, or one whose poses are not finite: a diverged network.
    """
    arrays, header = read_arrays(path, "pair_predictions")
    _check_root(path, header.extra.get("root_joint"), root_joint)
    lacking = {"joints", "rotation_12", "index_1", "index_2"} - arrays.keys()
    if lacking or not {"pair", "variant"} <= header.extra.keys():
        raise InputError(f"{path}: lacks {sorted(lacking) or 'pair or variant'}; {_AGAIN}")
    predictions = PairPredictions(
        pair=header.extra["pair"],
        variant=header.extra["variant"],
        seed=header.seed,
        rotation_12=arrays["rotation_12"].astype(np.float64),
        rows=np.stack([arrays["index_1"], arrays["index_2"]], axis=1).astype(np.int64),
        joints=arrays["joints"],
    )
    _check_finite(path, predictions.joints, f"pair {predictions.pair}")
    return predictions


def source_pair_predictions(
    source_predictions: Path,
    rotations: Path,
    views: Sequence[ViewSamples],
    pair: str,
    root_joint: int,
    variant: str = SOURCE,
) -> PairPredictions:
    """The source network's poses of one pair with a first rotation R(0) of its own.

    `source`, the baseline, has the published estimate; `source_rays` has the one that S2DHand starts from, for which
    poses were turned by their viewing rays: what it gains on the baseline is not adaptation's.
    Raises InputError as `load_pair_predictions` does, and for a pair without a rotation.
    """
    arrays, header = read_arrays(source_predictions, "source_predictions")
    _check_root(source_predictions, header.extra.get("root_joint"), root_joint)
    rows = np.stack(pair_samples(*views_of(views, pair)), axis=1)
    joints = []
    for view, camera in enumerate(cameras_of(pair)):
        found = arrays.get(f"joints_camera{camera + 1}")
        if found is None or len(found) != len(views[camera]):
            raise InputError(
                f"{source_predictions}: has {0 if found is None else len(found)} poses of camera {camera + 1}, but "
                f"{len(views[camera])} hands were cropped; {_AGAIN}"
            )
        joints.append(found[rows[:, view]])
    stacked = np.stack(joints, axis=1)
    _check_finite(source_predictions, stacked, f"pair {pair}")
    try:
        rotation = np.array(read_json(rotations)["estimates"][pair][START_OF[variant]], dtype=np.float64).reshape(3, 3)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{rotations}: has no {START_OF[variant]} 3x3 rotation of pair {pair} ({error}); {_AGAIN}"
        ) from error
    if not (np.abs(rotation.T @ rotation - np.eye(3)).max() < 1e-3 and np.linalg.det(rotation) > 0):
        raise InputError(f"{rotations}: the {START_OF[variant]} rotation of pair {pair} is not a rotation; {_AGAIN}")
    return PairPredictions(pair=pair, variant=variant, seed=None, rotation_12=rotation, rows=rows, joints=stacked)


def pair_truth(views: tuple[ViewSamples, ViewSamples], rows: Int[np.ndarray, "pairs 2"]) -> PairTruth:
    """The annotations of the given rows; the rotation is `R_w2c,1 R_w2c,2^T`, averaged over the pairs."""

    def column(name: str) -> np.ndarray:
        return np.stack([getattr(view, name)[rows[:, number]] for number, view in enumerate(views)], axis=1)

    cameras = column("cam_from_world_rotation").astype(np.float64)
    u, _, vt = np.linalg.svd((cameras[:, 0] @ np.swapaxes(cameras[:, 1], -1, -2)).mean(axis=0))
    rotation = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    return PairTruth(column("joints_cam_m").astype(np.float64), column("joint_valid").astype(np.float64), rotation)


def align(predictions: PairPredictions, truth: PairTruth, root_joint: int) -> AlignedPoses:
    """The predictions placed on their ground truth, in millimetres; raises InputError for a hand without a bone 0-9."""
    if not (bone_length(predictions.joints) > 0).all():
        raise InputError(
            f"pair {predictions.pair}, {predictions.variant}: a predicted hand has no size (joints 0 and 9 coincide), "
            "so it cannot be scaled; the network is broken, train it again"
        )
    return place_on_ground_truth(predictions.joints, truth.joints_cam_m, root_joint)


def _check_root(path: Path, found: str | None, expected: int) -> None:
    if found != str(expected):
        raise InputError(f"{path}: was made with root joint {found}, but {expected} was expected; {_AGAIN}")


def _check_finite(path: Path, joints: np.ndarray, where: str) -> None:
    broken = ~np.isfinite(joints).all(axis=(1, 2, 3))
    if broken.any():
        raise InputError(
            f"{path}: poses of {int(broken.sum())} of {len(joints)} hands ({where}) are not finite: the network "
            "diverged; lower adaptation.learning_rate and adapt again"
        )
