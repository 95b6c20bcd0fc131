"""What the stage of hand estimates asks of a network, whichever it is (facts/hold.md 1.4)."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from handloom.hand.joints import Side
from handloom.reconstruction.hand_squares import HandFrame, HandSquares


class FoundHands(NamedTuple):
    """What an estimator finds in each square, true to the image: left hands are not mirrored any more."""

    joints: Float[Tensor, "frames 21 3"]
    """SNAP, of any size and origin, along the axes of a camera that looks at the square's centre or `looked_at_px`."""
    keypoints_px: Float[Tensor, "frames 21 2"]
    """In the full image."""
    confidence: Float[Tensor, "frames 21"]
    vertices_m: Float[Tensor, "frames vertices 3"] | None = None
    """Of networks that give the hand model's mesh: metres, relative to the wrist, along the same axes as the joints."""
    looked_at_px: Float[Tensor, "frames 2"] | None = None
    """Of networks that choose squares of their own: where in the image their centres are."""


@runtime_checkable
class HandEstimator(Protocol):
    """A network that finds the 21 joints of a hand in a square of an image."""

    def __call__(self, frames: Sequence[HandFrame], squares: HandSquares, side: Side) -> FoundHands:
        """Joints of the frames' hands; every square is finite."""
        ...
