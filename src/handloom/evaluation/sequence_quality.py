"""How well each stage of HOLD did on a video, from the files it left, and what to film or set better.

No annotation is needed: shares of frames, distances in the image, and sides of the object that the camera saw.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, UInt8

from handloom.datasets.frames import read_frames
from handloom.datasets.masks import BACKGROUND, LABEL_OF, OBJECT, labels_at, read_masks
from handloom.estimators.hands.found import UNKNOWN_SIDE, FoundHands, of_side
from handloom.estimators.masks.corrected_masks import hand_reach
from handloom.estimators.masks.voted_shape import strayed_shares
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.estimators.sfm.seams import SURE_LINK_SHARE, advice_for, in_words
from handloom.evaluation.quality_limits import EXCHANGED, FAIR, GOOD, LIMITS, POOR, UNKNOWN, Limits
from handloom.evaluation.table import Block, Cell, ColumnHead, Row, Table
from handloom.geometry.camera import project
from handloom.geometry.neighbours import NeighbourSearch
from handloom.geometry.surfaces import sphere_directions
from handloom.hand.forearm import WRIST_SHARE, lengths_behind_wrist
from handloom.hand.joints import MIDDLE_BASE, WRIST, Side
from handloom.hand.mano import HandModel, SkinnedHand
from handloom.hand.models import HandFiles, configured_hands, require_sides
from handloom.reconstruction.shape.object_shape import ObjectShape
from handloom.reconstruction.tracks import SequencePoses
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_table, write_table

COLUMNS = ("sequence", "stage", "measure", "value", "unit", "good", "fair", "verdict", "frames", "advice")
_SHOWN = ("stage", "measure", "value", "good", "verdict", "advice", "frames")
UNHARMED = "no fault seen"
"""In the place of good, of a measure that is as high where the stage failed in a usual way."""
_LISTED = 12
"""Frames named of a measure: a cell of the table holds no more."""
_SEEN_WITHIN_DEG = 30.0
"""Of a surface seen from farther aside, SfM finds few features."""
_DIRECTIONS = 400
"""Directions that the sides seen are counted in: a quarter of a percent each."""
_NEAREST_M = 1e-6
"""What is projected lies farther away: a point in the camera's own plane would divide by zero."""
_NO_HAND = 0.1
"""Of a hand's reach: less is no hand."""
_OFF_SHARE = 0.25
"""A key point farther from the network's than this share of the hand's extent in the image is off."""


class _Found(NamedTuple):
    value: float
    """NaN where it is not known."""
    bad: Bool[np.ndarray, " frames"] | None = None
    """Frames to look at."""
    advice: str | None = None
    """What helps here, in place of what usually does."""
    blind: str | None = None
    """What failure it cannot see here, in place of what it usually cannot."""


