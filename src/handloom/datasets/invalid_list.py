"""Which hands of a split cannot be used: one list over all cameras of both headsets.

The reference makes this list on its first run, for that run's two cameras only, and trusts it ever after, so that bad
hands of the other cameras stay in. Here every camera is judged, by the same rule. The text
format is the reference's: one line `file_name,hand_id` a hand, 0 right, 1 left.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from handloom.datasets import AssemblyHandsSettings
from handloom.datasets.assembly_hands import HandAnnotations, annotation_files, read_annotations
from handloom.datasets.box_crops import squares_around
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_text, write_text

FEWEST_VALID_JOINTS = 10  # as S2DHand's loader asks for


def list_invalid(annotations: Sequence[Path], invalid: Path, *, dataset: AssemblyHandsSettings, split: str) -> None:
    """Stage: write the hands of a split that have labels, but fewer than 10 valid joints.

    No image is read. Hands that the user's own list excludes (`annotations/{split}/invalid_{split}_ego.txt`, made by
    the reference's code for some cameras) are excluded too: what it misses is found here, what it names stays out.
    Raises InputError for annotations that cannot be used or a list that cannot be read.
    """
    hands = read_annotations(dataset, split)
    squares_around(hands.bbox_px)  # a box that cannot be cropped is reported before any image is read
    too_few = hands.labelled & (hands.joint_valid.sum(axis=1) < FEWEST_VALID_JOINTS)
    users_list = annotation_files(dataset, split).invalid
    excluded = is_listed(hands, read_invalid(users_list)) if users_list.is_file() else np.zeros(len(hands), dtype=bool)
    listed = too_few | excluded
    print(
        f"{split}: {int(listed.sum())} of {len(hands)} hands are left out: {int(too_few.sum())} have fewer than "
        f"{FEWEST_VALID_JOINTS} valid joints, {int((excluded & ~too_few).sum())} more are listed in {users_list}",
        file=sys.stderr,
    )
    lines = [f"{hands.file_name[row]},{int(hands.is_left[row])}\n" for row in np.flatnonzero(listed)]
    write_text(invalid, "".join(lines))


def read_invalid(path: Path) -> frozenset[tuple[str, bool]]:
    """The listed hands as (file_name, is_left); InputError for a missing file or a line that is not `file_name,0|1`."""
    lines = read_text(path, "a list of invalid hands", "run the rule that makes it").splitlines()
    listed = set()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        file_name, _, hand = line.strip().rpartition(",")
        if hand not in ("0", "1") or not file_name:
            raise InputError(
                f"{path}: line {number} is {line!r}, but 'file_name,hand_id' was expected with hand_id 0 (right) or 1 "
                "(left); correct or delete the file"
            )
        listed.add((file_name, hand == "1"))
    return frozenset(listed)


def is_listed(hands: HandAnnotations, listed: frozenset[tuple[str, bool]]) -> Bool[np.ndarray, " hands"]:
    """Which of the hands are in the list."""
    keys = zip(hands.file_name.tolist(), hands.is_left.tolist(), strict=True)
    return np.fromiter((key in listed for key in keys), dtype=bool, count=len(hands))
