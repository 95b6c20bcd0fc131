"""Joint orders: every permutation brings the same anatomy to the same place."""

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


def test_bones_join_each_joint_to_the_next_of_its_finger():
    assert len(joints.SNAP_BONES) == 20
    for parent, child in joints.SNAP_BONES:
        finger = joints.SNAP_NAMES[child].split("_")[0]
        assert joints.SNAP_NAMES[parent] == "wrist" or joints.SNAP_NAMES[parent].startswith(finger)
    assert [joints.SNAP_NAMES[joint] for joint in joints.SNAP_FINGERTIPS] == [f"{finger}_tip" for finger in _FINGERS]
    assert [joints.SNAP_NAMES[joint] for joint in joints.BONE] == ["wrist", "middle_base"]


def test_mano_parents_follow_the_names():
    for joint, parent in enumerate(joints.MANO_PARENTS):
        if joint == 0:
            assert parent == -1
        else:
            assert _MANO21[parent] == ("wrist" if _MANO21[joint].endswith("0") else _MANO21[joint - 1])
