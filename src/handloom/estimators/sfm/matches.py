"""Spots of the object in the frames, and which of them are one spot of its surface: what poses are computed from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from handloom.runtime.artifacts import Artifact

# Two frames are apart if a quarter of their matches moved farther than this; what stayed then is not the object.
_MOVED_PX, _MOVED_SHARE = 5.0, 0.25
_STILL_PX = 1.2
# A spot that stood still in so many pairs, and in most of its pairs, is the background's.
_STILL_PAIRS = 2


@dataclass(frozen=True)
class Matches(Artifact, kind="object_matches", units="px"):
    """Spots in the order of their frames, and pairs of spots, the earlier frame's first.

    Pixels are handloom's: the centre of the first one is (0, 0).
    """

    frame: Int[np.ndarray, " spots"]
    pixel: Float[np.ndarray, "spots 2"]
    pairs: Int[np.ndarray, "matches 2"]

    @classmethod
    def of_frames(
        cls, pixels: Sequence[Float[np.ndarray, "_ 2"]], matched: dict[tuple[int, int], Int[np.ndarray, "_ 2"]]
    ) -> "Matches":
        """From each frame's spots, and for pairs of frames the pairs of rows in those."""
        counts = [len(each) for each in pixels]
        start = np.concatenate([[0], np.cumsum(counts)]).astype(int)
        pairs = [rows.astype(int) + start[list(frames)] for frames, rows in sorted(matched.items())]
        return cls(
            frame=np.repeat(np.arange(len(counts)), counts),
            pixel=np.concatenate([np.zeros((0, 2)), *pixels]).astype(float),
            pairs=np.concatenate([np.zeros((0, 2), int), *pairs]),
        )

    def of_pairs(self) -> dict[tuple[int, int], Int[np.ndarray, "_ 2"]]:
        """For each pair of frames that has matches, the rows in the frames' own spots."""
        start = np.searchsorted(self.frame, np.arange(self.frame.max(initial=0) + 2))
        frames = self.frame[self.pairs]
        order = np.lexsort((frames[:, 1], frames[:, 0]))
        ordered = frames[order]
        changes = np.flatnonzero((np.diff(ordered, axis=0) != 0).any(1)) + 1
        blocks = np.split(order, changes) if len(order) else []
        found = {}
        for rows in blocks:
            first, second = frames[rows[0]].tolist()
            found[first, second] = self.pairs[rows] - start[[first, second]]
        return found

    def without_still(self) -> "Matches":
        """Matches of spots that move as the object does: a mask that leaks shows background, which links all frames.

        Where most of a pair's matches moved, those that stayed within 1.2 px go; spots that stayed in most of their
        pairs go from all.
        """
        if not len(self.pairs):
            return self
        distance = np.linalg.norm(self.pixel[self.pairs[:, 0]] - self.pixel[self.pairs[:, 1]], axis=1)
        pair = np.unique(self.frame[self.pairs], axis=0, return_inverse=True)[1].reshape(-1)
        moved = np.bincount(pair, distance > _MOVED_PX)
        apart = (moved >= _MOVED_SHARE * np.bincount(pair))[pair]
        still = apart & (distance < _STILL_PX)
        count = len(self.frame)
        ends = self.pairs.T.reshape(-1)
        stayed, compared = (np.bincount(ends, np.tile(each, 2), count) for each in (still, apart))
        background = (stayed >= _STILL_PAIRS) & (2 * stayed > compared)
        kept = ~(still | background[self.pairs].any(1))
        return Matches(self.frame, self.pixel, self.pairs[kept])


def joined(first: Matches, second: Matches) -> Matches:
    """The spots and matches of both, the second's spots behind the first's within each frame."""
    frame = np.concatenate([first.frame, second.frame])
    order = np.argsort(frame, kind="stable")
    place = np.empty(len(order), int)
    place[order] = np.arange(len(order))
    pairs = np.concatenate([first.pairs, second.pairs + len(first.frame)])
    return Matches(frame[order], np.concatenate([first.pixel, second.pixel])[order], place[pairs])


def of_tracks(
    frame: Int[np.ndarray, " spots"],
    track: Int[np.ndarray, " spots"],
    pixel: Float[np.ndarray, "spots 2"],
    position: Float[np.ndarray, " frames"],
    reach: float,
) -> Matches:
    """Spots that were followed: those of one track match where their frames lie at most `reach` apart."""
    order = np.lexsort((track, frame))
    frame, track, pixel = frame[order], track[order], pixel[order]
    along = np.lexsort((frame, track))
    pairs = []
    for step in range(1, len(along)):
        same = track[along[step:]] == track[along[:-step]]
        if not same.any():
            break
        pairs.append(np.stack([along[:-step][same], along[step:][same]], 1))
    rows = np.concatenate([np.zeros((0, 2), int), *pairs])
    near = position[frame[rows[:, 1]]] - position[frame[rows[:, 0]]] <= reach
    return Matches(frame, pixel.astype(float), rows[near])