def write_sequence_quality(
    frames_json: Path,
    frames: Path,
    masks: Path,
    object_poses: Path,
    hand_estimates: Path,
    aligned: Path,
    shape: Path,
    table: Path,
    *,
    sequence: str,
    hand: HandFiles = None,
) -> None:
    """Stage: one row a measure: its value, the limits, the verdict, frames that fail, what to film or set better.

    Of two hands those that are of a hand have a row for each. What is not good is printed as well. Raises InputError
    for files that do not fit together.
    """
    taken = read_frames(frames, frames_json)
    names, labels = taken.names, read_masks(masks, taken)
    poses, found_hands = ObjectPoses.load(object_poses), FoundHands.load_each(hand_estimates)
    placed, models = SequencePoses.load_each(aligned), configured_hands(hand)
    lengths = [(object_poses, len(poses.registered))]
    lengths += [(hand_estimates, len(each.found)) for each in found_hands.values()]
    lengths += [(aligned, len(each.hand_rotvec)) for each in placed.values()]
    if {length for _, length in lengths} != {len(names)}:
        counts = {str(path): length for path, length in lengths}
        raise InputError(
            f"{frames_json}: lists {len(names)} frames, but the stages after it have {counts}; run them again"
        )
    require_sides(hand_estimates, found_hands, models)
    require_sides(aligned, placed, models)
    found: dict[str, _Found | dict[Side, _Found]] = {
        "frames": _Found(float(len(names))),
        **_of_masks(labels),
        **_of_strayed_masks(labels, poses),
        **_of_object_poses(poses, names),
        "object's size, how unsure": _of_size(next(iter(placed.values())), sequence),
        **_of_shape(ObjectShape.load(shape)),
    }
    of_hands = {side: _of_hand(placed[side], poses, found_hands[side], labels, model) for side, model in models.items()}
    for name in next(iter(of_hands.values())):
        found[name] = {side: each[name] for side, each in of_hands.items()}
    rows = pd.DataFrame([row for limits in LIMITS for row in _rows(sequence, limits, found[limits.measure], names)])
    if len(found_hands) > 1:
        exchanged = _row(sequence, EXCHANGED, _of_exchange(*found_hands.values()), names)
        rows = pd.concat([rows, pd.DataFrame([exchanged])], ignore_index=True)
    write_table(table, rows[list(COLUMNS)])
    for row in rows[rows["verdict"].isin([FAIR, POOR])].itertuples():
        value = f"{row.value:g} {row.unit}".strip()
        print(f"{sequence}: {row.measure} {value} is {row.verdict}; {row.advice}")
    fine = rows["verdict"].isin([GOOD, UNHARMED]).sum()
    print(f"{sequence}: {fine} of {len(rows)} measures are good, as far as they can see")


def _rows(
    sequence: str, limits: Limits, found: _Found | dict[Side, _Found], names: tuple[str, ...]
) -> list[dict[str, Any]]:
    """The row of a measure, or one for each of two hands."""
    if isinstance(found, _Found):
        return [_row(sequence, limits, found, names)]
    if len(found) == 1:
        return [_row(sequence, limits, each, names) for each in found.values()]
    named = {side: limits._replace(measure=f"{limits.measure}, {side}") for side in found}
    return [_row(sequence, named[side], each, names) for side, each in found.items()]


def _row(sequence: str, limits: Limits, found: _Found, names: tuple[str, ...]) -> dict[str, Any]:
    verdict = limits.verdict(found.value)
    advice = "" if verdict in (GOOD, UNKNOWN) else found.advice or limits.advice
    if verdict == GOOD and (blind := found.blind or limits.blind):
        verdict, advice = UNHARMED, f"cannot see {blind}"
    bad = [] if found.bad is None else [Path(names[frame]).stem for frame in np.flatnonzero(found.bad)]
    word = "at least" if limits.good >= limits.fair else "at most"
    return {
        **{name: value for name, value in limits._asdict().items() if name != "blind"},
        "sequence": sequence,
        "value": round(found.value, 3),
        "good": f"{word} {limits.good:g}",
        "fair": f"{word} {limits.fair:g}",
        "verdict": verdict,
        "frames": " ".join(bad[:_LISTED]) + (f" ... ({len(bad)} in all)" if len(bad) > _LISTED else ""),
        "advice": advice,
    }


def _of_masks(labels: UInt8[np.ndarray, "frames height width"]) -> dict[str, _Found]:
    thing = labels == OBJECT
    has_object = thing.any((1, 2))
    sides = _extent(thing.any(1)).astype(float), _extent(thing.any(2)).astype(float)
    cut = thing[:, [0, -1]].any((1, 2)) | thing[:, :, [0, -1]].any((1, 2))
    return {
        "frames with the object": _share(has_object),
        "object's side in the image": _Found(_median(np.maximum(*sides)[has_object])),
        "frames with the object cut off": _Found(100 * float(cut.mean()), cut),
    }


def _of_strayed_masks(labels: UInt8[np.ndarray, "frames height width"], poses: ObjectPoses) -> dict[str, _Found]:
    """What of the masks contradicts the object's poses, in the tenth worst of the frames."""
    shares = strayed_shares(labels, poses)
    return {
        name: _of_strays(name, each)
        for name, each in zip(("object's mask beyond its shape", "object's shape without mask"), shares, strict=True)
    }


