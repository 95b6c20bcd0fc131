"""What a network sees in a view's frames, before it is turned into the camera's axes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from handloom.estimators.mediapipe.upright_squares import UprightSquares
from handloom.hand.joints import Side


@dataclass(frozen=True)
class SeenHands:
    """One row per frame; NaN, or 0 for scores, where there is no hand."""

    found: Bool[np.ndarray, " frames"]
    centre_px: Float[np.ndarray, "frames 2"]
    side_px: Float[np.ndarray, " frames"]
    angle_rad: Float[np.ndarray, " frames"]
    presence: Float[np.ndarray, " frames"]
    handedness: Float[np.ndarray, " frames"]
    keypoints_px: Float[np.ndarray, "frames 21 2"]
    joints: Float[np.ndarray, "frames 21 3"]
    """In the network's axes."""
    confidence: Float[np.ndarray, "frames 21"]

    @classmethod
    def none(cls, frames: int) -> "SeenHands":
        """No hand in any frame."""

        def nothing(*shape: int) -> np.ndarray:
            return np.full((frames, *shape), np.nan)

        return cls(
            found=np.zeros(frames, bool),
            centre_px=nothing(2),
            side_px=nothing(),
            angle_rad=nothing(),
            presence=np.zeros(frames),
            handedness=np.full(frames, 0.5),
            keypoints_px=nothing(21, 2),
            joints=nothing(21, 3),
            confidence=np.zeros((frames, 21)),
        )

    def fill(self, rows: np.ndarray, squares: UprightSquares, **values: np.ndarray) -> None:
        """Put hands into some rows."""
        self.found[rows] = True
        for name, value in zip(("centre_px", "side_px", "angle_rad"), squares, strict=True):
            getattr(self, name)[rows] = value.numpy()
        for name, found in values.items():
            getattr(self, name)[rows] = found


@runtime_checkable
class HandFinder(Protocol):
    """A network that looks for one hand in each frame, with or without boxes."""

    def __call__(self, images: Sequence[Path], boxes_px: Float[np.ndarray, "frames 4"] | None, side: Side) -> SeenHands:
        """The hand of each picture; frames are in the order of time."""
