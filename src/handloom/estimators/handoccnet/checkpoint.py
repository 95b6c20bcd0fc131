"""HandOccNet's published checkpoint, read strictly and without running anything in it."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from handloom.estimators.handoccnet.architecture import HandOccNetArchitecture
from handloom.estimators.handoccnet.network import HandOccNet
from handloom.estimators.published_checkpoint import PublishedCheckpoint, filled, read_state

UNUSED = (
    *("regressor.mano_regHead.mano_layer.*", "backbone.smooth2.*"),
    *("regressor.hand_regHead.uu", "regressor.hand_regHead.vv"),
)
"""Entries of the published file that are not taken: MANO's arrays, which come from the user's own MANO file, a
convolution that no output depends on, and the cells' centres, which follow from the map's size (facts/comparisons.md
2.2)."""
PUBLISHED = PublishedCheckpoint(
    network="HandOccNet",
    owner="HandOccNet",
    file="snapshot_demo.pth.tar",
    home="https://github.com/namepllet/HandOccNet",
    hint="which is offered there for its demo",
    unused=UNUSED,
    entry="network",
)


def load_checkpoint(
    path: Path, architecture: HandOccNetArchitecture | None = None, device: torch.device | str = "cpu"
) -> HandOccNet:
    """HandOccNet filled from its checkpoint file, in evaluation mode.

    The file is a dict of epoch, optimizer and, under `network`, the weights; these alone will do. Names may have the
    prefix `module.`, and half precision becomes float32. Raises InputError for a missing or damaged file, for one that
    asks to run anything (it is not run) or whose weights are no tensors, for names or shapes of another network (the
    first differing ones are named; only `UNUSED` may lack or be there), and for weights that are not finite.
    """
    state = read_state(Path(path), PUBLISHED)
    return filled_network(state, architecture or HandOccNetArchitecture(), str(path)).to(device)


def filled_network(state: Mapping[str, Tensor], architecture: HandOccNetArchitecture, source: str) -> HandOccNet:
    """The network with these weights, in evaluation mode; errors name `source` and are those of `load_checkpoint`."""
    return filled(lambda: HandOccNet(architecture), state, PUBLISHED, source)
