"""Pairs of crops: what adaptation is given. Nothing here can hold a label."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from handloom.datasets.views import HandCrops
from handloom.geometry.camera import turns_to_rays


class PairBatch(NamedTuple):
    """Both views of some pairs as independent crops: first those of view 1, then those of view 2."""

    rows: Int[Tensor, " pairs"]
    """Which pairs these are."""
    image_u8: UInt8[Tensor, "crops px px channels"]
    axes_from_crop: Float[Tensor, "crops 3 3"]
    """From the crops' axes to those that poses are compared in."""


@dataclass(frozen=True)
class PairCrops:
    """The crops of the pairs of two cameras, and how they lie in them."""

    image_u8: UInt8[Tensor, "2 pairs px px channels"]
    axes_from_crop: Float[Tensor, "2 pairs 3 3"]
    """To the picture's axes, or, if `turned`, the camera's."""
    ray_turns: Float[Tensor, "2 pairs 3 3"]
    """Q: the turn that poses lack because a crop does not tell where in the picture it was; the identity for share 0.

    A network answers a crop almost as if the hand were on the optical axis. Two views' poses then differ by another
    rotation than the cameras do; turning each pose by a share of its crop's viewing ray, `p_v @ Q_v^T`, repairs this.
    """
    turned: bool
    """Whether poses are given this turn at once, and labels made of turned ones, or only where rotations are sought."""

    @classmethod
    def of(
        cls,
        views: tuple[HandCrops, HandCrops],
        rows: tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]],
        ray_share: float,
        *,
        turned: bool,
    ) -> "PairCrops":
        """The pairs whose hands are the given rows of the two views."""
        chosen = list(zip(views, rows, strict=True))
        images, axes, rays = (
            torch.stack([torch.from_numpy(getattr(view, name)[index]) for view, index in chosen])
            for name in ("image_u8", "picture_axes_from_crop", "rays")
        )
        turns = turns_to_rays(rays, ray_share)
        return cls(images, turns @ axes if turned else axes, turns, turned)

    def __len__(self) -> int:
        return self.image_u8.shape[1]

    def at(self, rows: Int[Tensor, " some"] | slice) -> "PairCrops":
        """Some of the pairs."""
        return PairCrops(self.image_u8[:, rows], self.axes_from_crop[:, rows], self.ray_turns[:, rows], self.turned)

    def batch(self, rows: Int[Tensor, " some"], device: str) -> PairBatch:
        """Some of the pairs, for the network."""
        images, axes = (value[:, rows].flatten(0, 1).to(device) for value in (self.image_u8, self.axes_from_crop))
        return PairBatch(rows, images, axes)


def ray_turned(
    poses: Sequence[Float[Tensor, "pairs 21 3"]], turns: Float[Tensor, "2 pairs 3 3"]
) -> list[Float[Tensor, "pairs 21 3"]]:
    """Both views' root-relative poses after the turns to their rays, `p_v @ Q_v^T`, in double precision.

    Turns by nothing leave them bit for bit as they are.
    """
    if bool((turns == torch.eye(3, dtype=turns.dtype)).all()):
        return list(poses)
    return [p.double() @ q.to(p.device, torch.float64).mT for p, q in zip(poses, turns, strict=True)]
