"""hold.interchange: files of other methods belong to sequences that are run and annotated."""

from pathlib import Path
from typing import Any

import pytest

from handloom.runtime.config.load import merged, read_yaml, settings_from
from handloom.runtime.errors import InputError

DEMO = read_yaml(Path(__file__).parents[2] / "config.yaml")
SEQUENCES = {"mug": {"kind": "ho3d", "path": "data/mug"}, "own": {"kind": "video", "path": "own.mp4"}, "gone": None}


def interchange(value: Any) -> dict[tuple[Any, str], str]:
    return settings_from(merged(DEMO, {"hold": {"sequences": SEQUENCES, "interchange": value}})).hold.others


def test_files_are_listed_by_method_and_sequence() -> None:
    assert interchange({}) == {}
    found = interchange({"iHOI": {"mug": "a.npz"}, "DiffHOI": {"mug": None}})
    assert found == {("iHOI", "mug"): "a.npz"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"iHOI": {"lamp": "a.npz"}}, r"hold\.interchange\.iHOI\.lamp: no such sequence; .* jug1, carton1, mug, own"),
        ({"DiffHOI": {"gone": "a.npz"}}, r"interchange\.DiffHOI\.gone: no such sequence"),
        ({"iHOI": {"own": "a.npz"}}, r"interchange\.iHOI\.own: .* of kind video, .* expected kind ho3d"),
        ({"ihoi": {"mug": "a.npz"}}, r"interchange\.ihoi.*'iHOI' or 'DiffHOI'"),
        ({"iHOI": "a.npz"}, r"interchange\.iHOI: expected a mapping"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_its_path(value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        interchange(value)
