"""Hands that cannot be used: one list over all cameras of both headsets, to which a user's own is added."""

from pathlib import Path

import pytest

from handloom.datasets.assembly_hands import read_annotations
from handloom.datasets.invalid_list import is_listed, list_invalid, read_invalid
from handloom.runtime.errors import InputError

from .assembly_hands_files import SplitWriter


@pytest.fixture
def invalid(split: SplitWriter) -> Path:
    return split.root / "invalid.txt"


def listed(split: SplitWriter, invalid: Path) -> frozenset[tuple[str, bool]]:
    list_invalid([], invalid, dataset=split.write(), split="val")
    return read_invalid(invalid)


def test_all_cameras_of_both_headsets_are_judged(split: SplitWriter, invalid: Path) -> None:
    """The reference's list knew only the two cameras of its first run; later pairs kept bad hands."""
    for position in (0, 3, 9):
        split.annotations[position]["joint_valid"] = [1] * 9 + [0] * 12 + [1] * 21
    assert listed(split, invalid) == {(split.images[position]["file_name"], False) for position in (0, 3, 9)}


def test_ten_valid_joints_are_enough(split: SplitWriter, invalid: Path) -> None:
    split.annotations[0]["joint_valid"] = [1] * 10 + [0] * 11 + [1] * 21
    assert listed(split, invalid) == frozenset()
    assert invalid.read_text() == ""


def test_a_users_list_is_added_to_ours(split: SplitWriter, invalid: Path) -> None:
    split.annotations[0]["joint_valid"] = [0] * 42
    first, other = split.images[0]["file_name"], split.images[5]["file_name"]
    split.write()
    split.files.invalid.write_text(f"{other},1\n")
    assert listed(split, invalid) == {(first, False), (first, True), (other, True)}
    assert is_listed(read_annotations(split.dataset, "val"), read_invalid(invalid)).sum() == 3


@pytest.mark.parametrize("line", ["image.jpg", "image.jpg,2", ",1", "image.jpg;0"])
def test_a_broken_list_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "invalid_val_ego.txt"
    path.write_text(f"good,name.jpg,0\n{line}\n")
    with pytest.raises(InputError, match=r"invalid_val_ego.txt: line 2"):
        read_invalid(path)
    with pytest.raises(InputError, match=r"none\.txt: no such file"):
        read_invalid(tmp_path / "none.txt")
