"""The hand model that HandOccNet's coefficients belong to: the user's own right MANO hand."""

from dataclasses import replace
from typing import Literal

from handloom.estimators.handoccnet.architecture import HandOccNetArchitecture
from handloom.estimators.mesh_hands import require_mano
from handloom.hand.joints import MANO_FINGERTIPS_MANOPTH
from handloom.hand.mano import HandModel
from handloom.runtime.errors import InputError

SHAPES = HandOccNetArchitecture().shape


def fitting_hand(hand_model: HandModel, fidelity: Literal["faithful", "fixed"]) -> HandModel:
    """The model on the CPU; `faithful` puts its finger tips at the vertices that the released code takes, manopth's.

    Raises InputError unless it is MANO's right hand with ten shape directions.
    """
    require_mano(hand_model, "HandOccNet")
    if hand_model.shape_count != SHAPES:
        raise InputError(
            f"HandOccNet: the hand model has {hand_model.shape_count} shape directions, but the network gives "
            f"{SHAPES} coefficients; set `mano` to the published files (https://mano.is.tue.mpg.de)"
        )
    tips = MANO_FINGERTIPS_MANOPTH if fidelity == "faithful" else hand_model.tip_vertices
    return replace(hand_model.to("cpu"), tip_vertices=tips)
