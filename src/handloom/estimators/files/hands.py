"""The stage that takes the hand of every frame from files, in whose squares a network may learn."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64, Int

from handloom.datasets.calibration import read_calibration
from handloom.datasets.files_of_frames import Match, rows_of_frames
from handloom.datasets.frames import Frames, read_frames
from handloom.datasets.masks import mask_files
from handloom.estimators.files import MATCH_SETTING, FileHandsSettings
from handloom.estimators.files.hand_files import read_tool_hands
from handloom.estimators.files.plausible_hands import (
    require_hands,
    require_on_masks,
    require_size,
    share_on_mask,
)
from handloom.estimators.files.tool_hands import ToolHands, ToolJoints
from handloom.estimators.hands import HandSearchSettings
from handloom.estimators.hands.found import UNKNOWN_SIDE, Answer, FoundHands, certain
from handloom.estimators.hands.search import nominal_camera
from handloom.estimators.hands.squares import Squares, box_squares
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.hand.joints import Side
from handloom.hand.models import configured_hand
from handloom.runtime.errors import InputError, listed

_SAME_SHAPE = 0.01
_ON_MASK = 0.3
"""A hand with a smaller share of its key points on hand or object is another one."""
_SIDE_ADVICE = (
    "name the files of the hand that is looked at, or the hand that they tell of (a sequence's hands, a camera pair's "
    "side); there is no need to mirror the video"
)


def hands_of_files(squares_about: Callable[[Float[np.ndarray, "hands 21 2"]], Squares]) -> Callable[..., None]:
    """The stage `find_hands` that reads files; later stages cut the squares that `squares_about` lays about hands."""

    def find_hands(
        frames: Path,
        frames_json: Path,
        given: Path,
        hands: Path,
        *,
        network: FileHandsSettings,
        search: HandSearchSettings,
        side: Side | tuple[Side, ...],
        where: str,
        masks: Path | None = None,
        object_poses: Path | None = None,
        calibration: Path | None = None,
        hand: Path | None = None,
        field_of_view_deg: float | None = None,
        device: str = "cpu",
        code: str = "",
    ) -> None:
        """Stage: write the hand of every frame that the files of `given` tell of, matched by its picture's name.

        The camera is that of `object_poses`, else of `calibration`, else of the frames' list, else it looks through the
        picture's centre with `field_of_view_deg`. Hands keep the size that the tool gave them. Raises InputError as the
        files' readers do, for hands that are implausible, and when fewer frames than `least_hands` have one.
        """
        listed_frames = read_frames(frames, frames_json)

        def hands_of(side: Side) -> FoundHands:
            told = read_tool_hands(given, side, _SIDE_ADVICE)
            rows_of = _rows_of_frames(told, listed_frames, network.match)
            found_rows = np.flatnonzero(told.given)
            if not len(found_rows):
                raise InputError(f"{given}: holds no {side} hand with finite numbers; run the tool again")
            told = told.at(found_rows)
            posed = _in_frames(
                told.of_model(configured_hand(hand)), told, listed_frames, where, masked=masks is not None
            )
            require_hands(told.where, posed.joints_m, posed.keypoints_px, side)
            place_of = {row: place for place, row in enumerate(found_rows.tolist())}
            candidates = {frame: [place_of[row] for row in rows if row in place_of] for frame, rows in rows_of.items()}
            labels = None if masks is None else mask_files(masks, listed_frames)
            chosen = _chosen(told.where, posed.keypoints_px, candidates, listed_frames, labels, side)
            rows, picks = np.array(list(chosen), int), np.array(list(chosen.values()), int)
            missing = [name for frame, name in enumerate(listed_frames.names) if frame not in chosen]
            if not len(rows) or len(rows) < search.least_hands * len(listed_frames):
                raise InputError(
                    f"{where}: {given} tells of a {side} hand in {len(rows)} of {len(listed_frames)} frames; expected "
                    f"a share of {search.least_hands} (least_hands); none in {listed(missing)}"
                )
            unfound = f"; none in {listed(missing)}" if missing else ""
            print(f"hand taken from {given} in {len(rows)} of {len(listed_frames)} frames{unfound}", file=sys.stderr)
            if object_poses is not None:
                camera, lens = ObjectPoses.load(object_poses).intrinsics.astype(np.float64), None
            elif calibration is not None:
                camera, lens = read_calibration(calibration).of_pictures(*listed_frames.size_px)
            elif listed_frames.intrinsics is not None:
                camera, lens = listed_frames.intrinsics, None
            elif field_of_view_deg is not None:
                camera, lens = nominal_camera(listed_frames, field_of_view_deg), None
            else:
                raise InputError(f"{where}: no camera is known, which hands from files need")
            keypoints = posed.keypoints_px[picks]
            crops = about_box(keypoints)
            if told.box_px is not None:
                boxes = _scaled(told.box_px[picks].reshape(-1, 2, 2), told, listed_frames).reshape(-1, 4)
                crops = box_squares(boxes, field_of_box=1.0)
            of_right = 1.0 if side == "right" else 0.0
            answer = Answer(
                crops,
                keypoints,
                posed.joints_m[picks],
                certain(np.ones(len(rows))),
                presence=np.ones(len(rows)),
                handedness=np.full(len(rows), of_right if told.tells_side else UNKNOWN_SIDE),
                vertices=None if posed.vertices_m is None else posed.vertices_m[picks],
            )
            found = FoundHands.of(
                *(answer, rows, len(listed_frames), camera, None),
                ray_share=search.ray_share,
                side=side,
                network="files",
                distortion=lens,
            )
            squares = _spread(squares_about(keypoints), rows, len(listed_frames))
            return replace(found, centre_px=squares.centre_px, side_px=squares.side_px, angle_rad=squares.angle_rad)

        sides: tuple[Side, ...] = (side,) if isinstance(side, str) else side
        FoundHands.save_each(hands, {each: hands_of(each) for each in sides}, code=code)

    return find_hands


def require_planned_hands(given: Path, side: Side, match: Match, planned: Frames | None, *, with_mano: bool) -> None:
    """Raise InputError for files that are none of such hands, as far as they tell without a hand model and masks.

    `planned` are the frames to come; None of a video, which nobody has counted.
    """
    told = read_tool_hands(given, side, _SIDE_ADVICE)
    if planned is not None:
        _rows_of_frames(told, planned, match)
    if not with_mano and told.needs_mano:
        raise InputError(f"{told.where}: {told.needs_mano}")
    told = told.at(told.given)
    if len(told) and told.joints_m is not None:
        keypoints = told.keypoints_px
        if keypoints is None:
            assert told.camera is not None
            keypoints = told.camera.project(told.joints_m)
        require_hands(told.where, told.joints_m, keypoints, side)
    elif len(told) and told.vertices_m is not None:
        require_size(told.where, told.vertices_m)


def _in_frames(posed: ToolJoints, told: ToolHands, frames: Frames, where: str, *, masked: bool) -> ToolJoints:
    """The hands with key points in the frames' pixels."""
    if told.size_px is None and not masked:
        raise InputError(
            f"{where}: {told.where} does not tell the size of its pictures, and no mask shows whether they are these; "
            "save img_size (width, height), or put HOLD's images/ beside processed/"
        )
    if told.size_px is not None:
        (width, height), shown = told.size_px, f"{frames.width_px} x {frames.height_px}"
        if abs(width * frames.height_px - height * frames.width_px) > _SAME_SHAPE * height * frames.width_px:
            raise InputError(
                f"{told.where}: is of pictures of {width} x {height} pixels, but the frames have {shown}, another "
                "shape; run the tool on the pictures of this sequence"
            )
    return posed._replace(keypoints_px=_scaled(posed.keypoints_px, told, frames))


