"""MediaPipe's networks on frames: joints in upright squares, whose direction is known, tried, or found by palms."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from handloom.estimators.hands.crops import Cut, CutBoxes, annotated_crops, found_crops
from handloom.estimators.hands.found import UNKNOWN_SIDE, Answer, SearchedSide, certain, joined, of_side
from handloom.estimators.hands.search import HandFrame, HandNetwork, hand_search
from handloom.estimators.hands.squares import (
    Picture,
    Squares,
    box_squares,
    crop_of_each,
    crops_of,
    in_picture,
    picture_axes_from_crop,
)
from handloom.estimators.mediapipe import MediapipeSettings
from handloom.estimators.mediapipe.landmark_network import INPUT_PX, LandmarkNetwork
from handloom.estimators.mediapipe.palm_detector import PalmDetector
from handloom.estimators.mediapipe.regions import squares_about_keypoints
from handloom.estimators.mediapipe.tflite_network import network_input
from handloom.hand.joints import Side
from handloom.hand.mano import HandModel
from handloom.runtime.errors import InputError
from handloom.runtime.progress import progress

_TURNS = 4
"""Directions that are tried for a hand of unknown direction: the network still knows one that is 45 degrees off."""
_FRAMES_AT_ONCE = 4  # each in four directions: for memory
_LOST = 0.5
"""A second look that leaves less than so much of a hand's presence has lost it."""
_SAME_HAND_SIDES = 0.5
"""Centres of the same hand in consecutive frames are nearer than so many sides of its square."""
_SURE_OF_FAINT = 0.9
"""Presence of a hand that stands for a palm which the detector is not sure of."""
_OTHER_SIDE = 0.1
"""A hand of the other side still counts so much: its handedness may be misjudged, and it may be the only one."""
_CLEAR = 0.3
"""Handedness so far from the middle tells the side of a single picture."""


