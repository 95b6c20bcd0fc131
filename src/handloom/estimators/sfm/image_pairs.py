"""Which frames are matched with which."""

import numpy as np
from jaxtyping import Int

from handloom.runtime.config.sfm import PairSettings


def frame_pairs(count: int, settings: PairSettings) -> Int[np.ndarray, "pairs 2"]:
    """Pairs (i, j) with i < j in sorted order: all of a short sequence; of a long one a window and loops.

    The window joins each frame with the next `window` ones and those 2, 4, 8... windows ahead; the loops join every
    `loop_stride`-th frame with all its kind, so that a view which comes back closes the chain.
    """
    first, second = np.triu_indices(count, 1)
    if count > settings.exhaustive_up_to:
        gap = second - first
        doubled = settings.window * 2 ** np.arange(1, 32, dtype=np.int64)
        loop = (first % settings.loop_stride == 0) & (second % settings.loop_stride == 0)
        kept = (gap <= settings.window) | np.isin(gap, doubled) | loop
        first, second = first[kept], second[kept]
    return np.stack([first, second], -1)
