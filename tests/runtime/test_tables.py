"""Tables are read whole or refused by name."""

from pathlib import Path

import pytest

from handloom.runtime.errors import InputError
from handloom.runtime.files import read_table


def test_a_table_may_have_more_columns_than_are_needed(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("epoch,loss,note\n1,2.5,\n")
    assert read_table(path, ["epoch", "loss"])["loss"].tolist() == [2.5]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read"),
        (b"", "cannot be read"),
        (b'epoch,loss\n1,"2', "cannot be read"),
        (b"\x89PNG\xff\x00", "cannot be read"),
        (b"epoch,total\n1,2\n", r"lacks the columns \['loss'\]"),
        (b"epoch,loss\n", "has no rows"),
    ],
    ids=["missing", "empty", "cut short", "no text", "another table", "only a header"],
)
def test_anything_else_is_refused(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "history.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"history\.csv: {problem}.*run the rule"):
        read_table(path, ["epoch", "loss"])