class MediaPipeHands(HandNetwork):
    """The landmark network; its score that there is a hand is every joint's confidence.

    It knows both hands, so none is mirrored: on 100 rendered hands of each side, shown as they are and mirrored, its
    score passes 0.5 in 93 to 97 % and its joints err alike (19 to 20 mm after similarity alignment). On 60 frames each
    of two rendered videos the key points err by 0.08 of the hand's extent (DetNet, which was trained on such pictures:
    0.14), the joints by 33 and 35 mm relative to the wrist (DetNet: 40 and 34), and the hand model laid onto them by 14
    and 18 mm (DetNet: 35 and 36).
    """

    name, input_px, field_of_box, mirrors_left, metric, sure_score = "mediapipe", INPUT_PX, 1.6, False, True, 0.5

    network: LandmarkNetwork

    def __init__(self, network: LandmarkNetwork, palms: PalmDetector | None = None) -> None:
        self.network, self.palms = network, palms

    def answer(self, frames: Sequence[HandFrame], squares: Squares, side: Side) -> Answer:
        """Four directions are tried and the likeliest is kept; then it looks again, upright about its key points."""
        answers = []
        for first in range(0, len(frames), _FRAMES_AT_ONCE):
            rows = np.arange(first, min(first + _FRAMES_AT_ONCE, len(frames)))
            answers.append(self._upright([frames[row].picture() for row in rows.tolist()], squares.at(rows)))
        return joined(answers)

    def search(self, frames: Sequence[HandFrame], side: SearchedSide) -> tuple[Int[np.ndarray, " hands"], Answer]:
        """About the key points of the frame before, else about the palms that are found, the likeliest hand of `side`.

        Palms are looked for as well while the hand before looks like one of the other side. Every hand is looked at
        once more, in the square about its own key points.
        """
        if self.palms is None:
            raise InputError("mediapipe: finding hands in whole pictures needs its palm detector; name its file")
        rows, answers = [], []
        before: Squares | None = None
        for row, frame in enumerate(progress(frames, "find hands")):
            picture = frame.picture()
            seen = [] if before is None else [self._sure(picture, before)]
            if not any((of_side(answer.handedness, side) >= UNKNOWN_SIDE).any() for answer in seen):
                palms = self.palms.detect(picture)
                if len(palms.score):
                    seen.append(self._sure(picture, palms.squares(), faint=palms.faint))
            found = _likeliest(joined(seen), before, side)
            before = None if found is None else squares_about_keypoints(found.keypoints_px)
            if before is not None:
                rows.append(row)
                answers.append(self._seen([picture], before))
                side = _first_side(answers[-1]) if side == "auto" else side
        return np.array(rows, dtype=np.int64), joined(answers)

    def cut(self, picture: Picture, squares: Squares, side: Side) -> UInt8[np.ndarray, "hands px px 3"]:
        """RGB crops; beyond the picture its edge goes on."""
        return crops_of(picture, squares, self.input_px)

    def cut_boxes(
        self,
        picture: UInt8[np.ndarray, "height width"],
        boxes_px: Float[np.ndarray, "hands 4"],
        is_left: Bool[np.ndarray, " hands"],
    ) -> Cut:
        """The hands of an annotated data set, whose direction it finds itself."""
        colour = np.repeat(picture[..., None], 3, axis=2)
        squares = box_squares(boxes_px, self.field_of_box)
        squares = self._upright([colour] * len(boxes_px), squares).squares
        return Cut(
            crops_of(colour, squares, self.input_px),
            picture_axes_from_crop(squares),
            squares.centre_px,
            squares.side_px,
        )

    def _upright(self, pictures: Sequence[Picture], squares: Squares) -> Answer:
        """The likeliest of four directions, and a second look, unless the hand is much less likely there."""
        found = self._seen([picture for picture in pictures for _ in range(_TURNS)], squares.turned(_TURNS))
        best = found.presence.reshape(-1, _TURNS).argmax(1) + _TURNS * np.arange(len(pictures))
        found = found.at(best)
        again = self._seen(pictures, squares_about_keypoints(found.keypoints_px))
        lost = again.presence < _LOST * found.presence
        return joined([(found if bad else again).at(np.array([row])) for row, bad in enumerate(lost.tolist())])

    def _sure(self, picture: Picture, squares: Squares, faint: Bool[np.ndarray, " hands"] | None = None) -> Answer:
        """The hands in some squares of a picture that it is sure of; of faint palms it must be surer."""
        found = self._seen([picture] * len(squares.side_px), squares)
        least = self.sure_score if faint is None else np.where(faint, _SURE_OF_FAINT, self.sure_score)
        return found.at(found.presence >= least)

    @torch.no_grad()
    def _seen(self, pictures: Sequence[Picture], squares: Squares) -> Answer:
        """One pass of the network over one square of each picture."""
        crops = torch.from_numpy(crop_of_each(pictures, squares, self.input_px))
        seen = self.network(network_input(crops.to(next(self.network.parameters()).device)))
        keypoints, presence, handedness, joints_m = (values.cpu().double().numpy() for values in seen)
        return Answer(
            squares,
            in_picture(keypoints[..., :2] - 0.5, squares, self.input_px),  # pixel centres at whole numbers
            joints_m @ picture_axes_from_crop(squares).swapaxes(1, 2),
            certain(presence),
            presence,
            handedness,
        )


def _likeliest(found: Answer, before: Squares | None, side: SearchedSide) -> Answer | None:
    """The likeliest of some hands, if there are any: of `side`, and near the one before."""
    if not len(found.presence):
        return None
    score = found.presence * (_OTHER_SIDE + of_side(found.handedness, side))
    if before is not None:
        moved = np.linalg.norm(found.squares.centre_px - before.centre_px, axis=1)
        score = score * (1 + 2 * (moved < _SAME_HAND_SIDES * before.side_px))
    return found.at(np.array([score.argmax()]))


def _first_side(answer: Answer) -> SearchedSide:
    """The side of a hand that is clearly of one; auto otherwise."""
    handedness = float(answer.handedness[0])
    return "auto" if abs(handedness - UNKNOWN_SIDE) < _CLEAR else "right" if handedness > UNKNOWN_SIDE else "left"


def load(
    weights: Path, detector: Path | None, settings: MediapipeSettings, hand_model: HandModel, device: str
) -> MediaPipeHands:
    """The networks of two .tflite files; raises InputError as their readers do."""
    palms = None if detector is None else PalmDetector.of(detector, device)
    return MediaPipeHands(LandmarkNetwork.of(weights, device), palms)


def _cutter(weights: Path | None, input_px: int, device: str) -> CutBoxes:
    if weights is None:
        raise InputError("mediapipe: crops need the landmark network's file")
    return MediaPipeHands(LandmarkNetwork.of(weights, device)).cut_boxes


find_hands = hand_search(load, MediapipeSettings)
crop_views = annotated_crops("mediapipe", _cutter)
crop_pairs = found_crops(lambda weights, device: MediaPipeHands(LandmarkNetwork.of(weights, device)))
