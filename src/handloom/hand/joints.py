"""Joint orders of the hand data sets, and the permutations that bring them into one: SNAP.

SNAP, used everywhere in handloom, has 21 key points: the wrist, then thumb, index, middle, ring and pinky finger,
each from its base to its tip. A permutation is a gather: `joints_snap = joints_other[..., SNAP_FROM_OTHER, :]`.
"""

from collections.abc import Collection
from typing import Literal

Side = Literal["right", "left"]
SIDES: tuple[Side, ...] = ("right", "left")
Fingertips = tuple[int, int, int, int, int]
MIRROR = (-1.0, 1.0, 1.0)
"""A left hand is a right one mirrored: what its points' x, y and z are multiplied by."""

FINGERS = ("thumb", "index", "middle", "ring", "pinky")
JOINT_COUNT = 21
WRIST = 0
MIDDLE_BASE = 9
BONE = (WRIST, MIDDLE_BASE)
"""The bone whose length sets the scale of a hand: wrist to the base of the middle finger."""

SNAP_NAMES = ("wrist", *(f"{finger}_{place}" for finger in FINGERS for place in ("base", "middle", "distal", "tip")))
SNAP_PARENTS = (-1, *(0 if joint % 4 == 1 else joint - 1 for joint in range(1, JOINT_COUNT)))
SNAP_BONES = tuple((parent, joint) for joint, parent in enumerate(SNAP_PARENTS) if parent >= 0)
"""The 20 pairs (parent, child) that draw the skeleton."""
SNAP_FINGERTIPS: Fingertips = (4, 8, 12, 16, 20)

MANO_JOINT_COUNT = 16
MANO_PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
"""MANO's own order of the fingers is index, middle, pinky, ring and, last, thumb."""

SNAP_FROM_MANO21 = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)
"""MANO21 is MANO's 16 joints followed by the tips of thumb, index, middle, ring and pinky."""
SNAP_FROM_ASSEMBLY_HANDS = (20, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 19, 18, 17, 16)
"""AssemblyHands and InterHand2.6M: every finger from its tip to its base, thumb first, the wrist last."""
SNAP_FROM_RHD = (0, 4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13, 20, 19, 18, 17)
"""RHD (one hand): the wrist, then every finger from its tip to its base."""

MANO_FINGERTIPS_SMPLX: Fingertips = (744, 320, 443, 554, 671)
"""MANO vertices of the tips (thumb to pinky) as the package smplx chooses them; handloom's choice for MANO."""
MANO_FINGERTIPS_MANOPTH: Fingertips = (745, 317, 444, 556, 673)
"""The same as the package manopth chooses them; a few millimetres away."""


def inverse_permutation(permutation: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes a gather: `inverse[permutation[i]] = i`."""
    return tuple(permutation.index(joint) for joint in range(len(permutation)))


ASSEMBLY_HANDS_FROM_SNAP = inverse_permutation(SNAP_FROM_ASSEMBLY_HANDS)
RHD_FROM_SNAP = inverse_permutation(SNAP_FROM_RHD)
MANO21_FROM_SNAP = inverse_permutation(SNAP_FROM_MANO21)


def hand_in_words(side: Side, sides: Collection[Side]) -> str:
    """`hand` where there is one, `right hand` or `left hand` where there are two."""
    return "hand" if len(sides) == 1 else f"{side} hand"
