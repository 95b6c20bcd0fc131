"""The turns that a network's poses lack because a crop does not tell where in the image it was.

A network answers a crop almost as if the hand were on the optical axis: its pose lacks a share of the turn from the
axis to the hand. Two views' poses then differ by another rotation than the cameras do. Turning each pose by that share
of its crop's viewing ray first, `p_v @ Q_v^T`, repairs this. Boxes and the cameras' nominal field of view are all it
takes: no calibration and no annotated pose.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from handloom.adaptation.pseudo_labels import AlignedPoses
from handloom.geometry.viewing_rays import turns_to_rays, viewing_rays


class ViewTurns(NamedTuple):
    """One rotation for every pose of both views of a pair."""

    view_1: Float[Tensor, "pairs 3 3"]
    view_2: Float[Tensor, "pairs 3 3"]

    def at(self, rows: Tensor) -> "ViewTurns":
        """The turns of some of the pairs."""
        return ViewTurns(self.view_1[rows], self.view_2[rows])


def crop_rays(
    crop_offset_half_widths: Float[np.ndarray, "hands 2"], field_of_view_deg: float
) -> Float[Tensor, "hands 3"]:
    """Unit rays through the centres of crops, (o tan(fov / 2), 1) normalised, of left hands too those un-mirrored.

    Offsets o from the image's centre are in halves of its width, over which half of the field of view spreads. Takes
    arrays and not samples, so that neither annotation nor calibration can get in.
    """
    offset = torch.from_numpy(crop_offset_half_widths).double()
    focal_half_widths = torch.full_like(offset, 1 / math.tan(math.radians(field_of_view_deg / 2)))
    return viewing_rays(offset, focal_half_widths, torch.zeros_like(offset))


def view_turns(rays_1: Float[Tensor, "pairs 3"], rays_2: Float[Tensor, "pairs 3"], share: float) -> ViewTurns | None:
    """The turns by a share of each view's rays; None for share 0, which leaves poses bit for bit as they are."""
    return None if share == 0 else ViewTurns(turns_to_rays(rays_1, share), turns_to_rays(rays_2, share))


def turned(
    aligned: AlignedPoses, turns: ViewTurns | None
) -> tuple[Float[Tensor, "pairs 21 3"], Float[Tensor, "pairs 21 3"]]:
    """Both views' root-relative poses after their turns, `p_v @ Q_v^T`, in double precision; as they are for None."""
    if turns is None:
        return aligned.view_1, aligned.view_2
    poses = ((aligned.view_1, turns.view_1), (aligned.view_2, turns.view_2))
    first, second = (p.double() @ q.to(p.device, torch.float64).mT for p, q in poses)
    return first, second
