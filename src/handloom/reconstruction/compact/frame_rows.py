"""What belongs to each point's frame, with a derivative that is the same on any number of threads."""

from jaxtyping import Float, Int
from torch import Tensor


def frame_rows(
    table: Float[Tensor, "frames size ..."], frame: Int[Tensor, " points"]
) -> Float[Tensor, "points size ..."]:
    """table[frame]; its derivative sums the points of a frame in their order.

    Plain indexing adds with atomics on several CPU threads, in another order each time, so that equal runs differ.
    """
    return table.index_select(0, frame)
