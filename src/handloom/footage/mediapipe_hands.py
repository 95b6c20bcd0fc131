"""The hand of each frame by MediaPipe's networks: palms are detected where the hand before was lost."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from handloom.estimators.mediapipe.hand_search import landmarks_in_crops
from handloom.estimators.mediapipe.landmark_network import LandmarkNetwork
from handloom.estimators.mediapipe.palm_detector import PalmDetector
from handloom.estimators.mediapipe.upright_squares import (
    UprightSquares,
    in_image,
    square_crops,
    squares_about_keypoints,
    turned,
)
from handloom.footage.crops import MEDIAPIPE_PX, cut_crops
from handloom.footage.seen_hands import SeenHands
from handloom.hand.joints import JOINT_COUNT, Side
from handloom.reconstruction.hand_squares import FIELD_OF_BOX
from handloom.runtime.images import read_rgb
from handloom.runtime.progress import progress

_SAME_HAND_SIDES = 0.5
"""Centres of the same hand in consecutive frames are nearer than so many sides of its square."""


@dataclass(frozen=True)
class MediaPipeFinder:
    """The landmark network about the key points of the frame before, else about the palms that the detector finds.

    Every hand is looked at once more, in the square about its own key points. With boxes, no palm is looked for.
    """

    network: LandmarkNetwork
    palms: PalmDetector
    least_presence: float

    @classmethod
    def of(cls, landmarks: Path, palms: Path, least_presence: float, device: str) -> "MediaPipeFinder":
        """The networks of two .tflite files; raises InputError as their readers do."""
        return cls(LandmarkNetwork.of(landmarks, device), PalmDetector.of(palms, device), least_presence)

    def __call__(self, images: Sequence[Path], boxes_px: Float[np.ndarray, "frames 4"] | None, side: Side) -> SeenHands:
        """The hand of each picture; of several hands the one that goes on from before, else the likeliest of `side`."""
        keypoints: dict[int, Tensor] = {}
        before: UprightSquares | None = None
        for row, path in enumerate(progress(images, "find hands")):
            box = None if boxes_px is None else boxes_px[row]
            found = self._first_look(read_rgb(path), box, before, side)
            before = None if found is None else squares_about_keypoints(found)
            if found is not None:
                keypoints[row] = found
        return self._second_look(images, keypoints)

    def _first_look(
        self,
        image: UInt8[np.ndarray, "height width 3"],
        box_px: Float[np.ndarray, "4"] | None,
        before: UprightSquares | None,
        side: Side,
    ) -> Float[Tensor, "1 21 2"] | None:
        if box_px is not None:
            return None if np.isnan(box_px).any() else self._best(image, turned(_square_about(box_px)), None, side)
        if before is not None:
            found = self._best(image, before, None, side)
            if found is not None:
                return found
        palms = self.palms.detect(image)
        return self._best(image, palms.squares(), before, side) if len(palms.score) else None

    def _best(
        self,
        image: UInt8[np.ndarray, "height width 3"],
        squares: UprightSquares,
        before: UprightSquares | None,
        side: Side,
    ) -> Float[Tensor, "1 21 2"] | None:
        """Key points of the likeliest hand in some squares of a picture."""
        answer = landmarks_in_crops(self.network, square_crops(image, squares, MEDIAPIPE_PX))
        right = answer.handedness if side == "right" else 1 - answer.handedness
        score = answer.presence * (1 + right)
        if before is not None:
            moved = torch.linalg.vector_norm(squares.centre_px - before.centre_px, dim=1)
            score = score * (1 + 2 * (moved < _SAME_HAND_SIDES * before.side_px))
        score = torch.where(answer.presence >= self.least_presence, score, -1.0)
        best = score.argmax()[None]
        if score[best] < 0:
            return None
        keypoints = answer.keypoints_crop_px[best, :, :2].double()
        return in_image(keypoints, squares.chosen(best), MEDIAPIPE_PX)

    def _second_look(self, images: Sequence[Path], keypoints: dict[int, Tensor]) -> SeenHands:
        seen = SeenHands.none(len(images))
        if not keypoints:
            return seen
        rows = np.array(sorted(keypoints))
        squares = squares_about_keypoints(torch.cat([keypoints[row] for row in rows.tolist()]))
        answer = landmarks_in_crops(
            self.network, cut_crops([images[row] for row in rows.tolist()], squares, MEDIAPIPE_PX)
        )
        placed = in_image(answer.keypoints_crop_px[..., :2], squares, MEDIAPIPE_PX)
        sure = answer.presence >= self.least_presence
        values = {
            "presence": answer.presence,
            "handedness": answer.handedness,
            "keypoints_px": placed,
            "joints": answer.joints_m,
            "confidence": answer.presence[:, None].expand(-1, JOINT_COUNT),
        }
        chosen = {name: value[sure].numpy() for name, value in values.items()}
        seen.fill(rows[sure.numpy()], squares.chosen(sure), **chosen)
        return seen


def _square_about(box_px: Float[np.ndarray, "4"]) -> UprightSquares:
    low, high = torch.from_numpy(box_px[:2]).double(), torch.from_numpy(box_px[2:]).double()
    side = (FIELD_OF_BOX * (high - low).max())[None]
    return UprightSquares((low + high)[None] / 2, side, torch.zeros(1, dtype=torch.float64))
