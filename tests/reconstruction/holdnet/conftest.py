"""The hand that fields are held to is made once; previews are small."""

from collections.abc import Iterator

import pytest
import torch

from handloom.reconstruction.holdnet import phases
from handloom.reconstruction.holdnet.canonical_space import CanonicalSurface
from handloom.reconstruction.holdnet.hand_prior import rest_surface

from ..held_box import MODEL


@pytest.fixture(scope="session", autouse=True)
def small_previews() -> Iterator[None]:
    """A few pixels every few steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phases, "PREVIEW_WIDTH_PX", 10)
        patch.setattr(phases, "PREVIEW_STEPS", 4)
        yield


@pytest.fixture(scope="session")
def hand_at_rest() -> CanonicalSurface:
    """The unshaped hand as HOLD-Net's targets have it."""
    return rest_surface(MODEL, torch.zeros(MODEL.shape_count))
