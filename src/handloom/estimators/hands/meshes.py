"""Networks that give MANO's mesh of the hand in a square: what they have in common, in handloom's conventions."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from handloom.estimators.hands.found import UNKNOWN_SIDE, Answer, certain
from handloom.estimators.hands.search import HandFrame, HandNetwork
from handloom.estimators.hands.squares import Squares, crop_of_each, in_picture
from handloom.hand.joints import MIRROR, SNAP_FROM_MANO21, Fingertips, Side
from handloom.hand.mano import HandModel
from handloom.hand.mano_files import MANO_VERTEX_COUNT
from handloom.runtime.config.base import Fidelity
from handloom.runtime.errors import InputError
from handloom.runtime.progress import progress

_BATCH = 8
"""Squares at once; their answers do not depend on it."""


class MeshHands(NamedTuple):
    """Hands in squares, on the CPU, along the axes of a camera that looks at the square's centre."""

    vertices_m: Float[Tensor, "n vertex 3"]
    """MANO's vertices, relative to the wrist."""
    joints_m: Float[Tensor, "n 21 3"]
    """SNAP, of the mesh, relative to its wrist."""
    keypoints: Float[Tensor, "n 21 2"]
    """The joints as shares (x, y) of the square's side, 0 at its left and upper edge, 1 at its right and lower one."""
    seen: Bool[Tensor, " n"]
    """Whether there is a hand to speak of."""


def mirrored(hands: MeshHands) -> MeshHands:
    """Left hands, from what a network found in their mirrored images: x changes sign, shares run from the right."""
    flip = hands.vertices_m.new_tensor(MIRROR)
    keypoints = torch.stack([1.0 - hands.keypoints[..., 0], hands.keypoints[..., 1]], dim=-1)
    return hands._replace(vertices_m=hands.vertices_m * flip, joints_m=hands.joints_m * flip, keypoints=keypoints)


class MeshNetwork(HandNetwork):
    """A network for MANO's mesh on RGB crops, one per frame; left hands are mirrored, as its weights know right ones.

    It gives no confidence: a found hand has 1. Outliers are left to the registration. Real backgrounds are left as they
    are, since it knows them.
    """

    field_of_box, mirrors_left, metric, sure_score = 1.5, True, True, 0.5
    """The square as HOLD crops it."""
    title: ClassVar[str]
    """As its authors write its name."""
    released_tips: ClassVar[Fingertips]
    """The vertices that its released code takes for finger tips."""
    shapes: ClassVar[int | None] = None
    """How many shape coefficients it gives, if any."""

    def __init__(self, network: nn.Module, hand_model: HandModel, device: str = "cpu") -> None:
        """Of a network in evaluation mode, and the hand that `fitting_hand` gives."""
        self.network, self.hand_model, self.device = network.to(device), hand_model, device

    @classmethod
    def fitting_hand(cls, hand_model: HandModel, fidelity: Fidelity) -> HandModel:
        """The model on the CPU; `faithful` puts its finger tips at the vertices that the released code takes.

        Raises InputError unless it is MANO's right hand, with as many shape directions as the network has coefficients.
        """
        vertices = len(hand_model.v_template)
        if vertices != MANO_VERTEX_COUNT or hand_model.side != "right":
            raise InputError(
                f"{cls.title}: the hand model is a {hand_model.side} hand of {vertices} vertices, but {cls.title} "
                f"predicts those of MANO's right hand ({MANO_VERTEX_COUNT}); set `mano` to the folder with "
                "MANO_RIGHT.pkl (https://mano.is.tue.mpg.de), or choose another hand estimator"
            )
        if cls.shapes not in (None, hand_model.shape_count):
            raise InputError(
                f"{cls.title}: the hand model has {hand_model.shape_count} shape directions, but the network gives "
                f"{cls.shapes} coefficients; set `mano` to the published files (https://mano.is.tue.mpg.de)"
            )
        tips = cls.released_tips if fidelity == "faithful" else hand_model.tip_vertices
        return replace(hand_model.to("cpu"), tip_vertices=tips)

    @abstractmethod
    def hands_of(self, output: Any) -> MeshHands:
        """What the network gave (its named tuple of tensors), brought to the CPU, in our conventions."""

    def predict(self, image_u8: UInt8[Tensor, "n px px 3"], batch_size: int = _BATCH) -> MeshHands:
        """The right hands of some squares of the network's size."""
        batches = progress(image_u8.split(batch_size), self.title)
        with torch.no_grad():
            outputs = [self.network(colours(batch.to(self.device))) for batch in batches]
        return self.hands_of(outputs[0]._make(torch.cat(parts).cpu() for parts in zip(*outputs, strict=True)))

    def answer(self, frames: Sequence[HandFrame], squares: Squares, side: Side) -> Answer:
        """The meshes, black beyond the pictures."""
        pictures = (frame.picture() for frame in frames)
        shown = torch.from_numpy(crop_of_each(pictures, squares, self.input_px, border=0))
        hands = mirrored(self.predict(shown.flip(2))) if side == "left" else self.predict(shown)
        in_crop = self.input_px * hands.keypoints.double().numpy() - 0.5
        seen = hands.seen.double().numpy()
        return Answer(
            squares,
            in_picture(in_crop, squares, self.input_px),
            hands.joints_m.double().numpy(),
            certain(seen),
            presence=seen,
            handedness=np.full(len(frames), UNKNOWN_SIDE),
            vertices=hands.vertices_m.double().numpy(),
        )


def colours(image_u8: UInt8[Tensor, "n px px 3"]) -> Float[Tensor, "n 3 px px"]:
    """RGB bytes as values from 0 to 1."""
    return image_u8.permute(0, 3, 1, 2).float() / 255


def mean_pose(hand_model: HandModel) -> Float[Tensor, "16 3"]:
    """MANO's mean pose as rotation vectors, the wrist unturned."""
    return torch.cat([hand_model.hands_mean.new_zeros(3), hand_model.hands_mean]).unflatten(0, (16, 3))


def mesh_joints_m(vertices_m: Float[Tensor, "*batch vertex 3"], hand_model: HandModel) -> Float[Tensor, "*batch 21 3"]:
    """The joints of meshes: `J_regressor @ vertices` and the finger tips, in SNAP's order."""
    tips = vertices_m[..., list(hand_model.tip_vertices), :]
    return torch.cat([hand_model.J_regressor @ vertices_m, tips], dim=-2)[..., list(SNAP_FROM_MANO21), :]
