"""The embedded hand: a CC0 model in MANO's format, so that everything runs without a licensed file."""

from dataclasses import replace
from functools import cache
from importlib.resources import as_file, files

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from handloom.hand.anatomy import Anatomy, mirror_pose
from handloom.hand.joints import Side
from handloom.hand.mano import HandModel
from handloom.hand.model_file import model_from_arrays, read_hand_model

_FARTHEST_SHAPE = 2.5


def open_hand(side: Side = "right") -> HandModel:
    """The embedded hand in float32 on the CPU; the left hand is the right one mirrored."""
    right = model_from_arrays(_arrays())
    return right if side == "right" else mirrored(right)


def open_hand_anatomy() -> Anatomy:
    """The axes and rest angles of the embedded right hand's joints."""
    return Anatomy.from_arrays(_arrays())


def sample_shapes(generator: torch.Generator, count: int) -> Float[Tensor, "{count} shape"]:
    """Shape coefficients of random adults: standard normal, cut at 2.5 deviations."""
    shape_count = _arrays()["shapedirs"].shape[-1]
    return torch.randn(count, shape_count, generator=generator).clamp(-_FARTHEST_SHAPE, _FARTHEST_SHAPE)


def mirrored(model: HandModel) -> HandModel:
    """The other hand: x changes sign in all lengths and faces turn round, so that they still look outwards.

    A pose p of one hand is `mirror_pose(p)` of the other. Pose correctives act on the entries of R - I, and S R S
    changes the sign of those with exactly one index x, so their directions change with them.
    """
    flip = torch.tensor([-1.0, 1.0, 1.0])
    entry_sign = (flip[:, None] * flip).flatten().repeat(15)
    pose_space = torch.cat([model.hands_mean[None], model.hands_components])
    mean, *components = mirror_pose(pose_space.unflatten(1, (15, 3))).flatten(1)
    return replace(
        model,
        v_template=model.v_template * flip,
        shapedirs=model.shapedirs * flip[:, None],
        posedirs=model.posedirs * flip[:, None] * entry_sign,
        faces=model.faces.flip(1),
        uv_faces=None if model.uv_faces is None else model.uv_faces.flip(1),
        hands_mean=mean,
        hands_components=torch.stack(components),
        side="left" if model.side == "right" else "right",
    )


@cache
def _arrays() -> dict[str, np.ndarray]:
    with as_file(files("handloom.data") / "open_hand_right.npz") as path:
        return read_hand_model(path)[1]
