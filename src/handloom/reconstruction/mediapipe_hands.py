"""MediaPipe's landmark network as a hand estimator."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from handloom.estimators.mediapipe.hand_search import hands_in_boxes
from handloom.estimators.mediapipe.landmark_network import LandmarkNetwork
from handloom.estimators.mediapipe.upright_squares import TURNS, UprightSquares
from handloom.hand.joints import JOINT_COUNT, Side
from handloom.reconstruction.found_hands import FoundHands
from handloom.reconstruction.hand_squares import FIELD_OF_BOX, HandFrame, HandSquares
from handloom.runtime.config.mediapipe import MediapipeSettings


@dataclass(frozen=True)
class MediapipeEstimator:
    """MediaPipe's network on RGB crops turned upright; its score that there is a hand is every joint's confidence.

    It knows both hands, so none is mirrored: on 100 rendered hands of each side, shown as they are and mirrored, its
    score passes 0.5 in 93 to 97 % and its joints err alike (19 to 20 mm after similarity alignment). On 60 frames each
    of two rendered videos the key points err by 0.08 of the hand's extent (DetNet, which was trained on such pictures:
    0.14), the joints by 33 and 35 mm relative to the wrist (DetNet: 40 and 34), and the hand model laid onto them by 14
    and 18 mm (DetNet: 35 and 36).
    """

    network: LandmarkNetwork
    settings: MediapipeSettings

    @classmethod
    def of(
        cls, settings: MediapipeSettings, landmarks: Path | None = None, device: str = "cpu"
    ) -> "MediapipeEstimator":
        """The network of its .tflite file; raises InputError as `LandmarkNetwork.of` does."""
        return cls(LandmarkNetwork.of(Path(settings.landmarks) if landmarks is None else landmarks, device), settings)

    def __call__(self, frames: Sequence[HandFrame], squares: HandSquares, side: Side) -> FoundHands:
        centre = torch.from_numpy(squares.centre_px)
        sides = torch.from_numpy(squares.side_px) * (self.settings.field_of_box / FIELD_OF_BOX)
        upright = UprightSquares(centre, sides, torch.zeros_like(sides))
        rows = torch.arange(len(frames)).split(max(1, self.settings.batch_size // TURNS))
        found = [self._found([frames[row] for row in some.tolist()], upright.chosen(some)) for some in rows]
        joints, keypoints, presence, centres = (torch.cat(parts) for parts in zip(*found, strict=True))
        confidence = presence[:, None].expand(-1, JOINT_COUNT)
        return FoundHands(joints, keypoints, confidence, looked_at_px=centres)

    def _found(self, frames: Sequence[HandFrame], squares: UprightSquares) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Joints, key points, presence and centres of a few frames, whose pictures are in memory together."""
        pictures = [frame.picture(self.settings.blank) for frame in frames]
        hands = hands_in_boxes(
            self.network, pictures, squares, self.settings.refinements, batch_size=self.settings.batch_size
        )
        return hands.joints_m, hands.keypoints_px, hands.presence, hands.squares.centre_px