def _of_strays(measure: str, shares: Float[np.ndarray, " frames"]) -> _Found:
    limit = next(each.good for each in LIMITS if each.measure == measure) / 100
    return _Found(100 * _upper(shares), np.nan_to_num(shares) > limit)


def _of_stray_hand(labels: UInt8[np.ndarray, "frames height width"], hands: FoundHands) -> _Found:
    """What of its mask lies beyond a hand that was placed; the forearm does not count: masks may have it or not."""
    beyond_hand = np.full(len(labels), np.nan)
    row, column = (torch.arange(side, dtype=torch.float64) for side in labels.shape[1:])
    for frame, mask in enumerate(labels == LABEL_OF[hands.side]):
        reach = hand_reach(hands, frame, *mask.shape)
        if reach is not None and mask.any():
            wrist, middle = torch.from_numpy(hands.keypoints_px[frame, [WRIST, MIDDLE_BASE]]).double()
            forearm = lengths_behind_wrist(wrist, middle, row, column).numpy() > WRIST_SHARE
            beyond_hand[frame] = (mask & (reach < _NO_HAND) & ~forearm).sum() / mask.sum()
    return _of_strays("hand's mask beyond the hand", beyond_hand)


def _of_object_poses(poses: ObjectPoses, names: Sequence[str]) -> dict[str, _Found]:
    features = np.nan if poses.median_features is None else float(poses.median_features)
    return {
        "frames registered": _share(poses.registered),
        **_of_seams(poses, names),
        "reprojection error": _Found(poses.reprojection_px, blind=_focal_blindness(poses)),
        "features in the median frame": _Found(features),
        "points of the object": _Found(float(len(poses.points_object))),
        "sides of the object seen": _Found(100 * sides_seen(poses.cam_from_object[poses.posed], poses.points_object)),
    }


def _focal_blindness(poses: ObjectPoses) -> str | None:
    """What a small reprojection error does not tell of a camera that nobody gave."""
    if poses.focal_guess is None:
        return None
    return (
        f"poses that are wrong together, a wrong focal length: {poses.intrinsics[0, 0]:.0f} px was estimated from "
        f"{poses.focal_guess}; whoever knows the camera sets camera_px"
    )


def _of_seams(poses: ObjectPoses, names: Sequence[str]) -> dict[str, _Found]:
    """The cuts, with the frames beside them, and the weakest seam that was kept; NaN of poses that were not judged."""
    cuts, share = poses.cuts, poses.link_share
    weak, weakest = None, float("nan")
    if share is not None and (kept := poses.registered & np.isfinite(share)).any():
        inner = kept & (np.cumsum(poses.registered[::-1])[::-1] > 1)
        weakest = 100 * float(share[inner].min()) if inner.any() else weakest
        weak = inner & (share < SURE_LINK_SHARE)
    if cuts is None:
        return {"places where it fell apart": _Found(float("nan")), "weakest seam": _Found(weakest, weak)}
    beside = np.zeros(len(poses.registered), bool)
    beside[[frame for cut in cuts for frame in (cut.before, cut.after)]] = True
    words = "; ".join(in_words(cut, [Path(name).stem for name in names]) for cut in cuts)
    advice = f"{words}: {advice_for(cuts)}; frames outside the largest part are left out" if cuts else None
    return {
        "places where it fell apart": _Found(float(len(cuts)), beside, advice),
        "weakest seam": _Found(weakest, weak),
    }


def sides_seen(cam_from_object: Float[np.ndarray, "frames 4 4"], points_object: Float[np.ndarray, "points 3"]) -> float:
    """Share of all directions from the object's centre with a camera within 30 degrees of them, in some frame."""
    rotation, translation = cam_from_object[:, :3, :3], cam_from_object[:, :3, 3]
    cameras = -np.einsum("fji,fj->fi", rotation, translation) - np.median(points_object, 0)
    views = cameras / np.maximum(np.linalg.norm(cameras, axis=1, keepdims=True), 1e-12)
    nearest = (sphere_directions(_DIRECTIONS) @ views.T).max(1)
    return float((nearest >= np.cos(np.deg2rad(_SEEN_WITHIN_DEG))).mean())


