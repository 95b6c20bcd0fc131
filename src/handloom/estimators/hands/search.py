"""The stage that finds the hand of every frame, whichever network looks.

A network's folder has a module `hands` with `find_hands = hand_search(load)`; the rule names that, so that the digest
of its code holds this network and no other.
"""

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int, UInt8
from torch import nn

from handloom.datasets.calibration import read_calibration
from handloom.datasets.frames import Frames, Picture, read_frames
from handloom.datasets.masks import BACKGROUND, LABEL_OF, OBJECT, mask_files
from handloom.estimators.hands import HandSearchSettings
from handloom.estimators.hands.boxes import read_boxes
from handloom.estimators.hands.found import UNKNOWN_SIDE, Answer, FoundHands, SearchedSide, of_side
from handloom.estimators.hands.held_hands import held_boxes, seen_weights
from handloom.estimators.hands.squares import Squares, box_squares, mask_boxes
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.hand.joints import BONE, SIDES, SNAP_FROM_MANO21, Side
from handloom.hand.mano import HandModel
from handloom.hand.models import configured_hand
from handloom.runtime.config.base import Settings
from handloom.runtime.devices import computing_on
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_grey, read_rgb

_SURELY_OTHER = 0.1
"""A hand whose score of being of a side is lower is surely of the other one; of real hands nearly all are sure."""
GREY = 128
"""The level in which pictures are painted where masks hide them."""


class HandFrame(NamedTuple):
    """A frame's picture and, if there is one, its mask of labels."""

    image: Path
    mask: Path | None = None
    side: Side | None = None
    """The hand that is looked at, where the mask may show two."""

    def picture(self, hide_others: bool = False) -> Picture:
        """The picture; what its mask shows to be background, object or the other hand is grey, if it should be hidden.

        Raises InputError for a mask of another size.
        """
        image = read_rgb(self.image)
        if self.mask is None or not hide_others:
            return image
        labels = read_grey(self.mask)
        if labels.shape != image.shape[:2]:
            raise InputError(
                f"{self.mask}: is {labels.shape}, but its frame is {image.shape[:2]}; make the masks again"
            )
        hidden = [BACKGROUND, OBJECT, *(LABEL_OF[side] for side in SIDES if self.side not in (None, side))]
        return np.where(np.isin(labels, hidden)[..., None], np.uint8(GREY), image)


class HandNetwork(ABC):
    """A network that answers squares of pictures with hands."""

    name: ClassVar[str]
    input_px: int
    field_of_box: ClassVar[float]
    """Side of the square it looks at first over that of the hand's box."""
    mirrors_left: ClassVar[bool]
    """Whether it knows right hands only, so that left ones are shown to it mirrored."""
    metric: ClassVar[bool]
    """Whether its joints are in metres; in bones 0-9 otherwise."""
    sure_score: ClassVar[float]
    """Of a hand that it is sure of, where the settings name none."""
    network: nn.Module

    @abstractmethod
    def answer(self, frames: Sequence[HandFrame], squares: Squares, side: Side) -> Answer:
        """The hands of the frames, one square each; every square is finite."""

    def search(self, frames: Sequence[HandFrame], side: SearchedSide) -> tuple[Int[np.ndarray, " hands"], Answer]:
        """The frames in which it finds a hand by itself, in order of time, and the hands; few networks can."""
        raise InputError(
            f"{self.name}: cannot find a hand in a whole picture; give the boxes of the hand (left_boxes, right_boxes)"
        )

    def cut(self, picture: Picture, squares: Squares, side: Side) -> UInt8[np.ndarray, "hands px px 3"]:
        """Crops as it is taught with; networks that only answer have none."""
        raise InputError(f"{self.name}: cannot be adapted; choose a network that learns")


