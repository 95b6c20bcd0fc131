"""Joint orders: every permutation brings the same anatomy to the same place."""

import numpy as np
import pytest

from handloom.hand import joints

_FINGERS = ("thumb", "index", "middle", "ring", "pinky")
# What each data set's documentation says, spelled out; 0 is the base of a finger and 3 its tip.
_SNAP = ["wrist", *(f"{finger}{place}" for finger in _FINGERS for place in (0, 1, 2, 3))]
_ASSEMBLY_HANDS = [*(f"{finger}{place}" for finger in _FINGERS for place in (3, 2, 1, 0)), "wrist"]
_RHD = ["wrist", *(f"{finger}{place}" for finger in _FINGERS for place in (3, 2, 1, 0))]
_MANO21 = [
    "wrist",
    *(f"{finger}{place}" for finger in ("index", "middle", "pinky", "ring", "thumb") for place in (0, 1, 2)),
    *(f"{finger}3" for finger in _FINGERS),
]
_ORDERS = {
    "assembly_hands": (_ASSEMBLY_HANDS, joints.SNAP_FROM_ASSEMBLY_HANDS, joints.ASSEMBLY_HANDS_FROM_SNAP),
    "rhd": (_RHD, joints.SNAP_FROM_RHD, joints.RHD_FROM_SNAP),
    "mano21": (_MANO21, joints.SNAP_FROM_MANO21, joints.MANO21_FROM_SNAP),
}


@pytest.mark.parametrize("order", _ORDERS)
def test_permutation_gathers_the_named_joints(order):
    names, snap_from_order, order_from_snap = _ORDERS[order]
    assert [names[joint] for joint in snap_from_order] == _SNAP
    assert [_SNAP[joint] for joint in order_from_snap] == names


@pytest.mark.parametrize("order", _ORDERS)
def test_round_trip_changes_nothing(order):
    _, snap_from_order, order_from_snap = _ORDERS[order]
    values = np.random.default_rng(0).normal(size=(4, 21, 3))
    there = values[:, list(snap_from_order)]
    np.testing.assert_array_equal(there[:, list(order_from_snap)], values)


def test_bones_join_each_joint_to_the_next_of_its_finger():
    assert len(joints.SNAP_BONES) == 20
    for parent, child in joints.SNAP_BONES:
        finger = joints.SNAP_NAMES[child].split("_")[0]
        assert joints.SNAP_NAMES[parent] == "wrist" or joints.SNAP_NAMES[parent].startswith(finger)
    assert [joints.SNAP_NAMES[joint] for joint in joints.SNAP_FINGERTIPS] == [f"{finger}_tip" for finger in _FINGERS]
    assert [joints.SNAP_NAMES[joint] for joint in joints.BONE] == ["wrist", "middle_base"]


def test_mano_parents_follow_the_names():
    for joint, parent in enumerate(joints.MANO_PARENTS):
        name, place = joints.MANO_NAMES[joint], (joint - 1) % 3
        if joint == 0:
            assert parent == -1
        else:
            assert joints.MANO_NAMES[parent] == ("wrist" if place == 0 else joints.MANO_NAMES[joint - 1]), name