def _scaled(points_px: Float64[np.ndarray, "hands points 2"], told: ToolHands, frames: Frames) -> np.ndarray:
    """Points of the tool's pictures in those of the frames, which may have been made smaller."""
    if told.size_px is None:
        return points_px
    return (points_px + 0.5) * (np.array(frames.size_px) / told.size_px) - 0.5


def _rows_of_frames(told: ToolHands, frames: Frames, match: Match) -> dict[int, list[int]]:
    """Of each frame that the files tell of the rows of its hands, in the frames' order."""
    if not told.pictures:
        if len(told) != len(frames):
            raise InputError(
                f"{told.where}: has {len(told)} rows without pictures' names, but there are {len(frames)} frames; use "
                "the pictures that HOLD used (first, every, most), or put its crop_image/ beside the file"
            )
        print(f"{told.where}: its rows name no pictures; the nth is taken for the nth frame", file=sys.stderr)
        return {row: [row] for row in range(len(frames))}
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(told.pictures):
        rows_of.setdefault(name, []).append(row)
    pictures = list(rows_of)
    matched = rows_of_frames(told.where, pictures, frames, match, MATCH_SETTING)
    return {frame: rows_of[pictures[row]] for frame, row in sorted(matched.items())}


def _chosen(
    where: Path,
    keypoints_px: Float64[np.ndarray, "hands 21 2"],
    candidates: dict[int, list[int]],
    frames: Frames,
    labels: Sequence[Path] | None,
    side: Side,
) -> dict[int, int]:
    """One hand of each frame that has some: the one that lies where its mask shows the hand.

    Raises InputError for several hands without a mask, and where most of the hands lie elsewhere.
    """
    chosen, shares, off = {}, [], []
    for frame, places in candidates.items():
        if not places:
            continue
        on_mask = None if labels is None else share_on_mask(labels[frame], keypoints_px[places], side)
        if on_mask is None and len(places) > 1:
            raise InputError(
                f"{where}: tells of {len(places)} {side} hands in frame {frames.names[frame]}, and nothing shows which "
                "is meant; keep one of them"
            )
        best = 0 if on_mask is None else int(np.argmax(on_mask))
        if on_mask is not None:
            shares.append(float(on_mask[best]))
        if on_mask is not None and on_mask[best] < _ON_MASK:
            off.append(frames.names[frame])
        else:
            chosen[frame] = places[best]
    require_on_masks(where, shares, side)
    if off:
        print(f"{where}: {len(off)} hands are left out, far from the mask's: {listed(off)}", file=sys.stderr)
    return chosen


def _spread(squares: Squares, rows: Int[np.ndarray, " hands"], frames: int) -> Squares:
    """Squares of some frames as those of all, NaN in the others."""
    spread = Squares(*(np.full((frames, *values.shape[1:]), np.nan) for values in squares))
    for of_all, values in zip(spread, squares, strict=True):
        of_all[rows] = values
    return spread


def about_box(keypoints_px: Float[np.ndarray, "hands 21 2"]) -> Squares:
    """Upright squares about key points, as networks without a convention of their own cut them."""
    return box_squares(np.hstack([keypoints_px.min(1), keypoints_px.max(1)]))


find_hands = hands_of_files(about_box)