def hand_search(
    load: Callable[[Path, Path | None, Any, HandModel, str], HandNetwork], settings: type[Settings]
) -> Callable[..., None]:
    """The stage `find_hands` of a network that `load` makes of its weights, a detector, settings, hand and device."""

    def find_hands(
        frames: Path,
        frames_json: Path,
        weights: Path,
        hands: Path,
        *,
        network: settings,  # type: ignore[valid-type]  # known when a network's module is imported
        search: HandSearchSettings,
        side: SearchedSide | tuple[Side, ...],
        where: str,
        detector: Path | None = None,
        masks: Path | None = None,
        boxes: Path | None = None,
        object_poses: Path | None = None,
        calibration: Path | None = None,
        hand: Path | None = None,
        field_of_view_deg: float | None = None,
        device: str = "cpu",
        threads: int | None = None,
        code: str = "",
    ) -> None:
        """Stage: write the hand of every frame, of a side or of each of several.

        It is looked for in the masks, else in the boxes, else in whole pictures; each of two hands that hold the object
        of `object_poses` at its place on that. Masks come with HOLD's camera, that of
        `object_poses`, and its joints get the size of the hand model `hand`; otherwise the camera is that of the file
        `calibration` or of the frames' list, else it looks through the picture's centre with `field_of_view_deg`. Of
        `auto` the side is the one that most hands are of. Raises InputError as `look` and the files' readers do.
        """
        hand_model = configured_hand(hand)
        listed = read_frames(frames, frames_json)
        labels = None if masks is None else mask_files(masks, listed)
        box_of = None if boxes is None else read_boxes(boxes, listed)
        thing = None if object_poses is None else ObjectPoses.load(object_poses)
        answers: dict[SearchedSide, tuple[Int[np.ndarray, " hands"], Answer]] = {}
        with computing_on(device, threads):
            finder = load(weights, detector, network, hand_model, device)
            sides: tuple[SearchedSide, ...] = (side,) if isinstance(side, str) else side
            for each in sides:
                one = None if each == "auto" else each
                pictures = [HandFrame(*f, one) for f in zip(listed.pictures, labels or repeat(None), strict=False)]
                if one is None or labels is None or len(sides) == 1:
                    answers[each] = look(finder, pictures, box_of, search, each, where)
                    continue
                held = None if thing is None else held_boxes(labels, one, thing)
                if held is not None:
                    held = np.where(np.isfinite(held), held, mask_boxes(labels, one, search.object_reach))
                rows, answer = look(finder, pictures, held, search, each, where)
                seen = seen_weights([labels[row] for row in rows.tolist()], answer.keypoints_px, one)
                answers[each] = rows, answer._replace(confidence=answer.confidence * seen)
        camera, distortion = None, None
        if thing is not None:
            camera = thing.intrinsics.astype(np.float64)
        elif calibration is not None:
            camera, distortion = read_calibration(calibration).of_pictures(listed.width_px, listed.height_px)
        elif field_of_view_deg is not None:
            camera = nominal_camera(listed, field_of_view_deg) if listed.intrinsics is None else listed.intrinsics
        bone_m = None if masks is None else nominal_bone_m(hand_model)
        hands_found: dict[Side, FoundHands] = {}
        for asked, (rows, answer) in answers.items():
            of_right = float(np.median(answer.handedness))
            shown: Side = asked if asked != "auto" else "right" if of_right >= UNKNOWN_SIDE else "left"
            found = FoundHands.of(
                *(answer, rows, len(listed), camera, bone_m),
                ray_share=search.ray_share,
                side=shown,
                network=finder.name,
                distortion=distortion,
            )
            if found.side_shown not in (None, shown):
                print(
                    f"{where}: a {shown} hand was asked for, but the pictures show a {found.side_shown} one "
                    f"(handedness {found.mean_handedness:.2f}, 1 is a right hand); check `side`, "
                    "and whether they are mirrored",
                    file=sys.stderr,
                )
            hands_found[shown] = found
        FoundHands.save_each(hands, hands_found, code=code)

    return find_hands


_ADVICE = {
    "masks": "check that the masks label the {hand} {label}, or set `side`",
    "boxes": "check the boxes",
    "pictures": "film the hand larger, brighter and without gloves, or give its boxes (left_boxes, right_boxes)",
}


def look(
    network: HandNetwork,
    frames: Sequence[HandFrame],
    boxes_px: Float64[np.ndarray, "frames 4"] | None,
    search: HandSearchSettings,
    side: SearchedSide,
    where: str,
) -> tuple[Int[np.ndarray, " hands"], Answer]:
    """The frames with a hand that the network is sure of, and these hands; the others are counted and listed.

    Raises InputError, naming `where`, when their share is below `least_hands`.
    """
    masks = [frame.mask for frame in frames if frame.mask is not None]
    told = "masks" if masks else "pictures" if boxes_px is None else "boxes"
    hand, label = ("hand", "") if side == "auto" else (f"{side} hand", LABEL_OF[side])

    def require(count: int, where: str) -> None:
        if not count or count < search.least_hands * len(frames):
            raise InputError(
                f"{where}: a {hand} in {count} of {len(frames)} frames looked at; expected a share of "
                f"{search.least_hands} (least_hands); {_ADVICE[told].format(hand=hand, label=label)}"
            )

    if masks and side != "auto" and boxes_px is None:
        boxes_px = mask_boxes(masks, side, search.object_reach)
    if boxes_px is None:
        rows, answer = network.search(frames, side)
    else:
        rows = np.flatnonzero(np.isfinite(boxes_px).all(1))
        require(len(rows), where)
        squares = box_squares(boxes_px[rows], network.field_of_box)
        answer = network.answer([frames[row] for row in rows.tolist()], squares, "right" if side == "auto" else side)
    least = network.sure_score if search.least_score is None else search.least_score
    sure = answer.confidence.mean(1) >= least
    if told == "pictures":
        sure &= ~of_other_hand(answer, side)
    rows, answer = rows[sure], answer.at(sure)
    require(len(rows), f"{where}, with a score of {least}")
    missing = sorted(set(range(len(frames))) - set(rows.tolist()))
    listed = f"; none in {', '.join(map(str, missing))}" if missing else ""
    score = answer.confidence.mean()
    print(f"{hand} found in {len(rows)} of {len(frames)} frames, mean score {score:.3f}{listed}", file=sys.stderr)
    return rows, answer


def of_other_hand(answer: Answer, side: SearchedSide) -> Bool[np.ndarray, " hands"]:
    """Hands that are surely of the other side, where most are surely of `side`: the search followed another hand."""
    scores = of_side(answer.handedness, side)
    mostly = len(scores) > 0 and float(np.median(scores)) >= 1 - _SURELY_OTHER
    return mostly & (scores <= _SURELY_OTHER)


def nominal_camera(listed: Frames, field_of_view_deg: float) -> Float64[np.ndarray, "3 3"]:
    """The camera that looks through its pictures' centre with that horizontal field of view: no calibration."""
    focal = listed.width_px / 2 / math.tan(math.radians(field_of_view_deg / 2))
    centre = (listed.width_px - 1) / 2, (listed.height_px - 1) / 2
    return np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]], dtype=np.float64)


def nominal_bone_m(hand_model: HandModel) -> float:
    """Length of the bone from wrist to middle finger of the model's mean shape, metres."""
    joints = (hand_model.J_regressor @ hand_model.v_template).double()
    wrist, middle_base = (joints[SNAP_FROM_MANO21[joint]] for joint in BONE)
    return float(torch.linalg.vector_norm(middle_base - wrist))
