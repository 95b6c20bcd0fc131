"""Stage: hands and object in one camera frame, in metres."""

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from handloom.datasets.numbered_pictures import numbered_pictures
from handloom.estimators.hands.found import FoundHands
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.hand.joints import Side
from handloom.hand.mano import HandModel
from handloom.hand.models import HandFiles, configured_hands, require_sides
from handloom.reconstruction.gradient_alignment import align_by_gradient
from handloom.reconstruction.grasp_alignment import align_grasp
from handloom.reconstruction.object_size import POINTS_DEVIATION, agreed_size, largest_extent, points_within_masks
from handloom.reconstruction.tracks import Grasp, HandPoses, HandTrack, ObjectTrack, SequencePoses
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
    hand: HandFiles = None,
    code: str = "",
) -> None:
    """Stage: hands and object together (aligned.npz), and every iteration's losses as a table.

    `faithful` follows HOLD's three runs of Adam; `fixed` see `grasp_alignment`: there the masks (one PNG of labels per
    frame) tell how large the hand looks, which its key points may underestimate, and a known `object_size_m`, the
    largest distance between two points of the object, fixes the scale by that between two points of structure from
    motion. Two hands are aligned each alone, then once more at the size of the object that they agree on. Raises
    InputError for files that do not belong together and for an alignment that is not finite.
    """
    poses, seen = HandPoses.load_each(hand_poses), FoundHands.load_each(estimates)
    thing, labels, models = ObjectPoses.load(object_poses), numbered_pictures(masks), configured_hands(hand)
    require_sides(hand_poses, poses, models)
    require_sides(estimates, seen, models)
    frames = len(thing.registered)
    lengths = [(object_poses, frames), (masks, len(labels))]
    lengths += [(hand_poses, len(each.found)) for each in poses.values()]
    lengths += [(estimates, len(each.found)) for each in seen.values()]
    if len({length for _, length in lengths}) > 1:
        counts = {str(path): length for path, length in lengths}
        raise InputError(
            f"the numbers of frames differ: {counts}; they come from different videos, run the rules again"
        )
    if not len(thing.points_object):
        raise InputError(
            f"{object_poses}: holds no object points, expected some hundreds; the object needs more texture"
        )
    extent = largest_extent(points_within_masks(thing, labels))
    rows: list[dict[str, Any]] = []
    if alignment.fidelity == "fixed" and object_size_m is not None:
        if extent <= 0:
            raise InputError(
                f"{object_poses}: all {len(thing.points_object)} object points are at one place, expected some "
                "hundreds apart, that object_size_m could be the size of; the object needs more texture"
            )
        alignment = alignment.model_copy(update={"object_scale": object_size_m / extent})

    def each_aligned(settings: AlignmentSettings) -> dict[Side, _Aligned]:
        return {
            side: _aligned(settings, model, poses[side], thing, seen[side], labels, rows, alone=len(models) == 1)
            for side, model in models.items()
        }

    found = each_aligned(alignment)
    deviation = POINTS_DEVIATION if object_size_m is not None else None
    if len(found) > 1 and alignment.object_scale is None:
        scales, unsure = zip(*((float(each.thing.scale), each.size_deviation) for each in found.values()), strict=True)
        scale, deviation = agreed_size(scales, unsure)
        told = ", ".join(f"{side} {each:.4g}" for side, each in zip(found, scales, strict=True))
        print(f"metres per SfM unit by each hand: {told}; taken {scale:.4g}", file=sys.stderr)
        found = each_aligned(alignment.model_copy(update={"object_scale": scale}))
    placed = {side: each.poses(extent, deviation) for side, each in found.items()}
    for each in placed.values():
        if not all(bool(value.isfinite().all()) for value in (*vars(each.hand).values(), *vars(each.object).values())):
            raise InputError(
                f"{aligned.name}: the alignment is not finite, expected numbers; look at {hand_poses} and "
                f"{object_poses}, their overlays show which of them is wrong"
            )
        grasp = "grasp not asked for" if each.grasp is None else f"grasp: {each.grasp}"
        sure = "" if each.size_deviation is None else f" +- {100 * each.size_deviation:.0f} %"
        print(
            f"aligned {frames} frames of the {each.side} hand, {float(each.object_scale):.4g} m per SfM unit, the "
            f"object {extent * float(each.object_scale):.3g} m{sure} across, {grasp}",
            file=sys.stderr,
        )
    write_table(history, pd.DataFrame(rows))
    SequencePoses.save_each(aligned, placed, seed=seed, code=code)


class _Aligned(NamedTuple):
    side: Side
    hand: HandTrack
    thing: ObjectTrack
    grasp: Grasp | None
    size_deviation: float

    def poses(self, extent: float, deviation: float | None) -> SequencePoses:
        """What the file holds; `deviation` in place of this hand's own."""
        found = SequencePoses.of(self.hand.to(torch.float64), self.thing.to(torch.float64), self.side)
        if self.grasp is None:
            return found
        own = self.size_deviation if deviation is None else deviation
        extent_m = float(self.thing.scale) * extent
        return replace(found, object_extent_m=extent_m, grasp=self.grasp, size_deviation=own)


def _aligned(
    settings: AlignmentSettings,
    model: HandModel,
    poses: HandPoses,
    thing: ObjectPoses,
    seen: FoundHands,
    masks: Sequence[Path],
    rows: list[dict[str, Any]],
    *,
    alone: bool,
) -> _Aligned:
    """One hand and the object; `rows` get the losses, and the hand's side where it is not alone."""
    own: list[dict[str, Any]] = []
    if settings.fidelity == "faithful":
        found = _Aligned(model.side, *align_by_gradient(model, poses, thing, seen, own), None, math.nan)
    else:
        track, placed, holding = align_grasp(settings, model, poses, thing, seen, own, masks)
        found = _Aligned(model.side, track, placed, *holding)
    rows += own if alone else [{"hand": model.side, **row} for row in own]
    return found
