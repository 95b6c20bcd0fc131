"""Sizes of METRO's hand network."""

from dataclasses import dataclass

from handloom.hand.joints import JOINT_COUNT


@dataclass(frozen=True)
class MetroArchitecture:
    """Sizes of the network; the defaults are the published one (184.5 million parameters in use).

    Source: facts/comparisons.md 2.1.
    """

    width: int = 64
    """Channels of HRNet's finest branch; each coarser one has twice as many."""
    stem: int = 64
    """Channels of HRNet's stem."""
    blocks: int = 4
    """Residual blocks of every branch."""
    modules: tuple[int, int, int] = (1, 4, 3)
    """Modules of HRNet's stages 2, 3 and 4, each of which ends in a fusion of all branches."""
    head: int = 32
    """Inner channels of the finest branch's bottleneck before pooling."""
    feature: int = 2048
    """Length of the image's feature vector."""
    hidden: tuple[int, ...] = (1024, 256, 64)
    """Widths of the transformer blocks."""
    outputs: tuple[int, ...] = (512, 128, 3)
    """What each transformer block hands on; the last gives points."""
    layers: int = 4
    heads: int = 4
    positions: int = 512
    """Rows of the position tables; there are more than tokens."""
    coarse_vertices: int = 195
    vertices: int = 778
    camera_hidden: int = 150

    @property
    def tokens(self) -> int:
        """Joints and coarse vertices."""
        return JOINT_COUNT + self.coarse_vertices