def _of_hand(
    placed: SequencePoses,
    poses: ObjectPoses,
    hands: FoundHands,
    labels: UInt8[np.ndarray, "frames height width"],
    model: HandModel,
) -> dict[str, _Found]:
    """All measures of one hand."""
    posed = placed.hand.to(torch.float32).skinned(model)
    keypoints_px = project(posed.keypoints_m.double().numpy(), poses.intrinsics, _NEAREST_M)
    return {
        "frames with the hand": _share((labels == LABEL_OF[model.side]).any((1, 2))),
        "hand's mask beyond the hand": _of_stray_hand(labels, replace(hands, keypoints_px=keypoints_px)),
        **_of_hands(hands),
        **_of_alignment(placed, poses, hands, labels, posed, keypoints_px),
    }


def _of_exchange(right: FoundHands, left: FoundHands) -> _Found:
    """Frames in which two hands fit their last places better when they are exchanged.

    Each hand is where its label of the mask is, and a mask that follows the other hand from some frame on jumps there.
    """
    first, second = (each.keypoints_px.mean(1) for each in (right, left))
    exchanged = np.zeros(len(first), bool)
    seen = np.flatnonzero(np.isfinite(first).all(1) & np.isfinite(second).all(1))
    for last, now in pairwise(seen.tolist()):
        kept = np.linalg.norm([first[now] - first[last], second[now] - second[last]], axis=1).sum()
        changed = np.linalg.norm([first[now] - second[last], second[now] - first[last]], axis=1).sum()
        exchanged[now] = changed < kept / 2
    return _Found(float(exchanged.sum()), exchanged)


def _of_hands(hands: FoundHands) -> dict[str, _Found]:
    seen = hands.found
    return {
        "frames with a hand": _share(seen),
        "the network's confidence": _Found(_median(hands.confidence[seen].mean(1))),
        "frames that show the named side": _of_named_side(hands),
        "hand's side in the image": _Found(_median(_hand_side_px(hands)[seen])),
    }


def _of_named_side(hands: FoundHands) -> _Found:
    """The share of hands that the network takes for the side they were looked for as; NaN if it cannot tell."""
    if not (hands.handedness[hands.found] != UNKNOWN_SIDE).any():
        return _Found(float("nan"))
    fits = of_side(hands.handedness, hands.side) >= UNKNOWN_SIDE
    return _Found(100 * float(fits[hands.found].mean()), hands.found & ~fits)


def _hand_side_px(hands: FoundHands) -> Float[np.ndarray, " frames"]:
    points = hands.keypoints_px
    return np.asarray((points.max(1) - points.min(1)).max(1), float)


def _of_alignment(
    aligned: SequencePoses,
    poses: ObjectPoses,
    hands: FoundHands,
    labels: UInt8[np.ndarray, "frames height width"],
    posed: SkinnedHand,
    keypoints_px: Float[np.ndarray, "frames 21 2"],
) -> dict[str, _Found]:
    seen = hands.found
    distance = np.linalg.norm(keypoints_px[seen] - hands.keypoints_px[seen], axis=-1)
    frame_off = np.full(len(labels), np.nan)
    frame_off[seen] = np.median(distance / np.maximum(_hand_side_px(hands)[seen], 1.0)[:, None], 1)
    points = aligned.object.to(torch.float64).placed(torch.from_numpy(poses.points_object).double()).numpy()
    on_image = project(points, poses.intrinsics, _NEAREST_M)
    return {
        "model's key points off the network's": _Found(100 * _median(frame_off[seen]), frame_off > _OFF_SHARE),
        "key points on the hand or the object": _Found(100 * _inside(keypoints_px, labels)),
        "object's points inside the masks": _Found(100 * _inside(on_image, labels)),
        "hand's distance to the object": _Found(1000 * _median(_nearest_m(posed.vertices_m.numpy(), points))),
    }


