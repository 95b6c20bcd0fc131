"""Predictions in the layout of the HANDS'24 challenge AssemblyHands-S2D, whose test split has no public labels.

One JSON file of all camera pairs: `annotations` -> "CAMERA_1+CAMERA_2" -> sequence -> camera -> frame -> 21 joints, as
`gen_submit_json.py` of ut-vision/S2DHand_HANDS2024 writes it.
"""

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from handloom.adaptation.pair_predictions import PairPredictions
from handloom.datasets.assembly_hands import views_of
from handloom.datasets.views import HandCrops
from handloom.evaluation.headset_scores import load_pair_predictions
from handloom.evaluation.pose_metrics import merge_views, nominal_poses
from handloom.runtime.files import write_json

VERSION = "eccv24-v1.0"
"""Of the layout, as its own files state it."""
_DECIMALS = 4


def write_submission(crops: Sequence[Path], predictions: Sequence[Path], submission: Path) -> None:
    """Stage: write both views' poses of every pair of hands, merged by the pair's rotation, into one file.

    Joints are in SNAP order, in millimetres along the camera's axes, relative to the root joint, with bone 0-9 of
    nominal length: the challenge aligns them with the truth. `crops` are those of cameras 1, 2, ... of each headset;
    they and the predictions lie in folders of the headset's name. The layout has one hand a frame: of two the left one
    stays, as in the published script, and how many were dropped is told on stderr. Raises InputError for poses that are
    not finite.
    """
    cameras: dict[str, list[HandCrops]] = defaultdict(list)
    for path in crops:
        cameras[path.parent.name].append(HandCrops.load(path))
    annotations: dict[str, Any] = {}
    hands = 0
    for path in predictions:
        headset = next(name for name in cameras if name in path.parts)
        network = load_pair_predictions(path)
        views = views_of(cameras[headset], network.pair)
        annotations["+".join(view.camera for view in views)] = pair_entry(network, views)
        hands += network.joints[:, :, 0, 0].size
    written = sum(
        len(frames) for pair in annotations.values() for sequence in pair.values() for frames in sequence.values()
    )
    print(
        f"{written} poses of {len(annotations)} pairs; {hands - written} more of a frame's other hand", file=sys.stderr
    )
    write_json(submission, {"info": {"description": "AssemblyHands", "version": VERSION}, "annotations": annotations})


def pair_entry(network: PairPredictions, views: tuple[HandCrops, HandCrops]) -> dict[str, Any]:
    """sequence -> camera -> frame -> 21 joints of one camera pair; the frame is its number, without zeros before it."""
    poses_mm = nominal_poses(network.joints, network.root_joint)
    merged_mm = merge_views(poses_mm, np.ones(poses_mm.shape[:-1]), network.rotation_12)
    entry: dict[str, Any] = {}
    for (row_1, row_2), both in zip(network.rows.tolist(), merged_mm.round(_DECIMALS).tolist(), strict=True):
        for view, row, joints in zip(views, (row_1, row_2), both, strict=True):
            frames = entry.setdefault(str(view.sequence[row]), {}).setdefault(view.camera, {})
            frames[str(int(view.frame[row]))] = joints
    return entry
