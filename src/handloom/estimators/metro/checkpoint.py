"""METRO's published checkpoint: a bare state dict, read strictly and without running anything in it."""

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from handloom.estimators.metro.architecture import MetroArchitecture
from handloom.estimators.metro.network import Metro
from handloom.estimators.metro.template import template_tokens_m
from handloom.estimators.published_checkpoint import PublishedCheckpoint, filled, read_state
from handloom.hand.mano import HandModel

DEAD_WEIGHTS = ("backbone.classifier.*", "trans_encoder.*.bert.embeddings.*", "trans_encoder.*.bert.pooler.*")
"""Entries of the published file that no output depends on (facts/comparisons.md 2.1); they may be absent."""
PUBLISHED = PublishedCheckpoint(
    network="METRO's hand network",
    owner="METRO",
    file="metro_hand_state_dict.bin",
    home="https://github.com/microsoft/MeshTransformer",
    hint="with HRNet-W64 inside; its body network has another size",
    unused=DEAD_WEIGHTS,
)


def load_checkpoint(
    path: Path, hand_model: HandModel, architecture: MetroArchitecture | None = None, device: torch.device | str = "cpu"
) -> Metro:
    """METRO filled from its checkpoint file, in evaluation mode; the template comes from MANO's right hand.

    Names may have the prefix `module.`, and half precision becomes float32. Raises InputError for a missing or damaged
    file, for one that holds anything but tensors (nothing in it is run), for names or shapes of another network (the
    first differing ones are named; only `DEAD_WEIGHTS` may lack or be there), for weights that are not finite, and for
    a hand model that is not MANO's right hand.
    """
    template = template_tokens_m(hand_model)
    state = read_state(Path(path), PUBLISHED)
    return filled_network(state, template, architecture or MetroArchitecture(), str(path)).to(device)


def filled_network(
    state: Mapping[str, Tensor], template_m: Float[Tensor, "tokens 3"], architecture: MetroArchitecture, source: str
) -> Metro:
    """The network with these weights, in evaluation mode; errors name `source` and are those of `load_checkpoint`."""
    return filled(lambda: Metro(architecture, template_m), state, PUBLISHED, source)
