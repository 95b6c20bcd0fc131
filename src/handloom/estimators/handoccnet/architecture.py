"""Sizes of HandOccNet."""

from dataclasses import dataclass

from handloom.hand.joints import JOINT_COUNT


@dataclass(frozen=True)
class HandOccNetArchitecture:
    """Sizes of the network; the defaults are the published one (39 million parameters, without MANO).

    Source: facts/comparisons.md 2.2.
    """

    stem: int = 64
    """Channels of ResNet's stem; its four stages have 4, 8, 16 and 32 times as many."""
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    """Bottlenecks of ResNet's stages."""
    width: int = 256
    """Channels of every map behind the pyramid."""
    cells: int = 32
    """Rows and columns of those maps; images have eight times as many pixels."""
    layers: int = 2
    """Blocks of each of the two transformers."""
    heads: int = 4
    widening: int = 4
    """Inner over outer width of a transformer block's perceptron."""
    depth: int = 4
    """Halvings of the hourglass."""
    poolings: int = 4
    """Halvings of the encoder behind it."""
    hidden: tuple[int, int] = (1024, 512)
    """Widths of the layers that the pose and the shape are read from."""
    joints: int = JOINT_COUNT
    shape: int = 10
    """Coefficients of the hand's shape."""

    @property
    def code(self) -> int:
        """Length of what the encoder leaves of the maps."""
        return self.width * (self.cells >> self.poolings) ** 2
