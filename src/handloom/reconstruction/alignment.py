"""Stage: hand and object in one camera frame, in metres."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from handloom.datasets.numbered_pictures import numbered_pictures
from handloom.estimators.hands.found import FoundHands
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.hand.models import configured_hand, require_side
from handloom.reconstruction.gradient_alignment import align_by_gradient
from handloom.reconstruction.grasp_alignment import Holding, align_grasp
from handloom.reconstruction.object_size import POINTS_DEVIATION, largest_extent
from handloom.reconstruction.tracks import HandPoses, SequencePoses
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
    object_size_m: float | None = None,
    seed: int,
    hand: Path | None = None,
    code: str = "",
) -> None:
    """Stage: hand and object together (aligned.npz), and every iteration's losses as a table.

    `faithful` follows HOLD's three runs of Adam; `fixed` see `grasp_alignment`: there the masks (one PNG of labels per
    frame) tell how large the hand looks, which its key points may underestimate, and a known `object_size_m`, the
    largest distance between two points of the object, fixes the scale by that between two points of structure from
    motion. Raises InputError for files that do not belong together and for an alignment that is not finite.
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
    extent = largest_extent(thing.points_object)
    rows: list[dict[str, Any]] = []
    holding: Holding | None
    model = configured_hand(hand)
    require_side(hand_poses, poses.side, model)
    if alignment.fidelity == "faithful":
        track, placed = align_by_gradient(model, poses, thing, seen, rows)
        holding = None
    else:
        if object_size_m is not None:
            if extent <= 0:
                raise InputError(
                    f"{object_poses}: all {len(thing.points_object)} object points are at one place, expected some "
                    "hundreds apart, that object_size_m could be the size of; the object needs more texture"
                )
            alignment = alignment.model_copy(update={"object_scale": object_size_m / extent})
        track, placed, holding = align_grasp(alignment, model, poses, thing, seen, rows, labels)
        if object_size_m is not None:
            holding = holding._replace(size_deviation=POINTS_DEVIATION)
    found = SequencePoses.of(track.to(torch.float64), placed.to(torch.float64), model.side)
    extent_m = float(placed.scale) * extent
    if holding is not None:
        found = replace(found, object_extent_m=extent_m, **holding._asdict())
    if not all(bool(value.isfinite().all()) for value in (*vars(found.hand).values(), *vars(found.object).values())):
        raise InputError(
            f"{aligned.name}: the alignment is not finite, expected numbers; look at {hand_poses} and {object_poses}, "
            "their overlays show which of them is wrong"
        )
    grasp = "grasp not asked for" if holding is None else f"grasp: {holding.grasp}"
    sure = "" if holding is None else f" +- {100 * holding.size_deviation:.0f} %"
    print(
        f"aligned {frames} frames, {float(placed.scale):.4g} m per SfM unit, the object {extent_m:.3g} m{sure} across, "
        f"{grasp}",
        file=sys.stderr,
    )
    write_table(history, pd.DataFrame(rows))
    found.save(aligned, seed=seed, code=code)