def _of_size(placed: SequencePoses, sequence: str) -> _Found:
    """The standard deviation of the object's scale in percent; NaN where the alignment tells none."""
    if placed.size_deviation is None or placed.object_extent_m is None:
        return _Found(float("nan"))
    sure = 100 * placed.size_deviation
    return _Found(
        sure,
        advice=f"{1000 * placed.object_extent_m:.0f} mm across, +- {sure:.0f} % (one standard deviation), by a mean "
        "hand: measure the largest distance between two points of the object and set "
        f"hold.sequences.{sequence}.object_size_m",
    )


def _of_shape(shape: ObjectShape) -> dict[str, _Found]:
    return {
        "object's pixels with a confirmed depth": _Found(100 * shape.confirmed_share),
        "hull seen as hand and as object": _Found(100 * shape.carved_share),
        "surface never seen": _Found(100 * shape.unseen_share),
    }


def _inside(pixels: Float[np.ndarray, "frames points 2"], labels: UInt8[np.ndarray, "frames height width"]) -> float:
    """Share of the image points that lie on a hand or on the object; those outside of the image do not."""
    return float(np.mean([labels_at(*each) > BACKGROUND for each in zip(labels, pixels, strict=True)]))


def _nearest_m(hand: Float[np.ndarray, "frames vertices 3"], thing: np.ndarray) -> Float[np.ndarray, " frames"]:
    """The least distance between the hand's vertices and the object's points in each frame."""
    surface, points = torch.from_numpy(hand).float(), torch.from_numpy(thing).float()
    squared = NeighbourSearch(surface).nearest(points, 1).squared_distance
    return np.asarray(squared[..., 0].amin(1).sqrt(), float)


def _extent(seen: Bool[np.ndarray, "frames length"]) -> np.ndarray:
    """Last index minus first index plus one of the true entries, 0 without any."""
    length = seen.shape[1]
    span = length - seen[:, ::-1].argmax(1) - seen.argmax(1)
    return np.where(seen.any(1), span, 0)


def _share(good: Bool[np.ndarray, " frames"]) -> _Found:
    return _Found(100 * float(good.mean()), ~good)


def _upper(values: np.ndarray) -> float:
    """The 90 % quantile of what is known."""
    known = values[~np.isnan(values)]
    return float(np.quantile(known, 0.9)) if len(known) else float("nan")


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def write_hold_quality(tables: Sequence[Path], csv: Path, html: Path) -> None:
    """Stage: gather sequences' `quality.csv` into one table; raises InputError for a file that is none."""
    frame = pd.concat([read_table(path, COLUMNS) for path in tables], ignore_index=True)
    frame[["unit", "frames", "advice"]] = frame[["unit", "frames", "advice"]].fillna("")
    Table(
        title="How well each stage of HOLD did",
        frame=frame,
        blocks=[_block(str(sequence), rows) for sequence, rows in frame.groupby("sequence", sort=False)],
        explanation="No annotation is needed for these. Frames are those to look at, by the names they came with.",
    ).write(csv, html=html)


def _block(sequence: str, frame: pd.DataFrame) -> Block:
    """A sequence, with how many measures got each verdict."""
    counts = ", ".join(f"{(frame['verdict'] == name).sum()} {name}" for name in (GOOD, UNHARMED, FAIR, POOR, UNKNOWN))
    heads = [ColumnHead(name, text=name != "value") for name in _SHOWN]
    rows = [Row([_cell(row, name) for name in _SHOWN]) for row in frame.to_dict("records")]
    return Block(heads, rows, sequence, counts)


def _cell(row: Mapping[Hashable, Any], name: str) -> Cell:
    if name == "value":
        return Cell("-" if pd.isna(row["value"]) else f"{row['value']:g} {row['unit']}")
    return Cell(str(row[name]), style=str(row[name]) if name == "verdict" else "")
