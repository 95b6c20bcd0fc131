"""Points of many frames in one array, frame after frame; a frame may hold any number of them, even none."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

_APART_M = 1.0e3
"""How far frames are put from each other along a fourth axis: no nearest neighbour is ever of another frame."""


@dataclass(frozen=True)
class FramePoints:
    """Points in metres; frame t owns rows `starts[t]` to `starts[t + 1]`. A failed frame has no rows or NaN."""

    points_m: Float[np.ndarray, "points 3"]
    starts: Int[np.ndarray, " bounds"]

    @classmethod
    def of_equal_frames(cls, points_m: Float[np.ndarray, "frames points 3"]) -> "FramePoints":
        """The points of frames that all hold the same number."""
        frames, points = points_m.shape[:2]
        return cls(points_m.reshape(-1, 3).astype(np.float64), np.arange(frames + 1) * points)

    @classmethod
    def of_frames(cls, frames: Sequence[Float[np.ndarray, "_ 3"]]) -> "FramePoints":
        """The points of a list of frames."""
        starts = np.cumsum([0, *(len(points) for points in frames)])
        points = np.concatenate(frames) if frames else np.zeros((0, 3))
        return cls(points.astype(np.float64), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def counts(self) -> Int[np.ndarray, " frames"]:
        """How many points each frame has."""
        return np.diff(self.starts)

    @property
    def frame(self) -> Int[np.ndarray, " points"]:
        """The frame of every point."""
        return np.repeat(np.arange(len(self)), self.counts)

    @property
    def usable(self) -> Bool[np.ndarray, " frames"]:
        """Frames with at least one point and only finite ones."""
        broken = ~np.isfinite(self.points_m).all(axis=1)
        return (self.counts > 0) & (np.bincount(self.frame[broken], minlength=len(self)) == 0)

    def of(self, frame: int) -> Float[np.ndarray, "_ 3"]:
        """The points of one frame."""
        return self.points_m[self.starts[frame] : self.starts[frame + 1]]

    def minus(self, offsets_m: Float[np.ndarray, "frames 3"]) -> "FramePoints":
        """Every frame's points relative to its own offset."""
        return FramePoints(self.points_m - offsets_m[self.frame], self.starts)

    def only(self, chosen: Bool[np.ndarray, " frames"]) -> "FramePoints":
        """The same number of frames, but those not chosen are left without points."""
        return FramePoints(
            self.points_m[chosen[self.frame]], np.concatenate([[0], np.cumsum(np.where(chosen, self.counts, 0))])
        )

    def bounding_box_centres_m(self) -> Float[np.ndarray, "frames 3"]:
        """Middle of each frame's axis-aligned bounding box, HOLD's root of an object; NaN for a frame not usable."""
        centres = np.full((len(self), 3), np.nan)
        usable = self.usable
        if usable.any():
            kept = self.only(usable)
            first = kept.starts[:-1][usable]
            low, high = (reduce.reduceat(kept.points_m, first, axis=0) for reduce in (np.minimum, np.maximum))
            centres[usable] = (low + high) / 2
        return centres


def nearest_distances_m(points: FramePoints, others: FramePoints) -> Float[np.ndarray, " points"]:
    """Distance of every point to the nearest point of `others` in the same frame; frames must be usable in both."""
    tree = cKDTree(_with_frame(others))
    distances, _ = tree.query(_with_frame(points))
    return np.asarray(distances, dtype=np.float64)


def _with_frame(points: FramePoints) -> Float[np.ndarray, "points 4"]:
    return np.column_stack([points.points_m, points.frame * _APART_M])
