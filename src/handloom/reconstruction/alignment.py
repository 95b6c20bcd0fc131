"""Stage: hand and object in one camera frame, in metres."""

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from handloom.datasets.numbered_pictures import numbered_pictures
from handloom.estimators.hands.found import FoundHands
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.hand.models import configured_hand
from handloom.reconstruction.gradient_alignment import align_by_gradient
from handloom.reconstruction.grasp_alignment import align_grasp
from handloom.reconstruction.tracks import Grasp, HandPoses, SequencePoses
from handloom.runtime.config.hold_stages import AlignmentSettings
from handloom.runtime.errors import InputError
from handloom.runtime.files import write_table


def align_hand_object(
    hand_poses: Path,
    object_poses: Path,
    estimates: Path,
    masks: Path,
    aligned: Path,
    history: Path,
    *,
    alignment: AlignmentSettings,
    seed: int,
    hand: Path | None = None,
    code: str = "",
) -> None:
    """Stage: hand and object together (aligned.npz), and every iteration's losses as a table.

    `faithful` follows HOLD's three runs of Adam; `fixed` see `grasp_alignment`: there the masks (one PNG of labels per
    frame) tell how large the hand looks, which its key points may underestimate. Raises InputError for files that do
    not belong together and for an alignment that is not finite.
    """
    poses, thing, seen = HandPoses.load(hand_poses), ObjectPoses.load(object_poses), FoundHands.load(estimates)
    labels, frames = numbered_pictures(masks), len(poses.found)
    lengths = {hand_poses: frames, object_poses: len(thing.registered), estimates: len(seen.found), masks: len(labels)}
    if len(set(lengths.values())) > 1:
        counts = {str(path): length for path, length in lengths.items()}
        raise InputError(
            f"the numbers of frames differ: {counts}; they come from different videos, run the rules again"
        )
    if not len(thing.points_object):
        raise InputError(
            f"{object_poses}: holds no object points, expected some hundreds; the object needs more texture"
        )
    rows: list[dict[str, Any]] = []
    grasp: Grasp | None
    model = configured_hand(hand)
    if alignment.fidelity == "faithful":
        track, placed = align_by_gradient(model, poses, thing, seen, rows)
        grasp = None
    else:
        track, placed, grasp = align_grasp(alignment, model, poses, thing, seen, rows, labels)
    found = SequencePoses.of(track.to(torch.float64), placed.to(torch.float64), model.side, grasp)
    if not all(bool(value.isfinite().all()) for value in (*vars(found.hand).values(), *vars(found.object).values())):
        raise InputError(
            f"{aligned.name}: the alignment is not finite, expected numbers; look at {hand_poses} and {object_poses}, "
            "their overlays show which of them is wrong"
        )
    print(f"aligned {frames} frames, {float(placed.scale):.4g} m per SfM unit, grasp: {grasp}", file=sys.stderr)
    write_table(history, pd.DataFrame(rows))
    found.save(aligned, seed=seed, code=code)
