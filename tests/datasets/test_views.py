"""Hands of two views: crops apart from labels, and the pairs that two cameras share, in S2DHand's order."""

from dataclasses import fields

import numpy as np
import pytest

from handloom.datasets.views import HandCrops, HandLabels, HandRows, pair_rows
from handloom.runtime.errors import InputError


def view(hands: list[tuple[int, str, int, bool]], camera: str = "A") -> HandRows:
    """Hands by rank, sequence, frame and whether they are left ones."""
    rank, sequence, frame, is_left = zip(*hands, strict=True)
    return HandRows(camera, np.array(rank), np.array(sequence), np.array(frame), np.array(is_left))


def test_crops_hold_no_annotation() -> None:
    """Protects the claim that adaptation needs no label: it is given crops, which cannot hold one."""
    rows, crops, labels = ({field.name for field in fields(kind)} for kind in (HandRows, HandCrops, HandLabels))
    assert crops & labels == rows
    assert not issubclass(HandCrops, HandLabels)
    assert crops - rows == {"image_u8", "picture_axes_from_crop", "rays", "side_slope", "network"}


def test_pairs_share_sequence_frame_and_hand() -> None:
    first = view([(0, "s", 1, False), (1, "s", 1, True), (4, "s", 2, False)])
    second = view([(3, "s", 1, True), (6, "s", 2, False), (7, "s", 2, True)], camera="B")
    index_1, index_2 = pair_rows(first, second)
    assert list(zip(index_1.tolist(), index_2.tolist(), strict=True)) == [(1, 0), (2, 1)]


def test_pair_order_is_first_appearance_in_the_file_not_numeric() -> None:
    """Sequence z and frame 9 come first because the annotation file has them first, in either camera."""
    first = view([(2, "a", 5, False), (4, "z", 9, False), (6, "z", 3, False), (7, "z", 3, True), (12, "a", 1, False)])
    second = view(
        [(0, "z", 9, False), (8, "z", 3, False), (9, "z", 3, True), (10, "a", 5, False), (14, "a", 1, False)],
        camera="B",
    )
    index_1, _ = pair_rows(first, second)
    named = [(str(first.sequence[i]), int(first.frame[i]), bool(first.is_left[i])) for i in index_1]
    assert named == [("z", 9, False), ("z", 3, False), ("z", 3, True), ("a", 5, False), ("a", 1, False)]


def test_a_hand_annotated_twice_counts_with_its_last_annotation() -> None:
    first = view([(0, "s", 1, False), (8, "s", 1, False)])
    index_1, index_2 = pair_rows(first, view([(2, "s", 1, False)], camera="B"))
    assert (index_1.tolist(), index_2.tolist()) == ([1], [0])


def test_a_pair_without_a_common_frame_is_an_error() -> None:
    with pytest.raises(InputError, match=r"cameras A and B share no hand.*leave this pair out"):
        pair_rows(view([(0, "s", 1, False)]), view([(2, "s", 1, True)], camera="B"))
