"""Hands are told from placeholders and from hands in other units."""

import numpy as np
import pytest

from handloom.hand.mano import skin
from handloom.hand.models import open_hand
from handloom.hand.proportions import NOMINAL_BONE_M, are_hands, hand_fault, in_one_point


@pytest.fixture(scope="module")
def joints_m() -> np.ndarray:
    model = open_hand()
    zeros = model.hands_mean.new_zeros
    hand = skin(model, pose_rotvec=zeros(1, 16, 3), shape=zeros(1, model.shape_count), translation_m=zeros(1, 3))
    return hand.keypoints_m[0].double().numpy()


def test_a_hand_is_one_from_a_small_childs_to_a_giants(joints_m: np.ndarray) -> None:
    assert are_hands(np.stack([0.5 * joints_m, joints_m, 1.5 * joints_m])).all()
    assert hand_fault(joints_m) == ""
    assert np.linalg.norm(joints_m[9] - joints_m[0]) == pytest.approx(NOMINAL_BONE_M, abs=2e-3)


@pytest.mark.parametrize(
    ("factor", "unit"),
    [
        (1000, "millimetres taken for metres"),
        (100, "centimetres taken for metres"),
        (0.1, "centimetres taken for millimetres"),
        (0.001, "metres taken for millimetres"),
    ],
)
def test_another_unit_is_named(joints_m: np.ndarray, factor: float, unit: str) -> None:
    assert hand_fault(factor * joints_m).endswith(f"({unit}?)")


def test_joints_that_are_not_valid_do_not_count_but_for_the_bone_of_the_scale(joints_m: np.ndarray) -> None:
    valid = np.ones(21)
    valid[4] = 0
    odd = joints_m.copy()
    odd[4] = [9.0, 9, 9]
    assert hand_fault(odd, valid) == ""
    assert hand_fault(odd) != ""
    assert hand_fault(odd, np.zeros(21)) != ""


def test_placeholders_are_in_one_point(joints_m: np.ndarray) -> None:
    hands = np.stack([0 * joints_m, 0 * joints_m + 1, np.nan * joints_m, joints_m])
    assert in_one_point(hands).tolist() == [True, True, True, False]
    assert not are_hands(hands[:3]).any()
