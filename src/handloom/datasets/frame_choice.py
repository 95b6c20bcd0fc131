"""Which pictures of a video become frames where nobody says every how manieth: about as much moves between any two.

Optical flow between small pictures tells how far things move; along the way that it adds up to, frames are spread
evenly, so fast turns get many and rests few. Of the pictures that may be one frame the sharpest is taken.
"""

from collections.abc import Collection, Iterable

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from handloom.datasets.frames import Picture
from handloom.runtime.errors import InputError

FEWEST, MOST = 80, 160
"""So many frames are chosen where `most` is not set: more than the fewest only where things move far."""
_FARTHEST = 0.05
"""The way between two frames, of the picture's longer side, above which more of them are taken."""
_FLOW_SIDE_PX = 160
_MOVING_SHARE = 0.05
"""Of the picture's pixels: the way is the mean of so many that move farthest, as most of it stands still."""
_REST = 0.15
"""Of the mean way, what counts for every picture, however little seems to move."""
_STILL = 1e-6
"""The least that counts: where nothing moves at all, frames are spread evenly over time."""
_SHARPNESS_SIDE_PX = 640
_SWAPPED_WITHIN = 0.25
"""Of the way to the neighbouring frame: so far away a sharper picture is taken instead."""


def chosen_by_motion(
    pictures: Iterable[Picture], most: int | None = None, marked: Collection[int] = ()
) -> Int[np.ndarray, " chosen"]:
    """Ascending numbers of the pictures that become frames, about `most` of them, the first and the `marked` with them.

    Raises InputError for a marked picture that there is none.
    """
    ways, sharpness = _looked_at(pictures)
    beyond = [number for number in marked if number >= len(ways)]
    if beyond:
        raise InputError(f"masks.prompts.frame: is {beyond[0]}, but there are {len(ways)} pictures, numbered from 0")
    path = np.cumsum(ways + max(_REST * ways.mean(), _STILL)) if len(ways) else ways
    if most is None:
        most = int(np.clip(ways.sum() / _FARTHEST, FEWEST, MOST))
    return np.union1d(_sharper(_spread(path, most), path, sharpness), np.array([*marked], int)).astype(int)


def _looked_at(pictures: Iterable[Picture]) -> tuple[Float[np.ndarray, " pictures"], Float[np.ndarray, " pictures"]]:
    """Of each picture how far things moved since the one before, of its longer side, and how sharp it is."""
    before: UInt8[np.ndarray, "height width"] | None = None
    ways, sharpness = [], []
    for picture in pictures:
        grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
        sharpness.append(float(cv2.Laplacian(_at_most(grey, _SHARPNESS_SIDE_PX), cv2.CV_32F).var()))
        small = _at_most(grey, _FLOW_SIDE_PX)
        ways.append(0.0 if before is None or before.shape != small.shape else _way(before, small))
        before = small
    return np.array(ways), np.array(sharpness)


def _way(before: UInt8[np.ndarray, "height width"], after: UInt8[np.ndarray, "height width"]) -> float:
    flow = np.zeros((*before.shape, 2), np.float32)
    # Farneback's, as its result does not depend on how many threads there are.
    flow = np.asarray(cv2.calcOpticalFlowFarneback(before, after, flow, 0.5, 4, 11, 3, 5, 1.1, 0))
    moved = np.linalg.norm(flow, axis=-1).reshape(-1)
    farthest = max(int(_MOVING_SHARE * len(moved)), 1)
    return float(np.partition(moved, -farthest)[-farthest:].mean() / max(before.shape))


def _spread(path: Float[np.ndarray, " pictures"], most: int) -> Int[np.ndarray, " chosen"]:
    """Numbers of at most `most` pictures spread evenly along the path; where one step is long, its two ends."""
    if len(path) <= most:
        return np.arange(len(path))
    chosen, middles = np.array([0, len(path) - 1]), (path[1:] + path[:-1]) / 2
    for steps in range(most, len(path) + 1):
        nearest = np.unique(np.searchsorted(middles, np.linspace(path[0], path[-1], steps)))
        if len(nearest) > most:
            break
        chosen = nearest
    return chosen


def _sharper(
    chosen: Int[np.ndarray, " chosen"], path: Float[np.ndarray, " pictures"], sharpness: Float[np.ndarray, " pictures"]
) -> Int[np.ndarray, " chosen"]:
    """The same, each but the first replaced by the sharpest picture nearer to it than to its neighbours."""
    better = chosen.copy()
    for row in range(1, len(chosen)):
        here, before, after = path[chosen[row]], path[chosen[row - 1]], path[chosen[min(row + 1, len(chosen) - 1)]]
        low, high = here - _SWAPPED_WITHIN * (here - before), here + _SWAPPED_WITHIN * (after - here)
        near = np.flatnonzero((path >= low) & (path <= high))
        better[row] = near[sharpness[near].argmax()]
    return better


def _at_most(grey: UInt8[np.ndarray, "height width"], longest_px: int) -> UInt8[np.ndarray, "h w"]:
    scale = longest_px / max(grey.shape)
    if scale >= 1:
        return grey
    size = (max(round(grey.shape[1] * scale), 8), max(round(grey.shape[0] * scale), 8))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
