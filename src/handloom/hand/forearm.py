"""Where an image shows the forearm: a hand's model ends at the wrist, and masks go on."""

from jaxtyping import Float
from torch import Tensor

WRIST_SHARE = 0.1
"""Pixels farther behind the wrist than this share of the palm's length show the forearm."""


def lengths_behind_wrist(
    wrist_px: Float[Tensor, "*frames 2"],
    middle_base_px: Float[Tensor, "*frames 2"],
    row_px: Float[Tensor, " rows"],
    column_px: Float[Tensor, " columns"],
) -> Float[Tensor, "*frames rows columns"]:
    """How far behind the wrist w, seen along the palm to the middle finger's base m, each pixel p of a grid lies.

    -(p - w)^T (m - w) / |m - w|^2, in lengths of the palm in the image; negative where the fingers are.
    """
    along = middle_base_px - wrist_px
    along = along / along.square().sum(-1, keepdim=True).clamp_min(1.0)
    x, y = along[..., None].unbind(-2)
    across = x * column_px - (wrist_px * along).sum(-1, keepdim=True)
    return -((y * row_px)[..., :, None] + across[..., None, :])
